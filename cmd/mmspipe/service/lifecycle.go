package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// lifecycle knows how each part that was started is stopped.
type lifecycle struct {
	parts []part // in the order of starting
}

type part struct {
	name string
	stop func(ctx context.Context) error
}

// onStop adds a part. Its stop returns when the part has stopped, or when ctx ends.
func (l *lifecycle) onStop(name string, stop func(ctx context.Context) error) {
	l.parts = append(l.parts, part{name, stop})
}

// background starts work in a goroutine. To stop it, its context is cancelled;
// then it is waited for, as long as the stop may take. The context does not end
// with the service's: requests that are being answered come first.
func (l *lifecycle) background(name string, work func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	l.onStop(name, func(stopping context.Context) error {
		cancel()
		return await(stopping, done)
	})
}

// stop stops all parts in reverse order: no new requests, no new jobs, jobs in
// hand finished or handed back, connections drained. All share the deadline of
// ctx. A part that fails, or is not done in time, does not keep the others from
// stopping; the error names each.
func (l *lifecycle) stop(ctx context.Context) error {
	var failures []error
	for _, part := range slices.Backward(l.parts) {
		if err := part.stop(ctx); err != nil {
			failures = append(failures, fmt.Errorf("stop %s: %w", part.name, err))
		}
	}
	return errors.Join(failures...)
}

// await returns when done is closed, or with the error of ctx when that ends first.
func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done: // also when ctx has ended before
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// every calls do at once, and then at each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func(ctx context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		do(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
