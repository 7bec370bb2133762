package removal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

const privateText = "the private text"

// outgoing is a message with one medium that a client has posted.
func outgoing(h *ingesttest.House, media string) store.Message {
	form := url.Values{"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {privateText}, "MediaUrl": {media}}
	return store.NewOutgoing(h.Account, store.NewMessageSID(true), form, time.Now().UTC())
}

// cardHost serves a vCard to the workers.
func cardHost(t *testing.T, h *ingesttest.House) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ingesttest.Card.ContentType)
		_, _ = w.Write(ingesttest.Card.Data)
	}))
	t.Cleanup(server.Close)
	h.Permit(server.URL)
	return server.URL + "/card.vcf"
}

// TestSweepDeleteReady deletes an outgoing message as the API does, in front of every
// call of the bucket that its worker makes, and has the worker run in front of every call
// of the deletion. Whatever is interrupted, the ready event, which has text and numbers in
// it, does not outlive the message.
func TestSweepDeleteReady(t *testing.T) {
	h := ingesttest.New(t)
	address := cardHost(t, h)
	var m store.Message
	var work, deletion *stream.Delivery
	open := func(t *testing.T) store.Bucket {
		h.Fresh()
		m = outgoing(h, address)
		work = h.Deliver(stream.NewOutbound(m))
		media := h.Rooms(storetest.OpenDir(t)).Store.MediaOf(m)
		deletion = h.Deliver(stream.NewDeleteMessage(h.Account, m.SID, []store.MediaSID{media[0].Media}, false))
		return storetest.OpenDir(t)
	}
	record := func(ctx context.Context, b store.Bucket) error {
		_, _, err := store.New(b, ingesttest.Secret).CreateMessage(ctx, m)
		return err
	}
	send := func(ctx context.Context, b store.Bucket) error { return h.Attempt(work)(ctx, b) }
	remove := func(ctx context.Context, b store.Bucket) error {
		if _, err := store.New(b, ingesttest.Secret).DeleteMessage(ctx, h.Account, m.SID, time.Now().UTC()); err != nil {
			return err
		}
		return h.Attempt(deletion)(ctx, b)
	}
	check := func(t *testing.T, b store.Bucket) {
		for _, e := range h.Events(m.SID.String()) {
			if e.Type == stream.EventReady || strings.Contains(e.JSON, privateText) || strings.Contains(e.JSON, m.To) {
				t.Errorf("left in the feed: %s", e.JSON)
			}
		}
		for key, data := range ingesttest.Objects(t, b) {
			if strings.Contains(data, privateText) || strings.Contains(key+data, m.To) {
				t.Errorf("left in the bucket: %s: %s", key, data)
			}
		}
	}
	recorded := func(steps ...func(context.Context, store.Bucket) error) func(context.Context, store.Bucket) error {
		return func(ctx context.Context, b store.Bucket) error {
			for _, step := range append([]func(context.Context, store.Bucket) error{record}, steps...) {
				if err := step(ctx, b); err != nil {
					return err
				}
			}
			return nil
		}
	}
	t.Run("deleted while it is prepared", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: ingesttest.Secret, Prepare: recorded(), Job: send, Other: remove, Check: check})
	})
	t.Run("prepared while it is deleted", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: ingesttest.Secret, Prepare: recorded(), Job: remove, Other: send, Check: check})
	})
	t.Run("deleted when it is ready", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: ingesttest.Secret, Prepare: recorded(send), Job: remove, Other: send, Check: check})
	})
	t.Run("a tombstone at once", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{
			Open: open, Secret: ingesttest.Secret, Prepare: recorded(), Check: check,
			Job: func(ctx context.Context, b store.Bucket) error {
				if err := send(ctx, b); err != nil {
					return err
				}
				return h.Attempt(deletion)(ctx, b)
			},
			Other: func(ctx context.Context, b store.Bucket) error {
				_, err := store.New(b, ingesttest.Secret).DeleteMessage(ctx, h.Account, m.SID, time.Now().UTC())
				return err
			},
		})
	})
}
