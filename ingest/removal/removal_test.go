package removal_test

import (
	"context"
	"strings"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// TestSweepDeleteMessage deletes a message with its media, with every call of the
// bucket failed, while another worker stores it. Nothing of it stays.
func TestSweepDeleteMessage(t *testing.T) {
	h := ingesttest.New(t)
	var sent simulate.Sent
	var inbound, deletion *stream.Delivery
	open := func(t *testing.T) store.Bucket {
		h.Fresh()
		sent = h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG, ingesttest.JPEG}})
		inbound = h.Take()
		first, second := ingesttest.IDs(t, sent, 0), ingesttest.IDs(t, sent, 1)
		deletion = h.Deliver(stream.NewDeleteMessage(h.Account, first.Message, []store.MediaSID{first.Media, second.Media}, false))
		return storetest.OpenDir(t)
	}
	keep := func(ctx context.Context, b store.Bucket) error { return h.Attempt(inbound)(ctx, b) }
	remove := func(ctx context.Context, b store.Bucket) error { return h.Attempt(deletion)(ctx, b) }
	bare := func(t *testing.T, b store.Bucket) {
		s := store.New(b, nil)
		for i := range sent.MediaSIDs {
			key := ingesttest.IDs(t, sent, i)
			m, err := s.Message(t.Context(), key.Account, key.Message)
			if err != nil || m.Deleted.IsZero() || m.From != "" || m.Form != nil {
				t.Errorf("message %+v, %v; want a tombstone", m, err)
			}
			record, err := s.Media(t.Context(), key)
			if err != nil || record.Deleted.IsZero() || record.SHA256 != "" {
				t.Errorf("medium %+v, %v; want a bare tombstone", record, err)
			}
		}
	}
	t.Run("stored", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{
			Open: open, Secret: ingesttest.Secret, Prepare: keep, Job: remove, Other: keep,
			Check: func(t *testing.T, b store.Bucket) {
				bare(t, b)
				got := strings.Join(h.EventTypes(sent.MessageSID), " ")
				if strings.Count(got, stream.EventStored) != 2 || strings.Count(got, stream.EventDeleted) != 2 {
					t.Errorf("events %s", got)
				}
			},
		})
	})
	t.Run("being stored", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{
			Open: open, Secret: ingesttest.Secret, Job: keep, Other: remove,
			Check: func(t *testing.T, b store.Bucket) {
				// The Job of the deletion is done again after the interruption.
				if err := remove(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				bare(t, b)
			},
		})
	})
}
