package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// status records a status callback, unless its message was deleted.
func (w *Worker) status(ctx context.Context, d *stream.Delivery) outcome {
	hook, err := parseJob(d)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	own, err := w.ownMessage(ctx, d, hook)
	switch {
	case err != nil:
		return w.judge(ctx, d, err)
	case own != hook.message:
		return w.judge(ctx, d, w.relayed(ctx, d, own, hook))
	}
	message, err := w.Store.Message(ctx, hook.account, hook.message)
	switch {
	case err == nil && !message.Deleted.IsZero():
		err = errDeleted
	case err == nil && message.Outgoing == nil || errors.Is(err, store.ErrNotFound):
		return w.elsewhere(ctx, d, hook, message)
	case err == nil:
		err = w.hear(ctx, message, hook, d.Queued)
	}
	return w.judge(ctx, d, err)
}

// ownMessage is the message here that a status callback is about: the one that its URL
// named, or the one that the provider's message is known to be.
func (w *Worker) ownMessage(ctx context.Context, d *stream.Delivery, hook webhook) (store.MessageSID, error) {
	if d.Message != hook.message {
		return d.Message, nil
	}
	owner, err := w.Store.Claimed(ctx, d.Account, hook.message)
	if errors.Is(err, store.ErrNotFound) {
		return hook.message, nil
	}
	return owner, err
}

// relayed takes a status callback of the provider's message that a message here has
// become. It tells the provider's SID, should that not be known: the URL that names
// the message was given to the provider with it, and is signed.
func (w *Worker) relayed(ctx context.Context, d *stream.Delivery, own store.MessageSID, hook webhook) error {
	message, err := w.Store.Message(ctx, d.Account, own)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !message.Deleted.IsZero():
		return errDeleted
	case message.Outgoing == nil:
		return fmt.Errorf("status callback of %s: message %s is not one that a client posted", hook.message, own)
	}
	if message.Outgoing.Upstream == (store.MessageSID{}) {
		err := w.left(ctx, message, hook.message, "")
		if errors.Is(err, errClaimed) { // its status is told all the same
			zerolog.Ctx(ctx).Error().Err(err).Msg("two messages that are alike were taken for each other")
		} else if err != nil {
			return err
		}
	}
	form := maps.Clone(hook.form)
	for _, name := range []string{"MessageSid", "SmsSid", "SmsMessageSid"} {
		if form.Has(name) {
			form.Set(name, own.String())
		}
	}
	if hook, err = parseWebhook(form); err != nil {
		return err
	}
	return w.hear(ctx, message, hook, d.Queued)
}

// hasLeft are the statuses of a message whose media the provider lists, because it has
// read them.
var hasLeft = []string{"sent", "delivered", "undelivered", "read"}

// elsewhere takes a status callback of a message that was sent through the provider
// itself. Once it has left, its record is made, if there is none, and its media are
// stored; before that there is nothing to be had.
func (w *Worker) elsewhere(ctx context.Context, d *stream.Delivery, hook webhook, message store.Message) outcome {
	known := message.SID == hook.message
	if !known && (w.API == nil || !slices.Contains(hasLeft, hook.status)) {
		return w.judge(ctx, d, w.announceStatus(ctx, d, hook))
	}
	var err error
	if !known {
		message, err = w.recall(ctx, d)
		if w.judge(ctx, d, err).verb == failed { // it is gone there
			if err = w.reportRefusal(ctx, d, err); err == nil {
				err = w.announceStatus(ctx, d, hook)
			}
			return w.judge(ctx, d, err)
		}
	}
	if err == nil {
		message, err = w.announceMessage(ctx, message)
	}
	if err != nil {
		return w.judge(ctx, d, err)
	}
	if result := w.mediaElsewhere(ctx, d, message); result.verb > failed {
		return result
	}
	return w.judge(ctx, d, w.hear(ctx, message, hook, d.Queued))
}

// announceStatus announces a status of a message without a record.
func (w *Worker) announceStatus(ctx context.Context, d *stream.Delivery, hook webhook) error {
	_, err := w.Streams.Publish(ctx, statusEvent(hook, d.Queued))
	return err
}

// mediaElsewhere stores the media of a message that was sent elsewhere, unless all are
// stored or given up.
func (w *Worker) mediaElsewhere(ctx context.Context, d *stream.Delivery, message store.Message) outcome {
	records, err := w.Store.ListMediaRecords(ctx, message.Account, message.SID)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	announced := 0
	for _, record := range records {
		if record.Announced != 0 || !record.Deleted.IsZero() {
			announced++
		}
	}
	if announced+len(message.Failures) >= message.NumMedia {
		return outcome{}
	}
	hook, err := parseWebhook(message.Form)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	return w.media(ctx, d, hook, message)
}

// hear notes what a status callback says of a message: in its record, where a
// status never moves backwards, in the feed, and in a Job that tells whoever posted
// the message. The callback has the message's own SID. Doing it again is harmless.
func (w *Worker) hear(ctx context.Context, message store.Message, hook webhook, at time.Time) error {
	heard, err := w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() || !m.Advance(hook.status) {
			return errUnchanged
		}
		m.DateUpdated = at
		m.ErrorCode, _ = strconv.Atoi(hook.form.Get("ErrorCode"))
		m.ErrorMessage = hook.form.Get("ErrorMessage")
		if hook.status != "failed" && m.DateSent.IsZero() && (m.Final() || hook.status == "sent") {
			m.DateSent = at
		}
		return nil
	})
	if err == nil {
		message = heard
	} else if !errors.Is(err, errUnchanged) {
		return err
	}
	if err := w.announceNoted(ctx, message, statusEvent(hook, at)); err != nil {
		return err
	}
	if message.Outgoing == nil {
		return nil // the receiver has queued what is to be posted on
	}
	return w.tell(ctx, message, hook)
}

// tell queues a status callback for the application of whoever posted the message.
// Where the client named none for a message of a Messaging Service, it is for where
// the account's webhooks go: the service's own would have come from there.
//
// Each status is told once, in the order in which they come, be it a late one: so does
// the provider.
func (w *Worker) tell(ctx context.Context, message store.Message, hook webhook) error {
	if _, told := message.Forwards[hook.status]; told || w.application(message) == nil {
		return nil
	}
	_, err := w.Streams.PublishJob(ctx, stream.Job{
		Kind: stream.Forward, Account: message.Account, Message: message.SID, Order: message.SID.String(),
		ID: fmt.Sprintf("fwd:%s:%s:%s", message.Account, message.SID, hook.status), Data: []byte(hook.form.Encode()),
	})
	return err
}
