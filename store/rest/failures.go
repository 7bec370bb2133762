package rest

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// failuresAtOnce and failuresEach bound what guessing can try from one
	// address: so many requests are answered at once, later ones one at a
	// time.
	failuresAtOnce = 10
	failuresEach   = time.Second

	// maxDelay is how long a failed request waits at most; those that would have to
	// wait longer are told to come back, so that few are held.
	maxDelay = 5 * time.Second

	// maxAddresses is how many addresses are remembered.
	maxAddresses = 10_000
)

// Failures slows down whoever sends requests without the right credentials or
// signature, by remote address. Behind a proxy all requests have one address:
// only those that have failed may be made to wait.
type Failures struct {
	mu       sync.Mutex
	limiters map[string]*rate.Limiter
}

// NewFailures returns Failures that knows none yet.
func NewFailures() *Failures { return &Failures{limiters: map[string]*rate.Limiter{}} }

// Delay is called for a request that has failed and returns when that may be
// answered: at once, after up to five seconds, or with the request's end. An
// address that fails more than that gets 429/20429.
func (f *Failures) Delay(r *http.Request) error {
	reservation := f.limiter(r).Reserve()
	wait := reservation.Delay()
	if wait > maxDelay {
		reservation.Cancel()
		return TooManyRequests(wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	return nil
}

func (f *Failures) limiter(r *http.Request) *rate.Limiter {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.limiters[host]; l != nil {
		return l
	}
	if len(f.limiters) >= maxAddresses {
		clear(f.limiters)
	}
	l := rate.NewLimiter(rate.Every(failuresEach), failuresAtOnce)
	f.limiters[host] = l
	return l
}
