package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/stream"
)

const (
	// Propagation is how long after its webhook a medium may still be 404:
	// Twilio answers so for the first seconds (help article 44750147594523);
	// the rest is allowance for a slow day.
	Propagation = 15 * time.Minute

	// retryFirst and retryMost bound the delay before a Job is delivered again. The
	// first one is in the order of Twilio's propagation delay.
	retryFirst = time.Second
	retryMost  = 10 * time.Minute

	// turnFirst and turnMost do that for a Job whose turn has not come. A Job waits
	// at most about as long again as it had to, and thousands behind an application
	// that is down for hours do not keep the workers from other Jobs.
	turnFirst = 50 * time.Millisecond
	turnMost  = time.Minute
)

// verb is what becomes of a Job after a try, the strongest last.
type verb int

const (
	done     verb = iota // Ack
	wait                 // Nak, without a word in the log: the Job's turn has not come
	retry                // Nak with a delay
	handBack             // Nak: this worker is stopping
	reject               // recorded as a failure, then Ack
)

// decide turns what a handler returned into a verb and the delay of a Nak. Of joined
// errors the strongest verb counts, and the longest delay.
func decide(err error, attempt int) (verb, time.Duration) {
	switch e := err.(type) { //nolint:errorlint // each layer is looked at by itself: errors.As would find only one of joined errors
	case nil:
		return done, 0
	case interface{ Unwrap() []error }:
		strongest, longest := done, time.Duration(0)
		for _, one := range e.Unwrap() {
			v, delay := decide(one, attempt)
			strongest, longest = max(strongest, v), max(longest, delay)
		}
		return strongest, longest
	case *Later:
		if e.turn {
			return wait, cmp.Or(e.Delay, backoff(turnFirst, turnMost, attempt))
		}
		return retry, e.Delay
	case *fetch.Error, *upstream.Error:
		return retry, RetryDelay(attempt, err)
	}
	switch err {
	case stream.ErrUnreadable: //nolint:errorlint // as above
		return reject, 0
	case errStopping:
		return handBack, 0
	case store.ErrDeleted:
		return done, 0
	}
	if cause := errors.Unwrap(err); cause != nil {
		return decide(cause, attempt)
	}
	return retry, RetryDelay(attempt, err)
}

// errStopping is the cause of a Job's context when the worker stops and the
// time to finish the Job in hand is over.
var errStopping = errors.New("the worker is stopping")

// Later is an error with a delay of its own before the Job's next delivery.
type Later struct {
	Delay time.Duration
	Err   error

	turn bool
}

// Error is that of the cause.
func (e *Later) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Later) Unwrap() error { return e.Err }

// NotYet says that a Job waits for something that is no trouble, and why. It is looked
// at again soon, and less often the longer it waits.
func NotYet(why string) error {
	return &Later{Err: fmt.Errorf("not its turn yet: %s", why), turn: true}
}

// NotBefore says that a Job waits for a time, and why. It is not looked at again before
// then.
func NotBefore(at time.Time, why string) error {
	return &Later{Delay: max(time.Until(at), time.Millisecond), Err: fmt.Errorf("not before %s: %s", at.Format(time.RFC3339), why), turn: true}
}

// RetryDelay is the delay before the delivery that follows a Job's attempt-th: twice as
// long each time, a quarter more or less by chance, and never less than what a host has
// asked for in err.
func RetryDelay(attempt int, err error) time.Duration {
	asked := retryAfter(err)
	return max(backoff(retryFirst, retryMost, attempt), asked+time.Duration(float64(asked)*rand.Float64()/4))
}

// backoff doubles a delay with each attempt up to the most, and adds or takes up to a
// quarter by chance.
func backoff(first, most time.Duration, attempt int) time.Duration {
	delay := min(first<<min(attempt-1, 12), most)
	return time.Duration(float64(delay) * (0.75 + rand.Float64()/2))
}

// retryAfter is how long a host asked to be left alone.
func retryAfter(err error) time.Duration {
	if trouble, ok := errors.AsType[*fetch.Error](err); ok {
		return trouble.RetryAfter
	}
	if refusal, ok := errors.AsType[*upstream.Error](err); ok {
		return refusal.RetryAfter
	}
	return 0
}

// Permanent tells whether err is trouble with somebody else's host or with the
// provider's API that another try cannot mend, at the age that the Job has. It is false
// for trouble of this house, which a Job outlasts, and once ctx has ended.
func Permanent(ctx context.Context, err error, age, giveUp time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if trouble, ok := errors.AsType[*fetch.Error](err); ok {
		return age >= giveUp || PermanentFetch(trouble, age)
	}
	if refusal, ok := errors.AsType[*upstream.Error](err); ok {
		return age >= giveUp || !refusal.Temporary()
	}
	return false
}

// PermanentFetch is [Permanent] for a download that is not given up for its age alone.
func PermanentFetch(trouble *fetch.Error, age time.Duration) bool {
	switch trouble.Reason {
	case fetch.UnsupportedScheme, fetch.ForbiddenAddress, fetch.TooLarge, fetch.TooManyRedirects, fetch.Encoded:
		return true
	case fetch.BadStatus:
		return permanentStatus(trouble, age)
	}
	return false
}

func permanentStatus(trouble *fetch.Error, age time.Duration) bool {
	switch trouble.Status {
	case http.StatusNotFound:
		return age >= Propagation
	case http.StatusUnauthorized:
		// To credentials, an answer that an operator can mend while the
		// Job waits. A host that got none will not change its mind.
		return !trouble.Authenticated && !trouble.Redirected
	case http.StatusForbidden:
		// A redirect's target refuses links that have expired. The next try
		// begins at the first URL and gets a new one.
		return !trouble.Redirected
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return trouble.Status < 500
}
