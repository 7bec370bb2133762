package media

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"mmspipe/resize"
	"mmspipe/store"

	"github.com/rs/zerolog"
)

// suspects keeps a picture that kills the process, because a fit exits or takes all
// memory, from doing so for ever.
//
// A Job whose earlier try was abandoned was in the hands of a process that died. Its
// pictures are suspects: they are fitted one at a time, so that no other can be taken
// for the culprit, and each with a note in the bucket that is taken away when the fit
// has ended. A suspect whose note is there when it is delivered once more has killed a
// process again, and is kept as it came: that takes two deaths.
type suspects struct {
	owner string        // this process
	alone chan struct{} // has room for one suspect
}

// endFitTimeout bounds taking a note away, which is done even when the Job's own time
// is over.
const endFitTimeout = 10 * time.Second

func newSuspects() suspects { return suspects{owner: rand.Text(), alone: make(chan struct{}, 1)} }

// fitSuspect fits a picture, unless that has killed a process twice. Suspects wait for
// each other before they take their place in memory, so that no two wait for each
// other there.
func (m *Medium) fitSuspect(ctx context.Context, name string, targets []resize.Target) (fit Fitted, err error) {
	s := m.pipeline.suspects
	select {
	case s.alone <- struct{}{}:
		defer func() { <-s.alone }()
	case <-ctx.Done():
		return fit, ctx.Err()
	}
	died, err := m.pipeline.Store.BeginFit(ctx, m.MediaKey, s.owner)
	if err != nil {
		return fit, err
	}
	if died { // unless what is stored shows that the fit ended before the process did
		if died, err = m.unfitted(ctx, targets); err != nil {
			return fit, err
		}
	}
	if died {
		zerolog.Ctx(ctx).Error().Msg("picture is kept as it came: fitting it ended the process twice")
		return fit, &resize.UnfitError{Reason: "fitting it ended the process twice"}
	}
	fit, err = m.fitOnce(ctx, name, targets)
	return fit, errors.Join(err, m.endFit(ctx))
}

// unfitted tells whether no variant of a picture is stored. All are made before the
// first is stored.
func (m *Medium) unfitted(ctx context.Context, targets []resize.Target) (bool, error) {
	for _, target := range targets {
		variant, _, err := m.pipeline.Store.OpenBlob(ctx, m.MediaKey, target.Name)
		if err == nil {
			return false, variant.Close()
		}
		if !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

// endFit takes the note away.
func (m *Medium) endFit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endFitTimeout)
	defer cancel()
	return m.pipeline.Store.EndFit(ctx, m.MediaKey)
}
