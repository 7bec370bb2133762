package fetch

import (
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
		if got := judge(c.err); got != c.want {
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

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range []string{"", "0", "120", "-1", "1e9", "99999999999", "Fri, 02 Jan 2026 03:05:05 GMT", "Fri, 02 Jan 1970 03:05:05 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := parseRetryAfter(s, now); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q: %v", s, d)
		}
	})
}
