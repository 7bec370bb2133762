package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mmspipe/resize"
	"mmspipe/store"

	"github.com/rs/zerolog"
)

// Fitted is what was made of one picture.
type Fitted struct {
	Width, Height int // of the picture as it came; 0 if they could not be told
	Results       []resize.Result
}

// Fit makes pictures for the targets from the original. The same picture is fitted once
// for all who ask for the same at the same time, and kept in [Options].FitCache, so
// nobody may change the result. A picture that cannot be fitted is a
// *[resize.UnfitError], with the size of the picture if that is known.
func (m *Medium) Fit(ctx context.Context, targets []resize.Target) (Fitted, error) {
	name, err := fitName(m.Record.SHA256, targets)
	if err != nil {
		return Fitted{}, err
	}
	if fit, ok := m.pipeline.keptFit(ctx, name); ok {
		return fit, nil
	}
	if m.Try.Abandoned {
		return m.fitSuspect(ctx, name, targets)
	}
	return m.fitOnce(ctx, name, targets)
}

// fitName is what a fit is kept under: the picture and what was asked for. Equal ones
// give equal results, in whatever message. The number is that of the format, which is
// gob of Fitted.
func fitName(sha256 string, targets []resize.Target) (string, error) {
	asked, err := json.Marshal(targets)
	return "fit 1 " + sha256 + " " + string(asked), err
}

// fitOnce shares one fit among all who ask for it.
func (m *Medium) fitOnce(ctx context.Context, name string, targets []resize.Target) (Fitted, error) {
	for {
		made, err, shared := m.pipeline.fits.Do(name, func() (any, error) {
			if fit, ok := m.pipeline.keptFit(ctx, name); ok {
				return fit, nil
			}
			fit, err := m.fit(ctx, targets)
			if err == nil {
				m.pipeline.keepFit(name, fit)
			}
			return fit, err
		})
		if shared && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			continue // that was the end of another Job
		}
		if shared && err == nil {
			zerolog.Ctx(ctx).Debug().Msg("fit shared")
		}
		return made.(Fitted), err
	}
}

// fit fits the picture once there is room for it in memory: pictures wait on disk.
func (m *Medium) fit(ctx context.Context, targets []resize.Target) (fit Fitted, err error) {
	select {
	case m.pipeline.pictures <- struct{}{}:
		defer func() { <-m.pipeline.pictures }()
	case <-ctx.Done():
		return fit, ctx.Err()
	}
	data := make([]byte, m.Record.Size)
	if _, err := m.spool.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return fit, fmt.Errorf("spool: %w", err)
	}
	if info, err := resize.Inspect(data); err == nil {
		fit.Width, fit.Height = info.Width, info.Height
	}
	fit.Results, err = m.pipeline.Fitter.Fit(ctx, data, targets...)
	if err != nil {
		return fit, fmt.Errorf("fit %s: %w", m.Media, err)
	}
	for _, result := range fit.Results {
		zerolog.Ctx(ctx).Debug().Str("variant", result.Name).Str("type", result.ContentType).
			Int64("from_bytes", m.Record.Size).Int("from_width", fit.Width).Int("from_height", fit.Height).
			Int("bytes", len(result.Data)).Int("width", result.Width).Int("height", result.Height).
			Int("quality", result.Quality).Float64("scale", result.Scale).Strs("lost", result.Lost).Bool("pass_through", result.PassThrough).
			Int64("ms", result.Elapsed.Milliseconds()).Msg("fitted")
	}
	return fit, nil
}

// keptFit returns the fit that was kept under a name.
func (p *Pipeline) keptFit(ctx context.Context, name string) (fit Fitted, ok bool) {
	if p.FitCache == nil {
		return fit, false
	}
	data, ok := p.FitCache.Kept(name)
	if !ok || gob.NewDecoder(bytes.NewReader(data)).Decode(&fit) != nil {
		return Fitted{}, false
	}
	zerolog.Ctx(ctx).Debug().Msg("fit reused")
	return fit, true
}

func (p *Pipeline) keepFit(name string, fit Fitted) {
	var data bytes.Buffer
	if p.FitCache != nil && gob.NewEncoder(&data).Encode(fit) == nil {
		p.FitCache.Keep(name, data.Bytes())
	}
}

// PutVariants stores what was made of the picture and notes it in the record.
func (m *Medium) PutVariants(ctx context.Context, fit Fitted) error {
	for _, result := range fit.Results {
		variant, err := m.putVariant(ctx, result)
		if err != nil {
			return err
		}
		m.Record.Variants = append(m.Record.Variants, variant)
	}
	return nil
}

// putVariant stores a fitted picture. One that a try before this stored is
// adopted and described as it is, should another version have made it.
func (m *Medium) putVariant(ctx context.Context, result resize.Result) (store.Variant, error) {
	variant := store.Variant{
		Name: result.Name, ContentType: result.ContentType, Width: result.Width, Height: result.Height,
		Quality: result.Quality, Scale: result.Scale, PassThrough: result.PassThrough, Lost: result.Lost,
		Milliseconds: result.Elapsed.Milliseconds(),
	}
	blob, adopted, err := m.pipeline.Store.PutBlob(ctx, m.MediaKey, result.Name, bytes.NewReader(result.Data), int64(len(result.Data)))
	if err != nil {
		return variant, err
	}
	variant.Blob = blob
	sum := sha256.Sum256(result.Data)
	if !adopted || blob.SHA256 == hex.EncodeToString(sum[:]) {
		return variant, nil
	}
	stored, _, err := m.pipeline.Store.OpenBlob(ctx, m.MediaKey, result.Name)
	if err != nil {
		return variant, err
	}
	defer stored.Close()
	data, err := io.ReadAll(stored)
	if err != nil {
		return variant, fmt.Errorf("read variant %s of %s: %w", result.Name, m.Media, err)
	}
	info, err := resize.Inspect(data)
	if err != nil {
		return variant, fmt.Errorf("variant %s of %s: %w", result.Name, m.Media, err)
	}
	variant.ContentType, variant.Width, variant.Height, variant.Quality = info.ContentType, info.Width, info.Height, 0
	if m.Record.Width > 0 {
		variant.Scale = float64(info.Width) / float64(m.Record.Width)
	}
	return variant, nil
}
