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
	Damaged int // records or blobs that are not what their event says
	Queued  int // messages that are worked on again
}

// recheckPage is how many events are read at once.
const recheckPage = 500

// Recheck compares what the feed has announced since a time with what is stored,
// and queues a Job for each message of which something is missing: an object
// store may lose what it acknowledged last when its power is cut (MinIO does not
// sync the directory of a new object). It reads every byte. An error, also of
// ctx, leaves the rest unchecked; doing it again is harmless.
func (w *Worker) Recheck(ctx context.Context, since time.Time) (Rechecked, error) {
	var r Rechecked
	q := stream.Query{Since: since, Types: []string{stream.EventReceived, stream.EventStored}}
	for {
		entries, err := w.Streams.Events(ctx, q, recheckPage)
		if err != nil || len(entries) == 0 {
			return r, err
		}
		for _, entry := range entries {
			if err := w.recheck(ctx, entry, &r); err != nil {
				return r, err
			}
			q.After = entry.Sequence
		}
	}
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
	duplicate, err := w.Streams.PublishJob(ctx, stream.Job{
		Kind: stream.Replay, Account: e.Data.AccountSID, Message: e.Data.MessageSID,
		ID: fmt.Sprintf("check:%s:%s:%d", e.Data.AccountSID, e.Data.MessageSID, entry.Sequence),
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
