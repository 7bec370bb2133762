package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/upstream"
	"mmspipe/store/stream"
)

const (
	// propagation is how long after its webhook a medium may still be 404:
	// Twilio answers so for the first seconds (help article 44750147594523);
	// the rest is allowance for a slow day.
	propagation = 15 * time.Minute

	// backoffFirst and backoffMost bound the delay before a Job is delivered
	// again. The first one is in the order of Twilio's propagation delay.
	backoffFirst = time.Second
	backoffMost  = 10 * time.Minute
)

// verb is what is done with a Job, or with one medium of it, after a try.
type verb int

const (
	done     verb = iota // Ack
	failed               // recorded as a failure, then Ack
	retry                // NakWithDelay
	handBack             // Nak: this worker is stopping
)

// verdict turns what a try ended with into a verb. age is the time since the Job
// was queued.
//
// Only trouble with a medium's host or with the provider's API is ever given up.
// All else, such as a bucket that is away, is trouble of this house, which a Job
// outlasts.
func verdict(err error, age, giveUp time.Duration) verb {
	trouble, ofHost := errors.AsType[*fetch.Error](err)
	refusal, ofAPI := errors.AsType[*upstream.Error](err)
	_, hasDelay := errors.AsType[*delayed](err)
	switch {
	case err == nil, errors.Is(err, errDeleted):
		return done
	case errors.Is(err, errStopping):
		return handBack
	case hasDelay:
		return retry
	case !ofHost && !ofAPI:
		return retry
	case age >= giveUp || ofHost && permanent(trouble, age) || ofAPI && !refusal.Temporary():
		return failed
	}
	return retry
}

// permanent tells whether trying again can not help.
func permanent(trouble *fetch.Error, age time.Duration) bool {
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
		return age >= propagation
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

// backoff is the delay before a Job's next delivery after its attempt-th: twice
// as long each time, with jitter of a quarter either way, and never less than
// what a host has asked for. An error may have a delay of its own.
func backoff(attempt int, err error) time.Duration {
	if own, ok := errors.AsType[*delayed](err); ok {
		return own.after
	}
	delay := min(backoffFirst<<min(attempt-1, 10), backoffMost)
	delay = time.Duration(float64(delay) * (0.75 + rand.Float64()/2))
	asked := retryAfter(err)
	return max(delay, asked+time.Duration(float64(asked)*rand.Float64()/4))
}

// retryAfter is the longest time that any host asked for among the errors of a
// Job's media.
func retryAfter(err error) time.Duration {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var longest time.Duration
		for _, e := range joined.Unwrap() {
			longest = max(longest, retryAfter(e))
		}
		return longest
	}
	if trouble, ok := errors.AsType[*fetch.Error](err); ok {
		return trouble.RetryAfter
	}
	if refusal, ok := errors.AsType[*upstream.Error](err); ok {
		return refusal.RetryAfter
	}
	return 0
}

// errStopping is the cause of a Job's context when the worker stops and the
// time to finish the Job in hand is over.
var errStopping = errors.New("the worker is stopping")

// errDeleted says that a message was deleted: nothing is to be done about it any
// more.
var errDeleted = errors.New("the message was deleted")

// outcome is what came of a try, of a medium or of a whole Job.
type outcome struct {
	verb verb
	err  error // of retry and handBack: what to try again for
}

// judge is [verdict] on a try of d within ctx. It tells a context that ended
// because the worker stops from one whose time was over.
func (w *Worker) judge(ctx context.Context, d *stream.Delivery, err error) outcome {
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		err = errStopping
	}
	return outcome{verdict(err, time.Since(d.Queued), w.GiveUp), err}
}

// worst is the outcome of a Job from those of its media: handed back if any is,
// else tried again if any is to be.
func worst(media []outcome) outcome {
	var job outcome
	var failures []error
	for _, m := range media {
		job.verb = max(job.verb, m.verb)
		failures = append(failures, m.err)
	}
	job.err = errors.Join(failures...)
	return job
}
