package outbound

import (
	"context"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// waitFor is why a message that is scheduled goes no further. Only the Job that it was
// posted with waits until it does.
func waitFor(d *stream.Delivery, m store.Message) error {
	if d.Kind != stream.Outbound {
		return nil
	}
	return ingest.NotBefore(m.SendAt(), "the message is scheduled")
}

// release takes a message out of its schedule, so that it cannot be canceled any more,
// unless it was canceled before.
func (h *Handler) release(ctx context.Context, m store.Message) (store.Message, error) {
	if m.Status != "scheduled" {
		return m, nil
	}
	return h.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		switch {
		case !m.Deleted.IsZero():
			return store.ErrDeleted
		case m.Status != "scheduled":
			return store.ErrUnchanged
		}
		m.Status = "queued"
		return nil
	})
}

// cancel cancels a message, unless it is not scheduled any more, and has its client told.
func (h *Handler) cancel(ctx context.Context, m store.Message) error {
	m, err := h.Store.CancelMessage(ctx, m.Account, m.SID, time.Now().UTC())
	if err != nil || m.Status != "canceled" {
		return err
	}
	zerolog.Ctx(ctx).Info().Msg("canceled")
	hook, err := webhook.Parse(statusForm(m, "canceled", 0, ""))
	if err != nil {
		return err
	}
	return h.Status.Record(ctx, m, hook, m.DateUpdated)
}

// dueSince is since when a Job is to take a message to the provider.
func dueSince(d *stream.Delivery, m store.Message) time.Time {
	if at := m.SendAt(); at.After(d.Queued) {
		return at
	}
	return d.Queued
}
