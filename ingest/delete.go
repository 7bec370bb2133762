package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// delete finishes what the API began: of one medium, or of a message with all its
// media. Nothing stays but SIDs and dates.
func (w *Worker) delete(ctx context.Context, d *stream.Delivery) error {
	if sid, err := store.ParseMediaSID(string(d.Data)); err == nil {
		return w.deleteMedium(ctx, d, sid)
	}
	form, err := url.ParseQuery(string(d.Data))
	if err != nil {
		return fmt.Errorf("parse job %d: %w", d.Sequence, err)
	}
	for _, text := range form["MediaSid"] {
		sid, err := store.ParseMediaSID(text)
		if err != nil {
			return fmt.Errorf("parse job %d: %w", d.Sequence, err)
		}
		if err := w.bury(ctx, d, sid); err != nil {
			return err
		}
		if err := w.deleteMedium(ctx, d, sid); err != nil {
			return err
		}
	}
	// The message's media cannot come back any more; whoever has one in hand meets
	// its tombstone.
	message, err := w.Store.DeleteMessage(ctx, d.Account, d.Message, d.Queued)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !form.Has("Ready") {
		return nil // there was none yet, and none comes after the tombstone
	}
	sequence, err := strconv.ParseUint(form.Get("Ready"), 10, 64)
	if err != nil {
		return fmt.Errorf("parse job %d: %w", d.Sequence, err)
	}
	_, err = w.Streams.RemoveEvent(ctx, sequence, message.SID) // it has the text and the numbers
	return err
}

// bury makes sure of a medium's record, so that its tombstone is there before a
// worker that has it in hand is done.
func (w *Worker) bury(ctx context.Context, d *stream.Delivery, sid store.MediaSID) error {
	_, _, err := w.Store.CreateMedia(ctx, store.Media{
		Account: d.Account, Message: d.Message, SID: sid, DateCreated: d.Queued, DateUpdated: d.Queued, Deleted: d.Queued,
	})
	return err
}

// deleteMedium makes sure of a medium's tombstone, removes the blobs and announces it.
func (w *Worker) deleteMedium(ctx context.Context, d *stream.Delivery, sid store.MediaSID) error {
	record, err := w.Store.UpdateMedia(ctx, d.Account, d.Message, sid, func(m *store.Media) error {
		if m.Deleted.IsZero() {
			m.Deleted = d.Queued
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.Store.DeleteBlobs(ctx, d.Account, d.Message, sid); err != nil {
		return err
	}
	if record.SHA256 == "" { // it was never stored, or all of this is done
		return nil
	}
	// A reader of the feed is told of what was stored before it is told that it
	// is gone.
	if record, err = w.announce(ctx, record); err != nil || record.Removed != 0 {
		return err
	}
	sequence, err := w.Streams.Publish(ctx, deletedEvent(record))
	if err != nil {
		return err
	}
	_, err = w.Store.UpdateMedia(ctx, d.Account, d.Message, sid, func(m *store.Media) error {
		m.Bare()
		m.Removed = sequence
		return nil
	})
	return err
}
