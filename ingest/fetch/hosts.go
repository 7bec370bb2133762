package fetch

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// circuitFailures in a row open a host's circuit.
	circuitFailures = 5

	// circuitFirst and circuitMost bound the time between tries of a host whose
	// circuit is open.
	circuitFirst = 30 * time.Second
	circuitMost  = 5 * time.Minute

	// maxHosts is how many hosts are remembered for their failures.
	maxHosts = 10_000
)

// hosts shares slots among the hosts that are fetched from.
type hosts struct {
	slots    chan struct{} // of all
	each     int           // that one host may have
	patience time.Duration
	idle     time.Duration // after which those that hold the slots have moved or ended

	mu     sync.Mutex
	byName map[string]*host
}

// host is what is known of one. All but its slots is guarded by hosts.mu.
type host struct {
	slots    chan struct{}
	users    int       // callers that hold or wait for a slot
	progress time.Time // of the last answer, or of the first caller after none

	failures int // in a row
	pause    time.Duration
	closed   time.Time // until when the host is left alone
	probing  bool      // a caller is trying whether it works again
}

func newHosts(slots int, patience, idle time.Duration) *hosts {
	return &hosts{
		slots: make(chan struct{}, slots), each: max(slots/2, 1), patience: patience, idle: idle, byName: map[string]*host{},
	}
}

// acquire waits for a slot for the named host. The caller releases it with the error that
// the fetch ended with.
func (hs *hosts) acquire(ctx context.Context, name string) (release func(error), err error) {
	h := hs.enter(name)
	if err := hs.wait(ctx, h, name); err != nil {
		hs.leave(h, name)
		return nil, err
	}
	giveBack := func() { <-h.slots; hs.leave(h, name) }
	probe, err := hs.admit(h, name)
	if err != nil {
		giveBack()
		return nil, err
	}
	select {
	case hs.slots <- struct{}{}:
	case <-ctx.Done():
		hs.settle(h, probe, ctx.Err())
		giveBack()
		return nil, ctx.Err()
	}
	return func(err error) {
		<-hs.slots
		hs.settle(h, probe, err)
		giveBack()
	}, nil
}

// trip is a fetch on its way. It holds a slot of its first host, wherever that redirects
// it. Each host on the way is counted for what it did itself: a host that redirects has
// answered.
type trip struct {
	hosts     *hosts
	first, at string      // hosts
	release   func(error) // of the first
	leave     func(error) // of where it was redirected to, nil if it is at the first
}

// begin waits for a slot for the named host.
func (hs *hosts) begin(ctx context.Context, name string) (*trip, error) {
	release, err := hs.acquire(ctx, name)
	if err != nil {
		return nil, err
	}
	return &trip{hosts: hs, first: name, at: name, release: release}, nil
}

// reach goes on to the next host, and refuses one whose circuit is open.
func (t *trip) reach(name string) error {
	if name == t.at {
		return nil
	}
	t.depart(nil)
	if t.at = name; name == t.first {
		return nil
	}
	h := t.hosts.enter(name)
	probe, err := t.hosts.admit(h, name)
	if err != nil {
		t.hosts.leave(h, name)
		if open, ok := errors.AsType[*Error](err); ok {
			open.Redirected = true
		}
		return err
	}
	t.leave = func(err error) {
		t.hosts.settle(h, probe, err)
		t.hosts.leave(h, name)
	}
	return nil
}

// depart notes how it went at the host that the trip was redirected to.
func (t *trip) depart(err error) {
	if t.leave != nil {
		t.leave(err)
		t.leave = nil
	}
}

// end notes how the fetch ended. The host that it was at last is to blame.
func (t *trip) end(err error) {
	t.depart(err)
	if t.at != t.first {
		err = nil
	}
	t.release(err)
}

// enter counts a caller in.
func (hs *hosts) enter(name string) *host {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.byName[name]
	if h == nil {
		h = &host{slots: make(chan struct{}, hs.each)}
		hs.byName[name] = h
	}
	if h.users == 0 {
		h.progress = time.Now()
	}
	h.users++
	return h
}

// leave counts a caller out. It forgets the host if nothing is to be remembered of it, and
// others when there are too many.
func (hs *hosts) leave(h *host, name string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.users--
	if h.users == 0 && h.failures == 0 {
		delete(hs.byName, name)
	}
	for other, o := range hs.byName {
		if len(hs.byName) <= maxHosts {
			return
		}
		if o.users == 0 {
			delete(hs.byName, other)
		}
	}
}

// wait takes one of the host's slots. It waits for one only while the host
// makes progress and its circuit is closed.
func (hs *hosts) wait(ctx context.Context, h *host, name string) error {
	for {
		select {
		case h.slots <- struct{}{}:
			return nil
		default:
		}
		hs.mu.Lock()
		left, err := hs.patience-time.Since(h.progress), h.refusal(name)
		hs.mu.Unlock()
		if err != nil {
			return err
		}
		if left <= 0 {
			return &Error{Reason: Busy, Host: name, RetryAfter: hs.idle}
		}
		timer := time.NewTimer(left)
		select {
		case h.slots <- struct{}{}:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// refusal is the error for a host whose circuit is open, nil if it may be asked.
func (h *host) refusal(name string) error {
	left := time.Until(h.closed)
	if h.failures < circuitFailures || left <= 0 && !h.probing {
		return nil
	}
	return &Error{Reason: CircuitOpen, Host: name, RetryAfter: max(left, time.Second)}
}

// admit refuses a host whose circuit is open. When it is due to be tried again, it admits
// one caller at a time, whose try is the probe.
func (hs *hosts) admit(h *host, name string) (probe bool, err error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if err := h.refusal(name); err != nil {
		return false, err
	}
	probe = h.failures >= circuitFailures
	h.probing = h.probing || probe
	return probe, nil
}

// settle notes how a fetch ended. A fetch that began before the circuit opened and
// fails after it says nothing new: only a probe lengthens the pause.
func (hs *hosts) settle(h *host, probe bool, err error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if probe {
		h.probing = false
	}
	switch healthAfter(err) {
	case answered:
		h.progress = time.Now()
		h.failures, h.pause = 0, 0
	case broken:
		h.failures++
		if h.failures == circuitFailures || probe && h.failures > circuitFailures {
			h.pause = min(max(2*h.pause, circuitFirst), circuitMost)
			h.closed = time.Now().Add(h.pause)
		}
	}
}

// health is how a host is doing.
type health int

const (
	unknown  health = iota // the host did not end the fetch
	answered               // with whatever
	broken
)

// healthAfter returns what the end of a fetch says of its host.
func healthAfter(err error) health {
	if err == nil {
		return answered
	}
	trouble, ok := errors.AsType[*Error](err)
	if !ok {
		return unknown
	}
	switch trouble.Reason {
	case Network, Timeout, ShortBody:
		return broken
	case BadStatus:
		if trouble.Status >= http.StatusInternalServerError {
			return broken
		}
		return answered
	case TooLarge, TooManyRedirects, Encoded:
		return answered
	}
	return unknown
}
