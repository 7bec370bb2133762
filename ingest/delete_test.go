package ingest

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// TestSweepDeleteMessage deletes a message with its media, with every call of the
// bucket failed, while another worker stores it. Nothing of it stays.
func TestSweepDeleteMessage(t *testing.T) {
	h := newHouse(t)
	var sent simulate.Sent
	var inbound, deletion *stream.Delivery
	var message store.MessageSID
	open := func(t *testing.T) store.Bucket {
		jpeg := simulate.Media{Data: picture(), ContentType: "image/jpeg"}
		sent = h.send(simulate.Message{Media: []simulate.Media{jpeg, jpeg}})
		inbound = h.take()
		var first store.MediaSID
		message, first = ids(t, sent, 0)
		_, second := ids(t, sent, 1)
		if _, err := h.streams.PublishJob(t.Context(), stream.Job{
			Kind: stream.Delete, Account: h.account, Message: message, ID: "del:" + message.String(),
			Data: []byte(url.Values{"MediaSid": {first.String(), second.String()}}.Encode()),
		}); err != nil {
			t.Fatal(err)
		}
		deletion = h.take()
		return dir(t)
	}
	keep := func(ctx context.Context, b store.Bucket) error { return h.attempt(inbound)(ctx, b) }
	remove := func(ctx context.Context, b store.Bucket) error { return h.attempt(deletion)(ctx, b) }
	bare := func(t *testing.T, b store.Bucket) {
		m, err := store.New(b, nil).Message(t.Context(), h.account, message)
		if err != nil || m.Deleted.IsZero() || m.From != "" || m.Form != nil {
			t.Errorf("message %+v, %v; want a tombstone", m, err)
		}
		for i := range sent.MediaSIDs {
			_, media := ids(t, sent, i)
			record, err := store.New(b, nil).Media(t.Context(), h.account, message, media)
			if err != nil || record.Deleted.IsZero() || record.SHA256 != "" {
				t.Errorf("medium %+v, %v; want a bare tombstone", record, err)
			}
		}
	}
	t.Run("stored", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{
			Open: open, Secret: []byte("secret"), Prepare: keep, Job: remove, Other: keep,
			Check: func(t *testing.T, b store.Bucket) {
				bare(t, b)
				got := strings.Join(h.eventTypes(sent.MessageSID), " ")
				if strings.Count(got, stream.EventStored) != 2 || strings.Count(got, stream.EventDeleted) != 2 {
					t.Errorf("events %s", got)
				}
			},
		})
	})
	t.Run("being stored", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{
			Open: open, Secret: []byte("secret"), Job: keep, Other: remove,
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
