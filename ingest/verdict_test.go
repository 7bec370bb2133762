package ingest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
)

func TestVerdict(t *testing.T) {
	const giveUp = 24 * time.Hour
	status := func(code int) *fetch.Error { return &fetch.Error{Reason: fetch.BadStatus, Status: code} }
	redirected := func(code int) *fetch.Error {
		return &fetch.Error{Reason: fetch.BadStatus, Status: code, Redirected: true}
	}
	authenticated := func(code int) *fetch.Error {
		return &fetch.Error{Reason: fetch.BadStatus, Status: code, Authenticated: true}
	}
	reason := func(r fetch.Reason) *fetch.Error { return &fetch.Error{Reason: r} }

	for _, c := range []struct {
		name string
		err  error
		age  time.Duration
		want verb
	}{
		{"stored", nil, 0, done},
		{"stored, however late", nil, 48 * time.Hour, done},
		{"404 at first", status(404), time.Minute, retry},
		{"404 at the end of propagation", status(404), propagation - time.Second, retry},
		{"404 later", status(404), propagation, failed},
		{"404 of a redirect's target later", redirected(404), propagation, failed},
		{"429", status(429), time.Hour, retry},
		{"500", status(500), time.Hour, retry},
		{"503", status(503), time.Hour, retry},
		{"503, given up", status(503), giveUp, failed},
		{"401 to our credentials", authenticated(401), time.Hour, retry},
		{"401 to our credentials, given up", authenticated(401), giveUp, failed},
		{"401 of another host", status(401), 0, failed},
		{"401 of a redirect's target", redirected(401), time.Hour, retry},
		{"403 of a redirect's target", redirected(403), time.Hour, retry},
		{"403", status(403), 0, failed},
		{"403 to our credentials", authenticated(403), 0, failed},
		{"410", status(410), 0, failed},
		{"400", status(400), 0, failed},
		{"408", status(408), time.Hour, retry},
		{"timeout", reason(fetch.Timeout), time.Hour, retry},
		{"timeout, given up", reason(fetch.Timeout), giveUp, failed},
		{"network", reason(fetch.Network), time.Hour, retry},
		{"short body", reason(fetch.ShortBody), time.Hour, retry},
		{"busy host", reason(fetch.Busy), time.Hour, retry},
		{"open circuit", reason(fetch.CircuitOpen), time.Hour, retry},
		{"unsupported scheme", reason(fetch.UnsupportedScheme), 0, failed},
		{"forbidden address", reason(fetch.ForbiddenAddress), 0, failed},
		{"too large", reason(fetch.TooLarge), 0, failed},
		{"compressed", reason(fetch.Encoded), 0, failed},
		{"too many redirects", reason(fetch.TooManyRedirects), 0, failed},
		{"wrapped", fmt.Errorf("fetch medium 0: %w", status(410)), 0, failed},
		{"bucket away", errors.New("put: connection refused"), time.Hour, retry},
		{"bucket away for days", errors.New("put: connection refused"), 72 * time.Hour, retry},
		{"deadline of the job", context.DeadlineExceeded, time.Hour, retry},
		{"stopping", errStopping, time.Hour, handBack},
		{"stopping in the middle of a fetch", errors.Join(status(503), errStopping), giveUp, handBack},
	} {
		if got := verdict(c.err, c.age, giveUp); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		for range 20 {
			d := backoff(attempt, errors.New("away"))
			ideal := min(backoffFirst<<min(attempt-1, 20), backoffMost)
			if d < ideal*3/4 || d > ideal*5/4 {
				t.Fatalf("attempt %d: backoff %v, want %v within a quarter", attempt, d, ideal)
			}
		}
	}
	asked := &fetch.Error{Reason: fetch.BadStatus, Status: 429, RetryAfter: 2 * time.Minute}
	if d := backoff(1, asked); d < 90*time.Second {
		t.Errorf("backoff %v where the host asked for %v", d, asked.RetryAfter)
	}
}
