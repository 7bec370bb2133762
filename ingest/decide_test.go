package ingest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
)

const (
	testGiveUp = 24 * time.Hour
	// failed stands for what a handler records as a failure.
	failed verb = -1
)

// outcome is what becomes of a Job of an age whose medium is in trouble: what
// Permanent says is for good becomes a failure, and decide has the rest.
func outcome(err error, age time.Duration) verb {
	if Permanent(context.Background(), err, age, testGiveUp) {
		return failed
	}
	v, _ := decide(err, 1)
	return v
}

func TestOutcome(t *testing.T) {
	status := func(code int) *fetch.Error { return &fetch.Error{Reason: fetch.BadStatus, Status: code} }
	redirected := func(code int) *fetch.Error {
		return &fetch.Error{Reason: fetch.BadStatus, Status: code, Redirected: true}
	}
	authenticated := func(code int) *fetch.Error {
		return &fetch.Error{Reason: fetch.BadStatus, Status: code, Authenticated: true}
	}
	reason := func(r fetch.Reason) *fetch.Error { return &fetch.Error{Reason: r} }
	api := func(code int) *upstream.Error { return &upstream.Error{Status: code} }

	for _, c := range []struct {
		name string
		err  error
		age  time.Duration
		want verb
	}{
		{"stored", nil, 0, done},
		{"stored, however late", nil, 48 * time.Hour, done},
		{"404 at first", status(404), time.Minute, retry},
		{"404 at the end of propagation", status(404), Propagation - time.Second, retry},
		{"404 later", status(404), Propagation, failed},
		{"404 of a redirect's target later", redirected(404), Propagation, failed},
		{"429", status(429), time.Hour, retry},
		{"500", status(500), time.Hour, retry},
		{"503", status(503), time.Hour, retry},
		{"503, given up", status(503), testGiveUp, failed},
		{"401 to our credentials", authenticated(401), time.Hour, retry},
		{"401 to our credentials, given up", authenticated(401), testGiveUp, failed},
		{"401 of another host", status(401), 0, failed},
		{"401 of a redirect's target", redirected(401), time.Hour, retry},
		{"403 of a redirect's target", redirected(403), time.Hour, retry},
		{"403", status(403), 0, failed},
		{"403 to our credentials", authenticated(403), 0, failed},
		{"410", status(410), 0, failed},
		{"400", status(400), 0, failed},
		{"408", status(408), time.Hour, retry},
		{"timeout", reason(fetch.Timeout), time.Hour, retry},
		{"timeout, given up", reason(fetch.Timeout), testGiveUp, failed},
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
		{"API unreachable", api(0), time.Minute, retry},
		{"API 404", api(404), time.Minute, failed},
		{"API 400", api(400), time.Minute, failed},
		{"API 401", api(401), time.Minute, retry},
		{"API 429", api(429), time.Minute, retry},
		{"API 503", api(503), time.Minute, retry},
		{"API unreachable, given up", api(0), testGiveUp, failed},
		{"API 401, given up", api(401), testGiveUp, failed},
		{"API 503, given up", api(503), testGiveUp, failed},
		{"bucket away", errors.New("put: connection refused"), time.Hour, retry},
		{"bucket away for days", errors.New("put: connection refused"), 72 * time.Hour, retry},
		{"deadline of the job", context.DeadlineExceeded, time.Hour, retry},
		{"stopping", errStopping, time.Hour, handBack},
		{"stopping, wrapped", fmt.Errorf("job: %w", errStopping), time.Hour, handBack},
		{"not its turn", NotYet("another waits"), time.Hour, wait},
		{"not its turn for days", NotYet("another waits"), 72 * time.Hour, wait},
		{"message deleted", store.ErrDeleted, time.Hour, done},
		{"message deleted, wrapped", fmt.Errorf("note: %w", store.ErrDeleted), time.Hour, done},
	} {
		if got := outcome(c.err, c.age); got != c.want {
			t.Errorf("%s: verb %d, want %d", c.name, got, c.want)
		}
	}
}

// TestPermanentStopping: what a worker is told of a host while it stops is not believed,
// because its own end is what the host's connection broke of.
func TestPermanentStopping(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if Permanent(ctx, &fetch.Error{Reason: fetch.BadStatus, Status: 410}, testGiveUp, testGiveUp) {
		t.Error("a medium is given up although the worker stops")
	}
}

// TestDecideJoined: of joined errors the strongest verb counts, and the longest delay.
func TestDecideJoined(t *testing.T) {
	later := func(d time.Duration) error { return &Later{Delay: d, Err: errors.New("settling")} }
	away := errors.New("put: connection refused")
	trouble := &fetch.Error{Reason: fetch.BadStatus, Status: 503}
	asked := &fetch.Error{Reason: fetch.BadStatus, Status: 429, RetryAfter: 2 * time.Minute}
	const first = retryFirst * 5 / 4 // the longest delay of a first try

	for _, c := range []struct {
		name     string
		err      error
		want     verb
		min, max time.Duration
	}{
		{"none", errors.Join(nil, nil), done, 0, 0},
		{"deleted alone", errors.Join(store.ErrDeleted, store.ErrDeleted), done, 0, 0},
		{"deleted and a bucket away", errors.Join(store.ErrDeleted, away), retry, retryFirst * 3 / 4, first},
		{"a bucket away and deleted", errors.Join(away, store.ErrDeleted), retry, retryFirst * 3 / 4, first},
		{"not its turn and deleted", errors.Join(NotYet("waits"), store.ErrDeleted), wait, turnFirst * 3 / 4, turnFirst * 5 / 4},
		{"not its turn and a bucket away", errors.Join(NotYet("waits"), away), retry, retryFirst * 3 / 4, first},
		{"stopping in the middle of a fetch", errors.Join(trouble, errStopping), handBack, 0, first},
		{"stopping first", errors.Join(errStopping, trouble), handBack, 0, first},
		{"the longest delay, last", errors.Join(later(time.Second), later(time.Hour)), retry, time.Hour, time.Hour},
		{"the longest delay, first", errors.Join(later(time.Hour), later(time.Second)), retry, time.Hour, time.Hour},
		{"what a host asked for", errors.Join(trouble, asked, away), retry, 2 * time.Minute, 150 * time.Second},
		{"joined inside", fmt.Errorf("media: %w", errors.Join(trouble, fmt.Errorf("wrapped: %w", asked))), retry, 2 * time.Minute, 150 * time.Second},
		{"joined in joined", errors.Join(store.ErrDeleted, errors.Join(NotYet("waits"), errors.Join(away))), retry, retryFirst * 3 / 4, first},
		{"two with %w", fmt.Errorf("%w, %w", store.ErrDeleted, later(time.Hour)), retry, time.Hour, time.Hour},
	} {
		got, delay := decide(c.err, 1)
		if got != c.want || delay < c.min || delay > c.max {
			t.Errorf("%s: verb %d after %v, want %d after %v to %v", c.name, got, delay, c.want, c.min, c.max)
		}
	}
}

func TestRetryDelay(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		for range 20 {
			d := RetryDelay(attempt, errors.New("away"))
			ideal := min(retryFirst<<min(attempt-1, 20), retryMost)
			if d < ideal*3/4 || d > ideal*5/4 {
				t.Fatalf("attempt %d: delay %v, want %v within a quarter", attempt, d, ideal)
			}
			verb, turn := decide(NotYet("another waits"), attempt)
			ideal = min(turnFirst<<min(attempt-1, 20), turnMost)
			if verb != wait || turn < ideal*3/4 || turn > ideal*5/4 {
				t.Fatalf("attempt %d: verb %d, turn after %v, want %v within a quarter", attempt, verb, turn, ideal)
			}
		}
	}
	for _, asked := range []error{
		&fetch.Error{Reason: fetch.BadStatus, Status: 429, RetryAfter: 2 * time.Minute},
		&upstream.Error{Status: 429, RetryAfter: 2 * time.Minute},
	} {
		if d := RetryDelay(1, asked); d < 2*time.Minute || d > 150*time.Second {
			t.Errorf("delay %v where %v asked for 2m", d, asked)
		}
	}
}
