package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// status records a status callback, unless its message was deleted.
func (w *Worker) status(ctx context.Context, d *stream.Delivery) error {
	hook, err := parseJob(d)
	if err != nil {
		return err
	}
	message, err := w.Store.Message(ctx, hook.account, hook.message)
	switch {
	case errors.Is(err, store.ErrNotFound): // of a message that was sent elsewhere
		_, err = w.Streams.Publish(ctx, statusEvent(hook, d.Queued))
		return err
	case err != nil:
		return err
	case !message.Deleted.IsZero():
		return errDeleted
	}
	return w.hear(ctx, message, hook, d.Queued)
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
func (w *Worker) tell(ctx context.Context, message store.Message, hook webhook) error {
	if message.Form.Get("StatusCallback") == "" {
		return nil
	}
	_, err := w.Streams.PublishJob(ctx, stream.Job{
		Kind: stream.Forward, Account: message.Account, Message: message.SID, Order: message.SID.String(),
		ID: fmt.Sprintf("fwd:%s:%s:%s", message.Account, message.SID, hook.status), Data: []byte(hook.form.Encode()),
	})
	return err
}
