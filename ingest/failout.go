package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

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
	codeCarrier     = 30019 // the media are more than the carrier takes
	codeExpired     = 30036 // the message's validity period is over
	codeDownload    = 63019 // a medium could not be downloaded, or is empty
)

// errorTexts are the messages that go with the codes, in our words.
var errorTexts = map[int]string{
	codeUnreachable: "The URL of a medium cannot be retrieved",
	codeTooLarge:    "The media exceed the size that a message may have",
	codeType:        "A medium is of a type that is not accepted",
	codeCarrier:     "The media exceed the size that the carrier accepts",
	codeExpired:     "The validity period of the message has ended",
	codeDownload:    "A medium could not be downloaded",
	codeUnknown:     "It is not known whether the message was sent",
}

// failOutgoing records that an outgoing message was given up by a Job, with
// Twilio's code for it, announces it, and has its client told. Of the failure the
// reason and what is known of the cause are given; Job and Date are set here, and
// Attempts where it is 0. A failure that this Job has recorded before stays as it is, so that
// doing it again only makes sure of all that follows. A message that has come to
// another end is left alone. For one that was deleted the error is errDeleted.
func (w *Worker) failOutgoing(ctx context.Context, d *stream.Delivery, message store.Message, why *unsendable) error {
	failure := why.failure
	failure.Attempts, failure.Job, failure.Date = cmp.Or(failure.Attempts, d.Attempt), d.Sequence, time.Now().UTC()
	ready := message.Outgoing.Ready
	recorded, err := w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		message = *m
		switch {
		case !m.Deleted.IsZero():
			return errDeleted
		case m.Outgoing.Failure != nil && m.Outgoing.Failure.Job == d.Sequence:
			return errUnchanged
		case m.Final() || m.Outgoing.Ready != ready || m.Outgoing.Upstream != (store.MessageSID{}):
			return errOvertaken
		}
		if earlier := m.Outgoing.Failure; earlier != nil && earlier.Announced != 0 {
			m.Events = append(m.Events, earlier.Announced)
		}
		m.Outgoing.Failure = &failure
		m.ErrorCode, m.ErrorMessage = why.code, cmp.Or(why.text, errorTexts[why.code], failure.Detail)
		return nil
	})
	switch {
	case err == nil:
		message = recorded
		zerolog.Ctx(ctx).Error().Int("code", why.code).Str("reason", failure.Reason).Str("detail", failure.Detail).Msg("outgoing message failed")
	case !errors.Is(err, errUnchanged):
		return err
	}
	return w.tellFailure(ctx, message)
}

// errOvertaken ends a try whose message another worker has taken further meanwhile.
var errOvertaken = errors.New("another worker has taken the message further")

// tellFailure makes sure of all that follows from the recorded failure of an
// outgoing message: nothing of media is left that it does not have, the failed event
// is in the feed, and its status is failed.
func (w *Worker) tellFailure(ctx context.Context, message store.Message) error {
	if err := w.abandon(ctx, message); err != nil {
		return err
	}
	message, err := w.announceOutgoingFailure(ctx, message)
	if err != nil {
		return err
	}
	hook, err := parseWebhook(statusForm(message, "failed", message.ErrorCode, message.ErrorMessage))
	if err != nil {
		return err
	}
	return w.hear(ctx, message, hook, message.Outgoing.Failure.Date)
}

// announceOutgoingFailure publishes the failed event of an outgoing message that has
// none, and notes it in the record.
func (w *Worker) announceOutgoingFailure(ctx context.Context, message store.Message) (store.Message, error) {
	failure := *message.Outgoing.Failure
	if failure.Announced != 0 {
		return message, nil
	}
	sequence, err := w.Streams.Publish(ctx, outgoingFailedEvent(message, failure))
	if err != nil {
		return message, err
	}
	message, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if m.Outgoing == nil || m.Outgoing.Failure == nil || m.Outgoing.Failure.Job != failure.Job {
			m.Events = append(m.Events, sequence)
			return nil
		}
		m.Outgoing.Failure.Announced = sequence
		return nil
	})
	if err != nil {
		return message, err
	}
	return message, w.withdraw(ctx, message, sequence)
}

// abandon clears up what a message that never became ready has stored of media
// without a record. Each gets a tombstone first, so that another worker at the same
// Job does not bring it back.
func (w *Worker) abandon(ctx context.Context, message store.Message) error {
	if message.Outgoing.Ready != 0 {
		return nil
	}
	now := time.Now().UTC()
	for i, ref := range outgoingHook(message).media {
		sid, _ := w.Store.Identify(message.Account, message.SID, i, ref.url, w.Upstream)
		record, _, err := w.Store.CreateMedia(ctx, store.Media{
			Account: message.Account, Message: message.SID, SID: sid, Index: i, DateCreated: now, DateUpdated: now, Deleted: now,
		})
		if err == nil && !record.Deleted.IsZero() {
			err = w.Store.DeleteBlobs(ctx, message.Account, message.SID, sid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// statusForm is a status callback about an outgoing message, as Twilio words it
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status): with
// the message's own SID, and without code and text where the code is 0.
func statusForm(message store.Message, status string, code int, text string) url.Values {
	sid := message.SID.String()
	form := url.Values{
		"AccountSid": {message.Account.String()}, "ApiVersion": {"2010-04-01"},
		"MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {status}, "SmsStatus": {status},
		"From": {message.From}, "To": {message.To},
	}
	if service := message.Form.Get("MessagingServiceSid"); service != "" {
		form.Set("MessagingServiceSid", service)
	}
	if code != 0 {
		form.Set("ErrorCode", strconv.Itoa(code))
		form.Set("ErrorMessage", text)
	}
	return form
}

// outgoingFailedEvent is a failed event of a message that was not sent.
func outgoingFailedEvent(m store.Message, f store.Failure) stream.Event {
	return stream.Event{
		Type: stream.EventFailed, Account: m.Account,
		ID:      fmt.Sprintf("failed:%s:%s:%d", m.Account, m.SID, f.Job),
		Subject: m.SID.String(), Time: f.Date,
		Data: failedData{
			AccountSID: m.Account, MessageSID: m.SID, Index: f.Index,
			Reason: f.Reason, Detail: f.Detail, Status: f.Status, Attempts: f.Attempts,
		},
	}
}

// outgoingHook is what the form of an outgoing message asks for, in the terms of the
// webhook of an incoming one.
func outgoingHook(m store.Message) webhook {
	h := webhook{account: m.Account, message: m.SID, from: m.From, to: m.To, body: m.Body, form: m.Form}
	for address := range slices.Values(m.Form["MediaUrl"]) {
		h.media = append(h.media, mediaRef{url: address})
	}
	return h
}
