package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	// jobDeadline ends a try: a message's media are fetched side by side, each
	// within two minutes, and fitted within seconds.
	jobDeadline = 10 * time.Minute

	// heartbeat keeps a Job in hand from being delivered again. It is a third
	// of the consumer's AckWait, so that two may be missed.
	heartbeat = 20 * time.Second

	// settleTimeout bounds the settling of a Job, which is done even when its own
	// time is over.
	settleTimeout = 10 * time.Second

	// unknownFor is how long a Job of an unknown kind is left to the workers of
	// another version: as long as the longest upgrade of a fleet.
	unknownFor = 24 * time.Hour

	// holdPause is how long a worker that holds waits before it looks again.
	holdPause = 500 * time.Millisecond
)

// Accounts holds the auth tokens of each account that is worked for: one, or two
// during a rotation.
type Accounts map[store.AccountSID][]string

// Handler does what a Job asks for. Without an error the Job is done. Doing it again,
// and doing it twice at once, must be harmless.
type Handler func(ctx context.Context, d *stream.Delivery) error

// Options are what a [Worker] works with. All up to Log are required.
type Options struct {
	Streams  *stream.Streams
	Handlers map[stream.Kind]Handler
	// Reject records a Job that cannot be read as a failure that people see. The Job is
	// done then.
	Reject func(ctx context.Context, d *stream.Delivery, why error) error
	Log    zerolog.Logger

	Jobs  int           // Jobs at once; 16 if 0
	Drain time.Duration // time to finish the Jobs in hand when stopping; 20 s if 0

	// Hold, if set, tells that no Job is to be begun now.
	Hold func() bool
}

// Worker takes Jobs from the stream and has them done.
type Worker struct{ Options }

// NewWorker returns a Worker that waits for [Worker.Run].
func NewWorker(o Options) *Worker {
	o.Jobs = cmp.Or(o.Jobs, 16)
	o.Drain = cmp.Or(o.Drain, 20*time.Second)
	return &Worker{o}
}

// Run takes Jobs until ctx ends. It returns when those in hand are finished or,
// after [Options].Drain, given back. Its goroutines have ended then.
func (w *Worker) Run(ctx context.Context) {
	// Jobs outlive ctx by the time to drain.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(w.Drain, func() { stop(errStopping) })
		context.AfterFunc(work, func() { timer.Stop() })
	})()

	var jobs sync.WaitGroup
	for range w.Jobs {
		jobs.Go(func() { w.pull(ctx, work) })
	}
	jobs.Wait()
}

// pull takes one Job after another.
func (w *Worker) pull(ctx, work context.Context) {
	for ctx.Err() == nil {
		if w.Hold != nil && w.Hold() {
			pause(ctx, holdPause)
			continue
		}
		delivery, err := w.Streams.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.Log.Error().Err(err).Msg("job not taken")
			}
			continue
		}
		w.Do(work, delivery)
	}
}

// pause waits for a time, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Do tries one Job and settles it.
func (w *Worker) Do(work context.Context, d *stream.Delivery) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(work, jobDeadline)
	defer cancel()
	log := w.Log.With().Str("kind", string(d.Kind)).Stringer("accountSid", d.Account).Stringer("messageSid", d.Message).
		Int("attempt", d.Attempt).Logger()
	ctx = log.WithContext(ctx)

	stop := beat(ctx, d)
	err := w.handle(ctx, d)
	stop()

	log = log.With().Dur("ms", time.Since(start)).Logger()
	verb, delay := decide(err, d.Attempt)
	if verb == reject {
		log.Error().Err(err).Msg("job cannot be read; it becomes a failure")
		verb, delay = decide(w.Reject(ctx, d, err), d.Attempt)
	}
	if failed := settle(work, d, verb, delay); failed != nil {
		log.Error().Err(failed).Msg("job not settled; it will be delivered again")
		return
	}
	switch verb {
	case done:
		log.Info().Msg("job done")
	case wait:
		log.Debug().Err(err).Msg("job waits")
	case retry:
		log.Warn().Err(err).Msg("job delayed")
	case handBack:
		log.Info().Msg("job handed back")
	}
}

// handle has a Job done. A Job that ends because the worker stops is told from one
// whose time is over.
func (w *Worker) handle(ctx context.Context, d *stream.Delivery) error {
	handler, ok := w.Handlers[d.Kind]
	if !ok && time.Since(d.Queued) < unknownFor { // a newer version queued it; its workers know what to do
		return fmt.Errorf("no handler for a job of kind %q", d.Kind)
	}
	if !ok {
		return d.Unreadable(fmt.Errorf("nobody has handled its kind in %v", unknownFor))
	}
	err := handler(ctx, d)
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	return err
}

// settle tells the stream what becomes of the Job.
func settle(work context.Context, d *stream.Delivery, verb verb, delay time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), settleTimeout)
	defer cancel()
	if verb == done {
		return d.Ack(ctx)
	}
	return d.Nak(ctx, delay)
}

// beat says InProgress for d until the returned function is called.
func beat(ctx context.Context, d *stream.Delivery) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := d.InProgress(); err != nil {
					zerolog.Ctx(ctx).Warn().Err(err).Msg("job may be delivered to another worker")
				}
			}
		}
	})
	return func() { cancel(); beating.Wait() }
}
