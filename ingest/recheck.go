package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// Rechecked is what [Worker.Recheck] found.
type Rechecked struct {
	Events  int // that were looked at
	Damaged int // records or blobs that are not what their event says, or without one
	Queued  int // messages that are worked on again
}

// recheckPage is how many events are read at once.
const recheckPage = 500

// Recheck compares what the feed has announced since a time with what is stored,
// and what was stored since with the feed. It queues a Job for each message of
// which something is missing: an object store may lose what it acknowledged last
// when its power is cut (MinIO does not sync the directory of a new object), and so
// may a NATS that does not sync always. It reads every byte. An error, also of ctx,
// leaves the rest unchecked; doing it again is harmless.
func (w *Worker) Recheck(ctx context.Context, since time.Time) (Rechecked, error) {
	var r Rechecked
	q := stream.Query{Since: since, Types: []string{stream.EventReceived, stream.EventStored}}
	for {
		entries, err := w.Streams.Events(ctx, q, recheckPage)
		if err != nil {
			return r, err
		}
		if len(entries) == 0 {
			break
		}
		for _, entry := range entries {
			if err := w.recheck(ctx, entry, &r); err != nil {
				return r, err
			}
			q.After = entry.Sequence
		}
	}
	for account := range w.Accounts {
		for entry, err := range w.Store.Messages(ctx, store.MessageQuery{Account: account, Since: since}) {
			if err == nil {
				err = w.recheckEvents(ctx, entry.Message, &r)
			}
			if err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// recheckEvents makes sure that what a message's records say was announced is in
// the feed, and has it announced again where it is not.
func (w *Worker) recheckEvents(ctx context.Context, m store.Message, r *Rechecked) error {
	lost := false
	if held, err := w.held(ctx, m.Announced, receivedEvent(m, w.Store.HashNumber).ID); err != nil {
		return err
	} else if !held {
		lost = true
		if _, err := w.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error { m.Announced = 0; return nil }); err != nil {
			return err
		}
	}
	if held, err := w.heldReady(ctx, m); err != nil {
		return err
	} else if !held {
		lost = true
		if _, err := w.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
			if m.Outgoing != nil {
				m.Outgoing.Ready = 0
			}
			return nil
		}); err != nil {
			return err
		}
	}
	media, err := w.Store.ListMedia(ctx, m.Account, m.SID)
	if err != nil {
		return err
	}
	for _, medium := range media {
		held, err := w.held(ctx, medium.Announced, storedEvent(medium).ID)
		if err != nil {
			return err
		}
		if held {
			continue
		}
		lost = true
		if _, err := w.Store.UpdateMedia(ctx, m.Account, m.SID, medium.SID, func(m *store.Media) error { m.Announced = 0; return nil }); err != nil {
			return err
		}
	}
	if !lost {
		return nil
	}
	r.Damaged++
	w.Log.Error().Stringer("accountSid", m.Account).Stringer("messageSid", m.SID).Msg("stored and not in the feed; it is announced again")
	return w.queueCheck(ctx, m.Account, m.SID, m.Announced, r)
}

// heldReady tells whether the ready event of an outgoing message that may still be
// waiting for a sender is in the feed.
func (w *Worker) heldReady(ctx context.Context, m store.Message) (bool, error) {
	if m.Outgoing == nil || m.Status != "queued" && m.Status != "accepted" || m.Outgoing.Upstream != (store.MessageSID{}) {
		return true, nil
	}
	return w.held(ctx, m.Outgoing.Ready, bareReadyEvent(m).ID)
}

// held tells whether an event that was announced is in the feed. What was not
// announced yet is in the hands of its Job.
func (w *Worker) held(ctx context.Context, sequence uint64, id string) (bool, error) {
	if sequence == 0 {
		return true, nil
	}
	entry, err := w.Streams.Event(ctx, sequence)
	if errors.Is(err, stream.ErrNotKept) {
		return false, nil
	}
	return err == nil && entry.ID == id, err
}

// recheck compares one event.
func (w *Worker) recheck(ctx context.Context, entry stream.Entry, r *Rechecked) error {
	var e struct{ Data storedData }
	if err := json.Unmarshal(entry.JSON, &e); err != nil {
		return fmt.Errorf("read event %d: %w", entry.Sequence, err)
	}
	r.Events++
	whole, err := w.isWhole(ctx, entry.Type, e.Data)
	if err != nil || whole {
		return err
	}
	r.Damaged++
	w.Log.Error().Stringer("accountSid", e.Data.AccountSID).Stringer("messageSid", e.Data.MessageSID).Stringer("mediaSid", e.Data.MediaSID).
		Str("event", entry.Type).Msg("announced and not stored; it is worked on again")
	return w.queueCheck(ctx, e.Data.AccountSID, e.Data.MessageSID, entry.Sequence, r)
}

// queueCheck has a message worked on again because of one of its events.
func (w *Worker) queueCheck(ctx context.Context, account store.AccountSID, message store.MessageSID, sequence uint64, r *Rechecked) error {
	duplicate, err := w.Streams.PublishJob(ctx, stream.Job{
		Kind: stream.Replay, Account: account, Message: message,
		ID: fmt.Sprintf("check:%s:%s:%d", account, message, sequence),
	})
	if err == nil && !duplicate {
		r.Queued++
	}
	return err
}

// isWhole tells whether everything that an event announced is there.
func (w *Worker) isWhole(ctx context.Context, kind string, e storedData) (bool, error) {
	_, err := w.Store.Message(ctx, e.AccountSID, e.MessageSID)
	if err == nil && kind == stream.EventStored {
		var record store.Media
		record, err = w.Store.Media(ctx, e.AccountSID, e.MessageSID, e.MediaSID)
		if err == nil && record.Deleted.IsZero() {
			damaged, err := w.Store.Damaged(ctx, record)
			return len(damaged) == 0, err
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
