// Package receive answers the provider's webhooks: inbound messages and status
// callbacks, by POST or GET, at whatever path it is mounted.
//
// # What an answer means
//
// 403: no token of the webhook's account has signed it, and it goes nowhere. 200: the
// stream has acknowledged its Job, and a second one where it is posted on to an
// application. 503: that failed or took over two seconds; Twilio tries again if the
// webhook's URL ends in #rc=5&rp=all.
package receive

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/forward"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// emptyTwiML answers a webhook without sending anything to the sender.
// Twilio reads text/xml as TwiML, but would text a text/plain body back.
const emptyTwiML = `<?xml version="1.0" encoding="UTF-8"?><Response/>`

// Options are what a [Receiver] works with. All up to Log are required.
type Options struct {
	PublicURL *url.URL // origin under which the provider reaches it, which is signed
	Accounts  ingest.Accounts
	Streams   *stream.Streams
	Store     *store.Store // of which nothing is read or written here
	Log       zerolog.Logger

	// Forward is where each account's webhooks are posted on; nowhere if absent.
	Forward map[store.AccountSID]*url.URL
	// Replier, if set, posts inbound webhooks as soon as they are queued.
	Replier *forward.Replier

	// Full, if set, tells that nothing can be queued now.
	Full func() bool
}

// Receiver is the handler of webhooks.
type Receiver struct {
	Options
	origin   string
	failures *rest.Failures
	refused  refused
}

// New returns a Receiver.
func New(o Options) *Receiver {
	origin := url.URL{Scheme: o.PublicURL.Scheme, Host: o.PublicURL.Host}
	return &Receiver{Options: o, origin: origin.String(), failures: rest.NewFailures()}
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// errForbidden answers every webhook whose signature does not match, whatever the
// cause.
var errForbidden = &refusal{http.StatusForbidden, "the signature does not match"}

// errSlow answers a webhook whose body did not come in time. Nobody knows whether it was
// signed.
var errSlow = &refusal{http.StatusRequestTimeout, "the body came too slowly"}

// errFull says that nothing is queued now because there is no room on disk.
var errFull = errors.New("the disk of the queue is full")

// queued is what was queued for a webhook.
type queued struct {
	job       stream.Job // zero if the webhook was refused
	forward   stream.Job // zero if it is not posted on, or was queued before
	duplicate bool
}

// ServeHTTP implements http.Handler.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	q, err := rc.receive(w, r)
	line := rc.Log.Info()
	if err != nil {
		line = rc.Log.Warn().Err(err)
	}
	line = line.Str("kind", string(q.job.Kind)).Stringer("accountSid", q.job.Account).Stringer("messageSid", q.job.Message).
		Bool("duplicate", q.duplicate).Dur("ms", time.Since(start))

	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case isRefusal:
		line.Discard()
		rc.logRefusal(r, err, refused.status)
		http.Error(w, refused.reason, refused.status)
	case err != nil:
		line.Int("status", http.StatusServiceUnavailable).Msg("webhook not queued")
		http.Error(w, "the queue is not available; try again", http.StatusServiceUnavailable)
	case rc.Replier != nil && q.forward.Reply():
		line.Int("status", http.StatusOK).Msg("webhook queued")
		rc.Replier.Reply(rc.Log.WithContext(r.Context()), q.forward, func(a forward.Answer) { writeAnswer(w, a) })
	default:
		line.Int("status", http.StatusOK).Msg("webhook queued")
		writeAnswer(w, forward.Answer{})
	}
}

// writeAnswer writes an application's TwiML, or none, and sends it at once.
func writeAnswer(w http.ResponseWriter, a forward.Answer) {
	if a.TwiML == nil {
		a.TwiML, a.ContentType = []byte(emptyTwiML), "text/xml"
	}
	w.Header().Set("Content-Type", a.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.TwiML)))
	_, _ = w.Write(a.TwiML)
	_ = http.NewResponseController(w).Flush() // whoever has gone needs no answer
}

// receive takes a webhook to an acknowledged Job, and to a second one if it is posted
// on.
func (rc *Receiver) receive(w http.ResponseWriter, r *http.Request) (q queued, err error) {
	// 1. Who sent it? Nothing else is looked at before that is known.
	account, form, err := rc.admit(w, r)
	if err == errSlow { //nolint:errorlint // it is never wrapped
		w.Header().Set("Connection", "close")
		return q, err
	}
	if err != nil {
		return q, rc.slowDown(w, r, err)
	}
	// 2. What does it say?
	hook, err := webhook.Parse(form)
	if err != nil {
		return q, &refusal{http.StatusBadRequest, err.Error()}
	}
	about := hook.Message
	if r.Method == http.MethodPost { // the query of a GET is its form
		if about, err = hook.Subject(rc.Store, r.URL.Query()); err != nil {
			return q, &refusal{http.StatusBadRequest, err.Error()}
		}
	}
	if q.job = hook.Job(rc.Store); about != hook.Message {
		q.job = hook.StatusJob(about)
	}
	if rc.Full != nil && rc.Full() {
		return q, errFull
	}
	// 3. Queue it. A client that hangs up does not stop that: the message is here.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), forward.QueueTimeout)
	defer cancel()
	q.duplicate, err = rc.Streams.PublishJob(ctx, q.job)
	// 4. Queue it for the application, too. Whoever posted a message to the API is
	// told of it by the worker.
	if err != nil || rc.Forward[account] == nil || about != hook.Message {
		return q, err
	}
	job := forward.Job(rc.Store, hook, rc.Replier != nil)
	again, err := rc.Streams.PublishJob(ctx, job)
	if !again {
		q.forward = job
	}
	return q, err
}

// slowDown answers what was not signed the later the more of it comes from one
// address, and in the end with 429. What is signed never gets here.
func (rc *Receiver) slowDown(w http.ResponseWriter, r *http.Request, refused error) error {
	if rc.failures.Delay(r) == nil {
		return refused
	}
	w.Header().Set("Connection", "close")
	return &refusal{http.StatusTooManyRequests, "too many requests without a signature"}
}
