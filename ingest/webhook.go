package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/signature"
	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	// maxWebhook bounds the body of a webhook. Twilio's text is at most 1,600
	// characters and ten media URLs follow; 256 KiB leaves room for add-ons.
	maxWebhook = 256 << 10

	// publishTimeout is how long a webhook waits for the queue. Twilio gives up
	// after 15 s in all (error 11205), so that five retries after 503 still fit.
	publishTimeout = 2 * time.Second

	// maxMedia bounds NumMedia. Twilio passes on ten media at most; webhooks
	// with more are not refused, only absurd ones are.
	maxMedia = 1000

	// emptyTwiML answers a webhook without sending anything to the sender.
	// Twilio reads text/xml as TwiML, but would text a text/plain body back.
	emptyTwiML = `<?xml version="1.0" encoding="UTF-8"?><Response/>`
)

// Accounts holds the auth tokens of each account that webhooks are accepted
// from: one, or two during a rotation.
type Accounts map[store.AccountSID][]string

// Receiver answers Twilio's webhooks: inbound messages and status callbacks,
// by POST or GET, at whatever path it is mounted.
//
// What is not signed by a token of its account is answered 403 and goes
// nowhere. What is answered 200 is a Job that the stream has acknowledged, and a
// second one where it is to be posted on; when
// that takes over two seconds or fails the answer is 503, which Twilio retries
// where the webhook URL ends in #rc=5&rp=all.
type Receiver struct {
	ReceiverOptions
	origin   string
	failures *rest.Failures
	patience time.Duration // for an application's answer
}

// ReceiverOptions are what a [Receiver] works with. All up to Log are required.
type ReceiverOptions struct {
	PublicURL *url.URL // origin under which Twilio reaches it, which is signed
	Accounts  Accounts
	Streams   *stream.Streams
	Log       zerolog.Logger

	// Forward is where each account's webhooks are posted on; nowhere if absent.
	// It needs Store.
	Forward map[store.AccountSID]*url.URL
	Store   *store.Store
	// Replies, if set, has inbound webhooks posted by the receiver itself.
	Replies *Replies

	// Full, if set, tells that nothing can be queued now.
	Full func() bool
}

// NewReceiver returns a Receiver.
func NewReceiver(o ReceiverOptions) *Receiver {
	origin := url.URL{Scheme: o.PublicURL.Scheme, Host: o.PublicURL.Host}
	return &Receiver{ReceiverOptions: o, origin: origin.String(), failures: rest.NewFailures(), patience: replyPatience}
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

// ServeHTTP implements http.Handler.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	job, forward, duplicate, err := rc.receive(w, r)
	line := rc.Log.Info()
	if err != nil {
		line = rc.Log.Warn().Err(err)
	}
	line = line.Str("kind", string(job.Kind)).Stringer("accountSid", job.Account).Stringer("messageSid", job.Message).
		Bool("duplicate", duplicate).Dur("ms", time.Since(start))

	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case isRefusal:
		line.Int("status", refused.status).Msg("webhook refused")
		http.Error(w, refused.reason, refused.status)
	case err != nil:
		line.Int("status", http.StatusServiceUnavailable).Msg("webhook not queued")
		http.Error(w, "the queue is not available; try again", http.StatusServiceUnavailable)
	default:
		line.Int("status", http.StatusOK).Msg("webhook queued")
		rc.answer(w, r, forward)
	}
}

// receive takes a webhook to an acknowledged Job, and to a second one if it is to
// be posted on. The Job is the zero value for what was refused, and forward for what
// is not posted on or was queued before.
func (rc *Receiver) receive(w http.ResponseWriter, r *http.Request) (job, forward stream.Job, duplicate bool, err error) {
	account, form, err := rc.admit(w, r)
	if err != nil {
		return job, forward, false, rc.slowDown(w, r, err)
	}
	hook, err := parseWebhook(form)
	if err != nil {
		return job, forward, false, &refusal{http.StatusBadRequest, err.Error()}
	}
	job, err = hook.job(r)
	if err != nil {
		return stream.Job{}, forward, false, err
	}
	if rc.Full != nil && rc.Full() {
		return job, forward, false, errFull
	}
	// A client that hangs up does not stop the publish: the message is here.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), publishTimeout)
	defer cancel()
	duplicate, err = rc.Streams.PublishJob(ctx, job)
	// Whoever posted a message to the API is told of it by the worker.
	if err != nil || rc.Forward[account] == nil || job.Message != hook.message {
		return job, forward, duplicate, err
	}
	forward = forwardJob(rc.Store, hook)
	again, err := rc.Streams.PublishJob(ctx, forward)
	if again {
		forward = stream.Job{}
	}
	return job, forward, duplicate, err
}

// job is what a webhook asks for. A status callback whose URL names the message here
// that it is about (that URL was given to the provider with the message, and all of
// it is signed) is about that one, whatever the provider calls it.
func (h webhook) job(r *http.Request) (stream.Job, error) {
	job := stream.Job{Kind: stream.Inbound, Account: h.account, Message: h.message, ID: h.jobID(), Data: []byte(h.form.Encode())}
	if h.status != "" {
		job.Kind = stream.Status
	}
	name := r.URL.Query().Get(messageParameter)
	if name == "" || r.Method != http.MethodPost {
		return job, nil
	}
	var err error
	if job.Message, err = store.ParseMessageSID(name); err != nil || job.Kind != stream.Status {
		return job, &refusal{http.StatusBadRequest, "the query names no message that a status is about"}
	}
	job.ID = fmt.Sprintf("st:%s:%s:%s", h.account, job.Message, h.status)
	return job, nil
}

// errFull says that nothing is queued now because there is no room on disk.
var errFull = errors.New("the disk of the queue is full")

// admit reads a webhook and checks its signature.
func (rc *Receiver) admit(w http.ResponseWriter, r *http.Request) (store.AccountSID, url.Values, error) {
	if len(r.Header.Values("X-Twilio-Signature")) != 1 {
		return store.AccountSID{}, nil, errForbidden // nothing of it is read
	}
	form, body, err := readForm(w, r)
	if err != nil {
		return store.AccountSID{}, nil, err
	}
	account, err := rc.authenticate(r, form, body)
	return account, form, err
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

// readForm returns the webhook's parameters and the raw body that carried them.
// Those of a GET are in its query, those of a POST only in its body: a query is
// signed as part of the URL, and is not mixed in.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, []byte, error) {
	if r.Method == http.MethodGet {
		form, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, nil, &refusal{http.StatusBadRequest, "the query is not a well-formed form"}
		}
		return form, nil, nil
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		return nil, nil, &refusal{http.StatusMethodNotAllowed, "webhooks are POST or GET"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, nil, &refusal{http.StatusRequestEntityTooLarge, "the body is over 256 KiB"}
	}
	if err != nil {
		return nil, nil, &refusal{http.StatusBadRequest, "the body could not be read"}
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, nil, &refusal{http.StatusBadRequest, "the body is not application/x-www-form-urlencoded"}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, &refusal{http.StatusBadRequest, "the body is not a well-formed form"}
	}
	return form, body, nil
}

// authenticate returns the account whose token signed the request. An account
// that is not known is answered like a wrong signature.
func (rc *Receiver) authenticate(r *http.Request, form url.Values, body []byte) (store.AccountSID, error) {
	accounts := form["AccountSid"]
	if len(accounts) != 1 {
		return store.AccountSID{}, errForbidden
	}
	account, err := store.ParseAccountSID(accounts[0])
	if err != nil {
		return store.AccountSID{}, errForbidden
	}
	_, ok := signature.Verify(rc.Accounts[account], signature.Request{
		Method:      r.Method,
		URL:         rc.origin + r.URL.RequestURI(),
		ContentType: r.Header.Get("Content-Type"),
		Signature:   r.Header.Get("X-Twilio-Signature"),
		Body:        body,
	})
	if !ok {
		return store.AccountSID{}, errForbidden
	}
	return account, nil
}

// webhook is what a Job's form says.
type webhook struct {
	account  store.AccountSID
	message  store.MessageSID
	from, to string
	body     string
	media    []mediaRef
	status   string // of a status callback, "" of an inbound message
	form     url.Values
}

// mediaRef is one MediaUrlN with the type that its sender claims.
type mediaRef struct {
	url         string
	contentType string
}

// parseWebhook reads the parameters of an inbound message or a status callback
// (https://www.twilio.com/docs/messaging/guides/webhook-request). Names that it
// does not know are kept in the form and mean nothing here.
func parseWebhook(form url.Values) (webhook, error) {
	for _, name := range []string{"AccountSid", "MessageSid", "MessageStatus"} {
		if len(form[name]) > 1 {
			return webhook{}, fmt.Errorf("parameter %s is repeated", name)
		}
	}
	h := webhook{from: form.Get("From"), to: form.Get("To"), body: form.Get("Body"), status: form.Get("MessageStatus"), form: form}
	var err error
	if h.account, err = store.ParseAccountSID(form.Get("AccountSid")); err != nil {
		return webhook{}, fmt.Errorf("AccountSid: %w", err)
	}
	if h.message, err = store.ParseMessageSID(form.Get("MessageSid")); err != nil {
		return webhook{}, fmt.Errorf("MessageSid: %w", err)
	}
	// Twilio's are words such as partially_delivered; others would become ids.
	if len(h.status) > 40 || strings.Trim(h.status, "abcdefghijklmnopqrstuvwxyz_-") != "" {
		return webhook{}, fmt.Errorf("MessageStatus: %.40q is not a status", h.status)
	}
	declared := 0
	if n := form.Get("NumMedia"); n != "" {
		if declared, err = strconv.Atoi(n); err != nil || declared < 0 || declared > maxMedia {
			return webhook{}, fmt.Errorf("NumMedia: %.40q is not a count up to %d", n, maxMedia)
		}
	}
	// More URLs than NumMedia says are taken too, and a URL that is missing
	// becomes a medium that fails, so that no attachment is lost in silence.
	for i := 0; i < declared || form.Has("MediaUrl"+strconv.Itoa(i)); i++ {
		n := strconv.Itoa(i)
		h.media = append(h.media, mediaRef{url: form.Get("MediaUrl" + n), contentType: form.Get("MediaContentType" + n)})
	}
	return h, nil
}

// fingerprint hashes what makes two webhooks of one MessageSid the same message:
// a retry or a fallback call may differ in all else.
func (h webhook) fingerprint() string {
	sum := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		sum.Write(n[:])
		sum.Write([]byte(s))
	}
	write(h.from)
	write(h.to)
	write(h.body)
	for _, m := range h.media {
		write(m.url)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// jobID is the message id under which the stream knows a repeat.
func (h webhook) jobID() string {
	if h.status != "" {
		return fmt.Sprintf("st:%s:%s:%s", h.account, h.message, h.status)
	}
	return fmt.Sprintf("in:%s:%s:%s", h.account, h.message, h.fingerprint())
}

// differences names what a record of the same MessageSid does not agree on.
func (h webhook) differences(first store.Message) []string {
	var names []string
	for _, c := range []struct{ name, mine, first string }{
		{"From", h.from, first.From}, {"To", h.to, first.To}, {"Body", h.body, first.Body},
	} {
		if c.mine != c.first {
			names = append(names, c.name)
		}
	}
	for i := range max(len(h.media), first.NumMedia) {
		name := "MediaUrl" + strconv.Itoa(i)
		if h.form.Get(name) != first.Form.Get(name) {
			names = append(names, name)
		}
	}
	return names
}
