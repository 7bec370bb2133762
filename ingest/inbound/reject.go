package inbound

import (
	"context"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// maxUnreadable bounds what is kept of a Job that cannot be read: as much as a webhook's
// body may have.
const maxUnreadable = 256 << 10

// Reject records a Job that cannot be read as a failure of its message, with what it
// holds, and announces it. Deleting the message removes it.
func (h *Handler) Reject(ctx context.Context, d *stream.Delivery, why error) error {
	data := d.Data()
	unreadable := &store.Unreadable{
		Kind: string(d.Kind), Data: data[:min(len(data), maxUnreadable)],
		Failure: store.Failure{Reason: store.ReasonUnreadable, Detail: why.Error(), Attempts: d.Attempt, Job: d.Sequence, Date: d.Queued},
	}
	m, created, err := h.Store.CreateMessage(ctx, store.Message{
		Account: d.Account, SID: d.Message, Direction: store.Inbound, DateCreated: d.Queued, DateUpdated: d.Queued, Unreadable: unreadable,
	})
	if err == nil && !created {
		m, err = h.Store.UpdateMessage(ctx, d.Account, d.Message, func(m *store.Message) error {
			switch {
			case !m.Deleted.IsZero():
				return store.ErrDeleted
			case m.Unreadable != nil && m.Unreadable.Is(unreadable.Failure):
				return store.ErrUnchanged
			case m.Unreadable != nil && m.Unreadable.Announced != 0:
				m.Events = append(m.Events, m.Unreadable.Announced)
			}
			m.Unreadable = unreadable
			return nil
		})
	}
	if err != nil {
		return err
	}
	_, err = h.Feed.Announce(ctx, m)
	return err
}
