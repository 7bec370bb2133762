package inbound_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// replay queues a Job that asks upstream, too, and takes it.
func replay(h *ingesttest.House, message string) *stream.Delivery {
	h.Helper()
	sid, err := store.ParseMessageSID(message)
	if err != nil {
		h.Fatal(err)
	}
	return h.Deliver(stream.NewReplayFromUpstream(h.Account, sid, "test"))
}

// TestRecall fails every call of the bucket in turn while a message is replayed
// whose webhook never came. Afterwards it is stored as if it had come.
func TestRecall(t *testing.T) {
	h := ingesttest.New(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var sent simulate.Sent
	var d *stream.Delivery
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			media := []simulate.Media{ingesttest.Card, ingesttest.Card}
			h.Fresh()
			sent = h.Twilio.Host(simulate.Message{From: "+1", To: "+2", Body: "text", Media: media, Outbound: true}, at)
			d = replay(h, sent.MessageSID)
			return openDir(t)
		},
		Job: func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) },
		Check: func(t *testing.T, b store.Bucket) {
			s := store.New(b, ingesttest.Secret)
			for i := range 2 {
				key := ingesttest.IDs(t, sent, i)
				m, err := s.Message(t.Context(), key.Account, key.Message)
				if err != nil || m.From != "+1" || m.To != "+2" || m.Body != "text" || m.NumMedia != 2 || !m.DateCreated.Equal(at) ||
					m.Direction != store.OutboundAPI || m.Form.Get("MediaUrl1") != sent.MediaURLs[1] {
					t.Errorf("message %+v, %v", m, err)
				}
				if record, err := s.Media(t.Context(), key); err != nil || record.Announced == 0 || record.Index != i {
					t.Errorf("record %+v, %v", record, err)
				}
			}
			want := []string{stream.EventReceived, stream.EventStored, stream.EventStored}
			if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, want) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestRecallWebhook: the webhook of a message that was recalled comes after all,
// and is a repeat of it.
func TestRecallWebhook(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(openDir(t))
	sent := h.Twilio.Host(simulate.Message{Body: "text", Media: []simulate.Media{ingesttest.Card}}, time.Now())
	if err := r.Handle(t.Context(), replay(h, sent.MessageSID)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Twilio.Repeat(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if err := r.Handle(t.Context(), h.Take()); err != nil {
		t.Fatal(err)
	}
	if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventStored}) {
		t.Errorf("events %v", got)
	}
}

// TestRecallNothing: a message that upstream does not have is a failure, and one
// whose media are not all listed yet is tried again.
func TestRecallNothing(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(openDir(t))
	const unknown = "MM00000000000000000000000000000404"
	if err := r.Handle(t.Context(), replay(h, unknown)); err != nil {
		t.Errorf("a message that is not there: %v", err)
	}
	if got := h.EventTypes(unknown); !slices.Equal(got, []string{stream.EventFailed}) {
		t.Errorf("events %v", got)
	}
	sent := h.Twilio.Host(simulate.Message{Late: 1, Media: []simulate.Media{ingesttest.Card}}, time.Now())
	d := replay(h, sent.MessageSID)
	if err := r.Handle(t.Context(), d); err == nil {
		t.Error("a message whose media are late is not tried again")
	}
	if err := r.Handle(t.Context(), d); err != nil {
		t.Errorf("a message whose media have come: %v", err)
	}
}

// TestComplete: a message whose webhook named one medium of three, and promised
// two, gets those that upstream lists.
func TestComplete(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(openDir(t))
	sent := h.Twilio.Host(simulate.Message{Media: []simulate.Media{ingesttest.Card, ingesttest.Card, ingesttest.Card}}, time.Now())
	for _, name := range []string{"MediaUrl1", "MediaContentType1", "MediaUrl2", "MediaContentType2"} {
		sent.Form.Del(name)
	}
	sent.Form.Set("NumMedia", "2")
	hook, err := webhook.Parse(sent.Form)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Handle(t.Context(), h.Deliver(hook.Job(r.Store))); err != nil {
		t.Fatalf("inbound: %v", err)
	}
	if m, err := r.Store.Message(t.Context(), h.Account, hook.Message); err != nil || len(m.Failures) != 1 {
		t.Fatalf("message %+v, %v; want one failure", m, err)
	}
	if err := r.Handle(t.Context(), replay(h, sent.MessageSID)); err != nil {
		t.Fatalf("replay: %v", err)
	}
	m, err := r.Store.Message(t.Context(), h.Account, hook.Message)
	media, err2 := r.Store.ListMedia(t.Context(), h.Account, hook.Message)
	if err != nil || err2 != nil || m.NumMedia != 3 || len(m.Failures) != 0 || len(media) != 3 {
		t.Errorf("message %+v, %d media, %v, %v", m, len(media), err, err2)
	}
}

// TestLastCopy: a damaged original of which upstream has no copy any more is not
// removed by a replay, which could not fetch it again.
func TestLastCopy(t *testing.T) {
	h := ingesttest.New(t)
	b := openDir(t)
	r := h.Rooms(b)
	sent := h.Send(simulate.Message{Media: []simulate.Media{ingesttest.Card}})
	if err := r.Handle(t.Context(), h.Take()); err != nil {
		t.Fatalf("inbound: %v", err)
	}
	medium := ingesttest.IDs(t, sent, 0)
	_, err := r.Store.UpdateMedia(t.Context(), medium, func(m *store.Media) error {
		m.UpstreamDeleted = time.Now()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	key := r.Store.BlobKey(medium, store.Original)
	if _, err := b.Put(t.Context(), key, strings.NewReader("cart"), 4, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Handle(t.Context(), replay(h, sent.MessageSID)); err != nil {
		t.Errorf("replay: %v", err)
	}
	if _, err := b.Stat(t.Context(), key); err != nil {
		t.Errorf("what was left of it: %v", err)
	}
}
