// Package webhook reads what the provider's webhooks say: inbound messages and status
// callbacks (https://www.twilio.com/docs/messaging/guides/webhook-request).
//
// # More than ten media
//
// Twilio passes on ten media at most. Those after the tenth that have a URL are taken
// like the first ten: they are fetched and stored. Those that are only counted, in
// NumMedia, are one failure together, however many they are.
//
// Parameters that it does not know are kept in the form and mean nothing here.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// maxMedia bounds NumMedia. Twilio passes on ten media at most; webhooks with more are
// not refused, only absurd ones are.
const maxMedia = 1000

// In the query of the URL that a status callback comes to: the message here that it is
// about, and the proof that the URL was made here.
const (
	messageParameter = "message"
	keyParameter     = "key"
)

// Path is where webhooks come in, below the public origin.
const Path = "webhooks/twilio"

// RetryFragment asks Twilio to retry a webhook that was answered 503 or not at all, up
// to five times within its 15 s (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
// Only the fragment of the URL that Twilio is given can say so; Twilio never sends it.
const RetryFragment = "#rc=5&rp=all"

// CallbackURL is where the provider's status callbacks about a message come to, which it
// has under another SID.
func CallbackURL(origin *url.URL, s *store.Store, account store.AccountSID, message store.MessageSID) string {
	callback := origin.JoinPath(Path)
	callback.RawQuery = url.Values{messageParameter: {message.String()}, keyParameter: {s.CallbackKey(account, message)}}.Encode()
	return callback.String() + RetryFragment
}

// Webhook is what a form says.
type Webhook struct {
	Account  store.AccountSID
	Message  store.MessageSID
	From, To string
	Body     string
	Status   string // of a status callback; empty of an inbound message
	NumMedia int
	Form     url.Values // all of it
}

// Parse reads a form. An error names the parameter that is wrong.
func Parse(form url.Values) (Webhook, error) {
	for _, name := range []string{"AccountSid", "MessageSid", "MessageStatus"} {
		if len(form[name]) > 1 {
			return Webhook{}, fmt.Errorf("parameter %s is repeated", name)
		}
	}
	h := Webhook{From: form.Get("From"), To: form.Get("To"), Body: form.Get("Body"), Status: form.Get("MessageStatus"), Form: form}
	var err error
	if h.Account, err = store.ParseAccountSID(form.Get("AccountSid")); err != nil {
		return Webhook{}, fmt.Errorf("AccountSid: %w", err)
	}
	if h.Message, err = store.ParseMessageSID(form.Get("MessageSid")); err != nil {
		return Webhook{}, fmt.Errorf("MessageSid: %w", err)
	}
	// Twilio's are words such as partially_delivered; others would become ids.
	if len(h.Status) > 40 || strings.Trim(h.Status, "abcdefghijklmnopqrstuvwxyz_-") != "" {
		return Webhook{}, fmt.Errorf("MessageStatus: %.40q is not a status", h.Status)
	}
	if n := form.Get("NumMedia"); n != "" {
		if h.NumMedia, err = strconv.Atoi(n); err != nil || h.NumMedia < 0 || h.NumMedia > maxMedia {
			return Webhook{}, fmt.Errorf("NumMedia: %.40q is not a count up to %d", n, maxMedia)
		}
	}
	// More URLs than NumMedia says are taken too, and URLs that are missing become a
	// failure, so that no attachment is lost in silence.
	for form.Has("MediaUrl" + strconv.Itoa(h.NumMedia)) {
		h.NumMedia++
	}
	return h, nil
}

// ParseJob reads the webhook out of its Job. The receiver has parsed it before, so an
// error means that somebody else queued it; it wraps [stream.ErrUnreadable].
func ParseJob(job stream.Job) (Webhook, error) {
	form, err := job.Form()
	if err != nil {
		return Webhook{}, err
	}
	h, err := Parse(form)
	if err != nil {
		return Webhook{}, job.Unreadable(err)
	}
	return h, nil
}

// Subject is the message here that the webhook is about. That of a status callback may be
// named by the URL that it came to, see [CallbackURL], of which query is the query. Any
// other webhook is about the message that the provider names.
//
// A URL without a key names nothing: whoever posts messages here may have given it to
// be called back at. A wrong key is an error.
func (h Webhook) Subject(s *store.Store, query url.Values) (store.MessageSID, error) {
	if !query.Has(keyParameter) {
		return h.Message, nil
	}
	about, err := store.ParseMessageSID(query.Get(messageParameter))
	if err != nil || h.Status == "" || !hmac.Equal([]byte(query.Get(keyParameter)), []byte(s.CallbackKey(h.Account, about))) {
		return h.Message, errors.New("the query names no message that a status is about")
	}
	return about, nil
}

// Fingerprint hashes what makes two webhooks of one MessageSid the same message: a
// retry or a fallback call may differ in all else.
func (h Webhook) Fingerprint() string {
	sum := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		sum.Write(n[:])
		sum.Write([]byte(s))
	}
	write(h.From)
	write(h.To)
	write(h.Body)
	for i := range h.NumMedia {
		write(h.Form.Get("MediaUrl" + strconv.Itoa(i)))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Record is the record of the inbound message that came at a time, before any of its
// media is worked on.
func (h Webhook) Record(at time.Time) store.Message {
	return store.Message{
		Account: h.Account, SID: h.Message, Direction: store.Inbound, Status: "received",
		From: h.From, To: h.To, Body: h.Body, NumMedia: h.NumMedia,
		Form: h.Form, Fingerprint: h.Fingerprint(), DateCreated: at, DateUpdated: at,
	}
}

// Job is what the webhook asks for, about its own message. The store makes of the number
// of an inbound message's sender what orders the messages of that sender.
func (h Webhook) Job(s *store.Store) stream.Job {
	if h.Status != "" {
		return h.StatusJob(h.Message)
	}
	return stream.NewInbound(h.Account, h.Message, h.Fingerprint(), s.HashNumber(h.From), h.Form)
}

// StatusJob is what a status callback asks for that is about a message here, whatever
// the provider calls it.
func (h Webhook) StatusJob(about store.MessageSID) stream.Job {
	return stream.NewStatus(h.Account, about, h.Status, h.Form)
}

// Name is the name of the webhook in [store.Message.Forwards]: received, or its status.
func (h Webhook) Name() string {
	if h.Status == "" {
		return "received"
	}
	return h.Status
}

// Differences names the parameters in which the webhook and the record of the same
// message do not agree.
func (h Webhook) Differences(first store.Message) []string {
	var names []string
	for _, c := range []struct{ name, mine, first string }{
		{"From", h.From, first.From}, {"To", h.To, first.To}, {"Body", h.Body, first.Body},
	} {
		if c.mine != c.first {
			names = append(names, c.name)
		}
	}
	for i := range max(h.NumMedia, first.NumMedia) {
		name := "MediaUrl" + strconv.Itoa(i)
		if h.Form.Get(name) != first.Form.Get(name) {
			names = append(names, name)
		}
	}
	return names
}
