package fetch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestCircuit: a host that fails five times in a row is left alone, tried by one
// caller at a time, ever less often, and used again when a try succeeds.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHosts(16, 2*time.Second, 15*time.Second)
		down := &Error{Reason: Network}
		try := func(result error) error {
			release, err := hs.acquire(t.Context(), "h:80")
			if err == nil {
				release(result)
			}
			return err
		}
		for range circuitFailures {
			if err := try(down); err != nil {
				t.Fatal(err)
			}
		}
		for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
			open, ok := errors.AsType[*Error](try(nil))
			if !ok || open.Reason != CircuitOpen || open.RetryAfter != pause {
				t.Fatalf("error %v after %v, want an open circuit for %v", open, open.RetryAfter, pause)
			}
			time.Sleep(pause) // of the bubble's clock
			probe, err := hs.acquire(t.Context(), "h:80")
			if err != nil {
				t.Fatalf("the try after %v: %v", pause, err)
			}
			if open, ok := errors.AsType[*Error](try(nil)); !ok || open.Reason != CircuitOpen {
				t.Fatal("two callers try at once")
			}
			probe(down)
		}
		time.Sleep(circuitMost)
		for range 10 {
			if err := try(nil); err != nil {
				t.Fatalf("after a success: %v", err)
			}
		}
		if len(hs.byName) != 0 {
			t.Errorf("%d hosts are remembered for nothing", len(hs.byName))
		}
	})
}

// TestCircuitBurst: fetches that were under way together and fail together open
// the circuit once, for the first pause.
func TestCircuitBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHosts(16, 2*time.Second, 15*time.Second)
		down := &Error{Reason: Timeout}
		var held []func(error)
		for range hs.each {
			release, err := hs.acquire(t.Context(), "h:80")
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, release)
		}
		open := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			_, err := hs.acquire(t.Context(), "h:80")
			trouble, ok := errors.AsType[*Error](err)
			if !ok || trouble.Reason != CircuitOpen || trouble.RetryAfter != want || time.Since(start) != 0 {
				t.Fatalf("error %v (%v) after %v, want an open circuit for %v at once", err, trouble.RetryAfter, time.Since(start), want)
			}
		}
		for _, release := range held[1:] {
			release(down)
		}
		open(circuitFirst)
		time.Sleep(circuitFirst)
		probe, err := hs.acquire(t.Context(), "h:80")
		if err != nil {
			t.Fatalf("probe: %v", err)
		}
		held[0](down) // it began long ago, and does not end the probe
		open(time.Second)
		probe(down)
		open(2 * circuitFirst)
	})
}

// TestProbeWithoutVerdict: a probe that the caller ended lets the next one try.
func TestProbeWithoutVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHosts(16, 2*time.Second, 15*time.Second)
		for _, result := range []error{
			&Error{Reason: Network}, &Error{Reason: Network}, &Error{Reason: Network}, &Error{Reason: Network}, &Error{Reason: Network},
			context.Canceled, nil, nil,
		} {
			release, err := hs.acquire(t.Context(), "h:80")
			if err != nil {
				t.Fatalf("before %v: %v", result, err)
			}
			release(result)
			if hs.byName["h:80"] != nil && hs.byName["h:80"].failures >= circuitFailures {
				time.Sleep(circuitFirst)
			}
		}
	})
}

// TestOpenCircuitIsNotWaitedFor: callers of a host that is left alone are told
// at once, even while its slots are still taken.
func TestOpenCircuitIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHosts(2, 2*time.Second, 15*time.Second) // one slot for each host
		for range circuitFailures {
			release, err := hs.acquire(t.Context(), "h:80")
			if err != nil {
				t.Fatal(err)
			}
			release(&Error{Reason: Network})
		}
		time.Sleep(circuitFirst)
		probe, err := hs.acquire(t.Context(), "h:80")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = hs.acquire(t.Context(), "h:80")
		if trouble, ok := errors.AsType[*Error](err); !ok || trouble.Reason != CircuitOpen || time.Since(start) != 0 {
			t.Errorf("error %v after %v, want an open circuit at once", err, time.Since(start))
		}
		probe(nil)
	})
}

// TestAllSlots: a caller waits for a slot as long as its context lasts when
// others have all of them.
func TestAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHosts(2, 2*time.Second, 15*time.Second)
		var held []func(error)
		for _, name := range []string{"a:80", "b:80"} {
			release, err := hs.acquire(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, release)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := hs.acquire(ctx, "c:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		held[0](nil)
		release, err := hs.acquire(t.Context(), "c:80")
		if err != nil {
			t.Fatalf("after one was given back: %v", err)
		}
		release(nil)
		held[1](nil)
	})
}

// TestWhatOpensACircuit: an answer is none of the host's failures, whatever it
// says, unless it says so itself.
func TestWhatOpensACircuit(t *testing.T) {
	for _, c := range []struct {
		err  error
		want health
	}{
		{nil, answered},
		{&Error{Reason: BadStatus, Status: 404}, answered},
		{&Error{Reason: BadStatus, Status: 429}, answered},
		{&Error{Reason: BadStatus, Status: 500}, broken},
		{&Error{Reason: Network}, broken},
		{&Error{Reason: Timeout}, broken},
		{&Error{Reason: ShortBody}, broken},
		{&Error{Reason: TooLarge}, answered},
		{&Error{Reason: ForbiddenAddress}, unknown},
		{errors.New("no space left"), unknown},
	} {
		if got := healthAfter(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

// TestPatience: a caller waits for a full host as long as that answers now and
// then.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHosts(4, 2*time.Second, 15*time.Second)
		var held []func(error)
		for range 2 {
			release, err := hs.acquire(t.Context(), "h:80")
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, release)
		}
		// Three more wait. Every 1.5 s one is served, and it gives its slot to
		// the next: the last waits 4.5 s in all.
		served := make(chan func(error))
		for range 3 {
			go func() {
				release, err := hs.acquire(t.Context(), "h:80")
				if err != nil {
					t.Error(err)
				}
				served <- release
			}()
		}
		for range 3 {
			time.Sleep(1500 * time.Millisecond)
			held[0](nil)
			held[0] = <-served
		}
		start := time.Now()
		_, err := hs.acquire(t.Context(), "h:80")
		if trouble, ok := errors.AsType[*Error](err); !ok || trouble.Reason != Busy || time.Since(start) != 2*time.Second {
			t.Errorf("error %v after %v, want busy after 2s", err, time.Since(start))
		}
		held[0](nil)
		held[1](nil)
	})
}

func TestHostsAreForgotten(t *testing.T) {
	hs := newHosts(16, time.Second, time.Second)
	for i := range maxHosts + 100 {
		release, err := hs.acquire(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		release(&Error{Reason: Network})
	}
	if len(hs.byName) > maxHosts {
		t.Errorf("%d hosts are remembered, want at most %d", len(hs.byName), maxHosts)
	}
}
