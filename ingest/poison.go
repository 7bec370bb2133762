package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"

	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// poison keeps a picture that kills the process, because a fit exits or takes all
// memory, from doing so for ever.
//
// A Job that is delivered again although nobody gave it back was in the hands of a
// process that died. Its pictures are suspects: they are fitted one at a time, so
// that no other can be taken for the culprit, and each with a note in the bucket
// that is taken away when the fit has ended. A suspect whose note is there when it
// is delivered once more has killed a process again, and is kept as it came: that
// takes two deaths.
type poison struct {
	owner string        // this process
	alone chan struct{} // has room for one suspect

	mu    sync.Mutex
	tries map[uint64]int // by sequence of the Job: the try that this process settled last
}

// maxTries bounds the memory for settled tries to some 10 MB. A Job of which it is
// not known becomes a suspect.
const maxTries = 100_000

func newPoison() poison {
	return poison{owner: rand.Text(), alone: make(chan struct{}, 1), tries: map[uint64]int{}}
}

// settled notes that the try of d in hand came to an end.
func (p *poison) settled(d *stream.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tries) >= maxTries {
		clear(p.tries)
	}
	p.tries[d.Sequence] = d.Attempt
}

// suspects tells whether the try before d's may have ended with its process.
func (p *poison) suspects(d *stream.Delivery) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.Attempt > 1 && p.tries[d.Sequence] != d.Attempt-1
}

// guarded does fit for a picture of d to a profile, unless that has killed a process
// twice: then it returns a note for the record instead.
func (w *Worker) guarded(ctx context.Context, d *stream.Delivery, record *store.Media, profile string, fit func() error) (note string, err error) {
	if !w.poison.suspects(d) {
		return "", fit()
	}
	select {
	case w.poison.alone <- struct{}{}:
		defer func() { <-w.poison.alone }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	died, err := w.Store.BeginFit(ctx, record.Account, record.Message, record.SID, w.poison.owner)
	if err != nil {
		return "", err
	}
	if died { // unless what is stored shows that the fit ended before the process did
		if died, err = w.unfitted(ctx, record, profile); err != nil {
			return "", err
		}
	}
	if died {
		return "picture is kept as it came: fitting it ended the process twice", nil
	}
	if err := fit(); err != nil {
		return "", errors.Join(err, w.endFit(ctx, record))
	}
	return "", w.endFit(ctx, record)
}

// unfitted tells whether no variant of a picture is stored. All are made before the
// first is stored.
func (w *Worker) unfitted(ctx context.Context, record *store.Media, profile string) (bool, error) {
	for _, name := range []string{profile, resize.Thumb.Name} {
		variant, _, err := w.Store.OpenBlob(ctx, record.Account, record.Message, record.SID, name)
		if err == nil {
			return false, variant.Close()
		}
		if !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

// endFit takes the note away, also when the Job's own time is over.
func (w *Worker) endFit(ctx context.Context, record *store.Media) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return w.Store.EndFit(ctx, record.Account, record.Message, record.SID)
}
