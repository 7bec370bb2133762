package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStopKeepsDeadline: a part that does not stop is given up at the deadline and
// named, and the others are stopped, the last that was started first.
func TestStopKeepsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parts lifecycle
		var stopped []string
		note := func(name string) func(context.Context) error {
			return func(context.Context) error { stopped = append(stopped, name); return nil }
		}
		release := make(chan struct{})
		parts.onStop("first", note("first"))
		parts.background("stubborn work", func(context.Context) { <-release })
		parts.background("work", func(ctx context.Context) { <-ctx.Done() })
		parts.onStop("last", note("last"))

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := parts.stop(ctx)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("stopped after %v, want the 3s that it was given", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "stop stubborn work: context deadline exceeded" {
			t.Errorf("error %v", err)
		}
		if !slices.Equal(stopped, []string{"last", "first"}) {
			t.Errorf("stopped %v", stopped)
		}
		close(release)
	})
}

// TestStopNamesFailures: a part that fails to stop does not keep the others from it.
func TestStopNamesFailures(t *testing.T) {
	var parts lifecycle
	parts.onStop("one", func(context.Context) error { return errors.New("broken") })
	parts.onStop("two", func(context.Context) error { return errors.New("stuck") })
	if err := parts.stop(t.Context()); err == nil || strings.Join(strings.Fields(err.Error()), " ") != "stop two: stuck stop one: broken" {
		t.Errorf("error %v", err)
	}
}

// TestEvery: what is done by the clock is done at once, and again at each interval.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parts lifecycle
		n := 0
		parts.background("ticks", func(ctx context.Context) { every(ctx, time.Minute, func(context.Context) { n++ }) })
		<-time.After(150 * time.Second)
		if err := parts.stop(t.Context()); err != nil || n != 3 {
			t.Errorf("%d times in two and a half minutes, %v; want 3", n, err)
		}
	})
}
