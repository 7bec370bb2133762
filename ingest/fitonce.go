package ingest

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"os"

	"mmspipe/resize"
	"mmspipe/store"

	"github.com/rs/zerolog"
)

// fitName is what a fit is kept under: the picture and what was asked for. Equal ones
// give equal results, in whatever message. The number is that of the format, which is
// gob of fitted.
func fitName(sha256 string, targets []resize.Target) (string, error) {
	asked, err := json.Marshal(targets)
	return "fit 1 " + sha256 + " " + string(asked), err
}

// keptFit returns the fit that was kept under a name.
func (w *Worker) keptFit(ctx context.Context, name string) (fit fitted, ok bool) {
	if w.FitCache == nil {
		return fit, false
	}
	data, ok := w.FitCache.Kept(name)
	if !ok || gob.NewDecoder(bytes.NewReader(data)).Decode(&fit) != nil {
		return fitted{}, false
	}
	zerolog.Ctx(ctx).Debug().Msg("fit reused")
	return fit, true
}

// fitOnce is [Worker.fitSpooled] for a picture that many messages may have: who asks
// for the same at the same time shares one fit, whose data nobody may change, and
// what was made is kept in [Options].FitCache.
func (w *Worker) fitOnce(ctx context.Context, name string, record *store.Media, spool *os.File, targets []resize.Target) (fitted, error) {
	for {
		made, err, shared := w.fits.Do(name, func() (any, error) {
			if fit, ok := w.keptFit(ctx, name); ok {
				return fit, nil
			}
			release, err := w.slot(ctx)
			if err != nil {
				return fitted{}, err
			}
			defer release()
			fit, err := w.fitSpooled(ctx, record, spool, targets...)
			if err == nil {
				w.keepFit(name, fit)
			}
			return fit, err
		})
		if shared && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			continue // that was the end of another Job
		}
		if shared && err == nil {
			zerolog.Ctx(ctx).Debug().Msg("fit shared")
		}
		return made.(fitted), err
	}
}

func (w *Worker) keepFit(name string, fit fitted) {
	var data bytes.Buffer
	if w.FitCache != nil && gob.NewEncoder(&data).Encode(fit) == nil {
		w.FitCache.Keep(name, data.Bytes())
	}
}
