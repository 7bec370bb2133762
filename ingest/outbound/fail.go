package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Twilio's codes of what keeps a message from leaving
// (https://www.twilio.com/docs/api/errors).
const (
	codeUnreachable = 11200 // the URL of a medium cannot be asked for
	codeTooLarge    = 11751 // the media are more than Twilio takes
	codeType        = 12300 // Twilio does not take a medium of that type
	codeUnknown     = 30008 // nobody knows whether the message left
	codeCarrier     = 30019 // the media are more than the carrier takes
	codeExpired     = 30036 // the message's validity period is over
	codeDownload    = 63019 // a medium could not be downloaded, or is empty
)

// errorTexts are the messages that go with the codes, in our words.
var errorTexts = map[int]string{
	codeUnreachable: "The URL of a medium cannot be retrieved",
	codeTooLarge:    "The media exceed the size that a message may have",
	codeType:        "A medium is of a type that is not accepted",
	codeUnknown:     "It is not known whether the message was sent",
	codeCarrier:     "The media exceed the size that the carrier accepts",
	codeExpired:     "The validity period of the message has ended",
	codeDownload:    "A medium could not be downloaded",
}

// unsendable says why a message cannot leave, now or later.
type unsendable struct {
	code    int    // Twilio's
	text    string // that goes with it, for the client alone; one of ours if empty
	failure store.Failure
}

// unsendableFor is an *unsendable without more than a reason and words for people.
func unsendableFor(code int, reason, detail string, args ...any) error {
	return &unsendable{code: code, failure: store.Failure{Reason: reason, Detail: fmt.Sprintf(detail, args...)}}
}

// Error says what is wrong with which medium.
func (u *unsendable) Error() string { return u.failure.Reason + ": " + u.failure.Detail }

// errOvertaken ends a try whose message another worker has taken further meanwhile.
var errOvertaken = errors.New("another worker has taken the message further")

// fail records that an outgoing message was given up by a Job, announces it, and has its
// client told. A failure that this Job has recorded before stays as it is. A message that
// has come to another end is left alone. One that was deleted is [store.ErrDeleted].
func (h *Handler) fail(ctx context.Context, d *stream.Delivery, m store.Message, why *unsendable) error {
	failure := why.failure
	failure.Attempts, failure.Job, failure.Date = cmp.Or(failure.Attempts, d.Attempt), d.Sequence, time.Now().UTC()
	ready := m.Outgoing.Ready
	m, err := h.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		switch {
		case !m.Deleted.IsZero():
			return store.ErrDeleted
		case m.Outgoing.Failure != nil && m.Outgoing.Failure.Job == d.Sequence:
			return store.ErrUnchanged
		case m.Final() || m.Outgoing.Ready != ready || !m.Outgoing.Upstream.IsZero():
			return errOvertaken
		}
		if earlier := m.Outgoing.Failure; earlier != nil && earlier.Announced != 0 {
			m.Events = append(m.Events, earlier.Announced)
		}
		m.Outgoing.Failure = &failure
		m.ErrorCode, m.ErrorMessage = why.code, cmp.Or(why.text, errorTexts[why.code], failure.Detail)
		return nil
	})
	if err != nil {
		return err
	}
	if m.Outgoing.Failure.Is(failure) {
		zerolog.Ctx(ctx).Error().Int("code", why.code).Str("reason", failure.Reason).Str("detail", failure.Detail).Msg("outgoing message failed")
	}
	return h.tellFailure(ctx, m)
}

// tellFailure makes sure of all that follows from the recorded failure of a message:
// nothing is left of media that it does not have, the failed event is in the feed, and
// its status is failed.
func (h *Handler) tellFailure(ctx context.Context, m store.Message) error {
	if m.Outgoing.Ready == 0 {
		if err := h.Removal.Unstored(ctx, h.Store.MediaOf(m), time.Now().UTC()); err != nil {
			return err
		}
	}
	m, err := h.Feed.Announce(ctx, m)
	if err != nil {
		return err
	}
	if m.Outgoing.Failure == nil {
		return errOvertaken
	}
	hook, err := webhook.Parse(statusForm(m, "failed", m.ErrorCode, m.ErrorMessage))
	if err != nil {
		return err
	}
	return h.Status.Record(ctx, m, hook, m.Outgoing.Failure.Date)
}

// statusForm is a status callback about an outgoing message, as Twilio words it
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status): with
// the message's own SID, and without code and text where the code is 0.
func statusForm(m store.Message, status string, code int, text string) url.Values {
	sid := m.SID.String()
	form := url.Values{
		"AccountSid": {m.Account.String()}, "ApiVersion": {"2010-04-01"},
		"MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {status}, "SmsStatus": {status},
		"From": {m.From}, "To": {m.To},
	}
	if service := m.Form.Get("MessagingServiceSid"); service != "" {
		form.Set("MessagingServiceSid", service)
	}
	if code != 0 {
		form.Set("ErrorCode", strconv.Itoa(code))
		form.Set("ErrorMessage", text)
	}
	return form
}

// takeBack takes the failure of an outgoing message back: it is on its way again. No
// status but that of such a failure ever moves backwards.
func takeBack(m *store.Message) {
	if announced := m.Outgoing.Failure.Announced; announced != 0 {
		m.Events = append(m.Events, announced)
	}
	m.Outgoing.Failure = nil
	m.Status, m.ErrorCode, m.ErrorMessage = "queued", 0, ""
}

// sendAgain takes back what keeps a message from being sent that was given up after it
// was ready. One that was given up before has no media any more, one that the
// provider has is not sent again, and one that this Job itself gave up was sent again.
func (h *Handler) sendAgain(ctx context.Context, d *stream.Delivery, m store.Message) (store.Message, error) {
	return h.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		switch {
		case !m.Deleted.IsZero():
			return store.ErrDeleted
		case m.Outgoing.Failure == nil, m.Outgoing.Failure.Job == d.Sequence, m.Outgoing.Ready == 0, !m.Outgoing.Upstream.IsZero():
			return store.ErrUnchanged
		}
		takeBack(m)
		m.Outgoing.Intent = time.Time{}
		return nil
	})
}
