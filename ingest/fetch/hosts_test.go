package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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

// TestIsUpstream: upstream is one scheme, host and port.
func TestIsUpstream(t *testing.T) {
	upstream, err := url.Parse("https://api.twilio.com")
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{Upstream: upstream})
	for address, want := range map[string]bool{
		"https://api.twilio.com/2010-04-01/":      true,
		"https://api.twilio.com:443/":             true,
		"https://API.Twilio.com./":                true,
		"https://u:p@api.twilio.com/":             true,
		"http://api.twilio.com/":                  false,
		"http://api.twilio.com:443/":              false,
		"https://api.twilio.com:80/":              false,
		"https://x.api.twilio.com/":               false,
		"https://twilio.com/":                     false,
		"https://api.twilio.com@example.com/":     false,
		"https://api.twilio.com.example.com/":     false,
		"https://ap\u0130.twilio.com/":            false, // a dotted capital I is another name to DNS
		"https://ap%C4%B0.twilio.com/":            false,
		"https://\uff41pi.twilio.com/":            false,
		"https://example.com/?https://api.twilio": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.isUpstream(u); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// TestGuard: what may be dialled, whatever name or redirect led to it.
func TestGuard(t *testing.T) {
	allows, err := ParseAllow("10.1.0.0/16:9000,[fd00::/64]:443,169.254.169.254/32:81")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "8.8.8.8:80": true, "[2606:4700:4700::1111]:443": true, "[::ffff:8.8.8.8]:443": true,
		"8.8.8.8:22": false, "8.8.8.8:8443": false, "[2606:4700:4700::1111]:8080": false,
		"10.1.2.3:9000": true, "[::ffff:10.1.2.3]:9000": true, "10.1.2.3:80": false, "10.1.2.3:443": false, "10.2.0.1:9000": false,
		"[fd00::1]:443": true, "[fd00::1%eth0]:443": true, "[fd00::1]:80": false, "[fd00:0:0:1::1]:443": false, "[fd00:ec2::254]:80": false,
		"169.254.169.254:81": true, "169.254.169.254:80": false, "169.254.169.253:81": false,
		// Every wrapping of 8.8.8.8 is refused, too: what it leads to is a gateway's.
		"[2002:808:808::1]:443": false, "[64:ff9b::808:808]:443": false, "[64:ff9b:1::808:808]:443": false,
		"[2001:0:808:808::]:443": false, "[2606:4700::5efe:808:808]:443": false, "[::808:808]:443": false, "[::ffff:0:808:808]:443": false,
		"[2001:20::1]:443": false, "[2001:db8::1]:443": false, "[3fff::1]:443": false, "[5f00::1]:443": false, "[100::1]:443": false,
		"[fec0::1]:443": false, "[ff0e::1]:443": false, "[2620:4f:8000::1]:443": false, "192.88.99.1:80": false, "192.31.196.1:80": false,
		"0.1.2.3:80": false, "100.127.255.255:80": false, "198.19.255.255:80": false, "239.1.2.3:80": false, "255.255.255.255:80": false,
		"not an address": false, "example.com:80": false,
	} {
		network := "tcp4"
		if address[0] == '[' {
			network = "tcp6"
		}
		if err := guard(allows).control(t.Context(), network, address, nil); (err == nil) != want || err != nil && !errors.Is(err, errForbidden) {
			t.Errorf("%s: %v, want it allowed: %v", address, err, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "3600": time.Hour, "3601": time.Hour, "99999999999999999999999": time.Hour,
		"-1": 0, "+5": 0, "1.5": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Friday, 02-Jan-26 03:05:05 GMT": time.Minute, "Fri Jan  2 03:05:05 2026": time.Minute,
		"Fri, 02 Jan 2026 03:04:05 GMT": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0, "Fri, 01 Jan 9999 00:00:00 GMT": time.Hour,
	} {
		if got := parseRetryAfter(s, now); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
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
