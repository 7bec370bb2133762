package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// A message is handed to the provider so that it leaves at most once. An intent in its
// record comes before the call. It is taken back where the call certainly did not
// arrive, and replaced by the provider's SID where it was answered. Whoever finds an
// intent that another try has left does not know: it never posts again, but looks for
// the message at the provider.

const (
	// settleTime is how long an intent is left alone before the provider is asked
	// what became of it. A status callback that names the message tells it exactly.
	// All other messages have their answers by then that were posted while the
	// provider's date of one is near enough to be this one's: a call and twice the
	// clocks' difference after the intent, and their own call.
	settleTime = 2*upstream.SendTimeout + 2*clockSkew

	// clockSkew is how far the provider's clock may be from this one's.
	clockSkew = 10 * time.Second

	// noteTimeout bounds the noting of what became of a call, which is done even when
	// the worker stops.
	noteTimeout = 10 * time.Second

	// RetryFragment asks Twilio to retry a webhook that was answered 503 or not at
	// all, up to five times within its 15 s (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
	// Only the fragment of the URL that Twilio is given can say so; it never sends it.
	RetryFragment = "#rc=5&rp=all"

	// messageParameter names, in the query of the webhook's URL, the message here
	// that a status callback is about.
	messageParameter = "message"
)

// codeUnknown is the error code of a message of which nobody knows whether it left
// (30008: unknown error, https://www.twilio.com/docs/api/errors/30008).
const codeUnknown = 30008

// errClaimed says that a message of the provider's was taken for another one here,
// which was like it and whose outcome was unknown.
var errClaimed = errors.New("the provider's message belongs to another one")

// errSettling says that it is too early to ask what became of a message.
var errSettling = errors.New("waiting to learn whether the provider has the message")

// send hands a message that is ready to the provider. What ends it is an
// *[unsendable].
func (w *Worker) send(ctx context.Context, d *stream.Delivery, message store.Message) error {
	switch {
	case message.Outgoing.Upstream != (store.MessageSID{}):
		return nil
	case !message.Outgoing.Intent.IsZero():
		return w.resolve(ctx, d, message)
	case !time.Now().Before(validUntil(d, message)):
		return &unsendable{code: codeExpired, failure: store.Failure{Reason: reasonExpired, Detail: "the validity period ended before the message was sent"}}
	}
	form, err := w.upstreamForm(ctx, d, message)
	if err != nil {
		return err
	}
	if err := w.API.Turn(ctx); err != nil { // first, so that an intent is young when the call begins
		return err
	}
	if message, err = w.intend(ctx, message); err != nil {
		return err
	}
	sent, err := w.API.Create(ctx, message.Account, form)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err == nil {
		return w.left(ctx, message, sent.SID, sent.Status)
	}
	return w.unanswered(ctx, d, message, err)
}

// validUntil is when a message's validity period ends, counted from when it was posted
// here, or from when somebody wanted it sent again.
func validUntil(d *stream.Delivery, message store.Message) time.Time {
	if d.Kind == stream.Replay {
		return d.Queued.Add(validityOf(message))
	}
	return message.DateCreated.Add(validityOf(message))
}

// upstreamForm is what the provider is posted: all that the client posted, but for the
// media, which are those stored here, and the status callbacks, which come here.
func (w *Worker) upstreamForm(ctx context.Context, d *stream.Delivery, message store.Message) (url.Values, error) {
	form := url.Values{}
	for name, values := range message.Form {
		form[name] = slices.Clone(values)
	}
	form.Del("AccountSid") // it is in the path
	links, err := w.mediaLinks(ctx, message)
	if err != nil {
		return nil, err
	}
	if delete(form, "MediaUrl"); len(links) > 0 {
		form["MediaUrl"] = links
	}
	callback := w.PublicURL.JoinPath("webhooks/twilio")
	callback.RawQuery = url.Values{messageParameter: {message.SID.String()}}.Encode()
	form.Set("StatusCallback", callback.String()+RetryFragment)
	if form.Get("ValidityPeriod") != "" {
		left := max(time.Until(validUntil(d, message)), time.Second)
		form.Set("ValidityPeriod", strconv.Itoa(int(left.Seconds())))
	}
	return form, nil
}

// intend notes that the provider is about to get a message. Another worker's intent is
// errSettling: of two at the same Job only one posts it.
func (w *Worker) intend(ctx context.Context, message store.Message) (store.Message, error) {
	now := time.Now().UTC()
	return w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		switch {
		case !m.Deleted.IsZero():
			return errDeleted
		case m.Final() || m.Outgoing.Upstream != (store.MessageSID{}):
			return errOvertaken
		case !m.Outgoing.Intent.IsZero():
			return &delayed{settleTime, errSettling}
		}
		m.Outgoing.Intent = now
		return nil
	})
}

// unanswered deals with a call that did not bring the provider's SID.
func (w *Worker) unanswered(ctx context.Context, d *stream.Delivery, message store.Message, why error) error {
	trouble, posted := errors.AsType[*upstream.Error](why)
	if posted && trouble.Outcome() == upstream.Unknown {
		zerolog.Ctx(ctx).Warn().Err(why).Msg("nobody knows whether the provider has the message; it is not sent again")
		return &delayed{w.settle, why}
	}
	_, err := w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if m.Outgoing == nil || !m.Outgoing.Intent.Equal(message.Outgoing.Intent) {
			return errUnchanged
		}
		m.Outgoing.Intent = time.Time{}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	if posted && trouble.Outcome() == upstream.Refused {
		return &unsendable{code: trouble.Code, text: trouble.Text, failure: store.Failure{
			Reason: reasonUpstream, Status: trouble.Status, Detail: fmt.Sprintf("the provider refuses the message with code %d", trouble.Code),
		}}
	}
	if posted { // it is tried again as long as the message is valid, whatever the Job's age
		return &delayed{backoff(d.Attempt, trouble), why}
	}
	return why
}

// left notes the provider's SID of a message, and announces that it left.
func (w *Worker) left(ctx context.Context, message store.Message, sid store.MessageSID, status string) error {
	owner, err := w.Store.Claim(ctx, message.Account, sid, message.SID)
	if err != nil {
		return err
	}
	if owner != message.SID {
		return fmt.Errorf("%w: %s is of %s", errClaimed, sid, owner)
	}
	_, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		defer func() { message = *m }()
		switch {
		case m.Outgoing == nil: // deleted meanwhile
			return errDeleted
		case m.Outgoing.Upstream != (store.MessageSID{}): // by a callback, or by whoever was faster
			return errUnchanged
		}
		m.Outgoing.Upstream, m.Outgoing.Intent = sid, time.Time{}
		m.DateUpdated = time.Now().UTC()
		if isUnknown(*m) { // it is known now
			takeBack(m)
		}
		if next := *m; next.Advance(status) && !next.Final() { // an end is told by its callback
			m.Status = next.Status
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	return w.announceSent(ctx, message)
}

// announceSent publishes the sent event of a message that has none, and notes it in
// the record.
func (w *Worker) announceSent(ctx context.Context, message store.Message) error {
	if message.Outgoing == nil || message.Outgoing.Sent != 0 {
		return nil
	}
	sequence, err := w.Streams.Publish(ctx, sentEvent(message, w.Store.HashNumber))
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Stringer("upstreamSid", message.Outgoing.Upstream).Msg("sent")
	message, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if m.Outgoing == nil {
			m.Events = append(m.Events, sequence)
			return nil
		}
		m.Outgoing.Sent = sequence
		return nil
	})
	if err != nil {
		return err
	}
	return w.withdraw(ctx, message, sequence)
}

// resolve finds out at the provider what became of a message that some try meant to
// post. It never posts. Exactly one message there that is none of ours must be this
// one; otherwise nobody can tell, and people are to decide.
func (w *Worker) resolve(ctx context.Context, d *stream.Delivery, message store.Message) error {
	age := time.Since(message.Outgoing.Intent)
	if age < w.settle {
		return &delayed{w.settle - age, errSettling}
	}
	found, err := w.candidates(ctx, message)
	switch {
	case err != nil && age < w.GiveUp:
		return &delayed{backoff(d.Attempt, err), err}
	case len(found) == 1:
		zerolog.Ctx(ctx).Warn().Stringer("upstreamSid", found[0].SID).Msg("the provider has the message")
		return w.left(ctx, message, found[0].SID, found[0].Status)
	case err == nil && len(found) == 0 && age < 2*w.settle: // it may not be listed yet
		return &delayed{2*w.settle - age, errSettling}
	}
	return &unsendable{code: codeUnknown, failure: store.Failure{
		Reason: reasonUnknown,
		Detail: fmt.Sprintf("it was posted at %s without an answer, and the provider lists %d messages that may be it", message.Outgoing.Intent.Format(time.RFC3339), len(found)),
	}}
}

// candidates are the provider's messages that may be one that was posted from here
// and not answered: to the same number with the same text and as many media, made
// between the intent and the end of the call, and not known to be another one. If one
// is known to be this one, there are no others.
func (w *Worker) candidates(ctx context.Context, message store.Message) ([]upstream.Message, error) {
	since := message.Outgoing.Intent.Add(-clockSkew)
	until := message.Outgoing.Intent.Add(upstream.SendTimeout + clockSkew)
	var found []upstream.Message
	for page, err := range w.API.MessagesOf(ctx, message.Account, upstream.Parties{From: message.From, To: message.To}, since, time.Time{}) {
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			same := m.Body == message.Body && m.NumMedia == message.NumMedia && m.Direction != string(store.Inbound)
			if !same || m.Date.Before(since.Truncate(time.Second)) || m.Created.After(until) {
				continue
			}
			owner, err := w.Store.Claimed(ctx, message.Account, m.SID)
			switch {
			case errors.Is(err, store.ErrNotFound):
				found = append(found, m)
			case err != nil:
				return nil, err
			case owner == message.SID:
				return []upstream.Message{m}, nil
			}
		}
	}
	return found, nil
}

// isUnknown tells a message that was given up because nobody knew whether it left.
func isUnknown(m store.Message) bool {
	return m.Outgoing != nil && m.Outgoing.Failure != nil && m.Outgoing.Failure.Reason == reasonUnknown
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
func (w *Worker) sendAgain(ctx context.Context, d *stream.Delivery, message store.Message) (store.Message, error) {
	again, err := w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		switch {
		case m.Outgoing == nil, m.Outgoing.Failure == nil, m.Outgoing.Failure.Job == d.Sequence, m.Outgoing.Ready == 0, m.Outgoing.Upstream != (store.MessageSID{}):
			return errUnchanged
		}
		takeBack(m)
		m.Outgoing.Intent = time.Time{}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return message, nil
	}
	return again, err
}
