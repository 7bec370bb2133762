package ingest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// callingWorker is a worker over a bucket that asks the simulated API.
func (h *house) callingWorker(b store.Bucket) *Worker {
	w := h.worker(b)
	w.API = upstream.New(h.parse(h.twilio.Origin()), w.Accounts)
	return w
}

// replay queues a Job that asks upstream, too, and takes it.
func (h *house) replay(message string) *stream.Delivery {
	h.t.Helper()
	sid, err := store.ParseMessageSID(message)
	if err != nil {
		h.t.Fatal(err)
	}
	job := stream.Job{Kind: stream.Replay, Account: h.account, Message: sid, ID: "test:" + message, Data: []byte(stream.FromUpstream)}
	if _, err := h.streams.PublishJob(h.t.Context(), job); err != nil {
		h.t.Fatal(err)
	}
	return h.take()
}

// TestRecall fails every call of the bucket in turn while a message is replayed
// whose webhook never came. Afterwards it is stored as if it had come.
func TestRecall(t *testing.T) {
	h := newHouse(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	card := simulate.Media{Data: []byte("BEGIN:VCARD\nEND:VCARD\n"), ContentType: "text/vcard"}
	var sent simulate.Sent
	var d *stream.Delivery
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			sent = h.twilio.Host(simulate.Message{From: "+1", To: "+2", Body: "text", Media: []simulate.Media{card, card}, Outbound: true}, at)
			d = h.replay(sent.MessageSID)
			return dir(t)
		},
		Job: func(ctx context.Context, b store.Bucket) error { return h.callingWorker(b).work(ctx, d).err },
		Check: func(t *testing.T, b store.Bucket) {
			s := store.New(b, []byte("secret"))
			for i := range 2 {
				message, media := ids(t, sent, i)
				m, err := s.Message(t.Context(), h.account, message)
				if err != nil || m.From != "+1" || m.To != "+2" || m.Body != "text" || m.NumMedia != 2 || !m.DateCreated.Equal(at) ||
					m.Direction != store.OutboundAPI || m.Form.Get("MediaUrl1") != sent.MediaURLs[1] {
					t.Errorf("message %+v, %v", m, err)
				}
				if record, err := s.Media(t.Context(), h.account, message, media); err != nil || record.Announced == 0 || record.Index != i {
					t.Errorf("record %+v, %v", record, err)
				}
			}
			want := []string{stream.EventReceived, stream.EventStored, stream.EventStored}
			if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, want) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestRecallWebhook: the webhook of a message that was recalled comes after all,
// and is a repeat of it.
func TestRecallWebhook(t *testing.T) {
	h := newHouse(t)
	w := h.callingWorker(dir(t))
	sent := h.twilio.Host(simulate.Message{Body: "text", Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}}, time.Now())
	if result := w.work(t.Context(), h.replay(sent.MessageSID)); result.err != nil {
		t.Fatal(result.err)
	}
	if _, err := h.twilio.Repeat(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if result := w.work(t.Context(), h.take()); result.err != nil {
		t.Fatal(result.err)
	}
	if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventStored}) {
		t.Errorf("events %v", got)
	}
}

// TestRecallNothing: a message that upstream does not have is a failure, and one
// whose media are not all listed yet is tried again.
func TestRecallNothing(t *testing.T) {
	h := newHouse(t)
	w := h.callingWorker(dir(t))
	const unknown = "MM00000000000000000000000000000404"
	if result := w.work(t.Context(), h.replay(unknown)); result.verb != done {
		t.Errorf("a message that is not there: %+v", result)
	}
	if got := h.eventTypes(unknown); !slices.Equal(got, []string{stream.EventFailed}) {
		t.Errorf("events %v", got)
	}
	sent := h.twilio.Host(simulate.Message{Late: 1, Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}}, time.Now())
	d := h.replay(sent.MessageSID)
	if result := w.work(t.Context(), d); result.verb != retry {
		t.Errorf("a message whose media are late: %+v", result)
	}
	if result := w.work(t.Context(), d); result.verb != done {
		t.Errorf("a message whose media have come: %+v", result)
	}
}

// TestComplete: a message whose webhook named one medium of three, and promised
// two, gets those that upstream lists.
func TestComplete(t *testing.T) {
	h := newHouse(t)
	w := h.callingWorker(dir(t))
	card := simulate.Media{Data: []byte("card"), ContentType: "text/vcard"}
	sent := h.twilio.Host(simulate.Message{Media: []simulate.Media{card, card, card}}, time.Now())
	for _, name := range []string{"MediaUrl1", "MediaContentType1", "MediaUrl2", "MediaContentType2"} {
		sent.Form.Del(name)
	}
	sent.Form.Set("NumMedia", "2")
	hook, err := parseWebhook(sent.Form)
	if err != nil {
		t.Fatal(err)
	}
	job := stream.Job{Kind: stream.Inbound, Account: h.account, Message: hook.message, ID: hook.jobID(), Data: []byte(sent.Form.Encode())}
	if _, err := h.streams.PublishJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if result := w.work(t.Context(), h.take()); result.verb != done {
		t.Fatalf("inbound: %+v", result)
	}
	message, _ := ids(t, sent, 0)
	if m, err := w.Store.Message(t.Context(), h.account, message); err != nil || len(m.Failures) != 1 {
		t.Fatalf("message %+v, %v; want one failure", m, err)
	}
	if result := w.work(t.Context(), h.replay(sent.MessageSID)); result.verb != done {
		t.Fatalf("replay: %+v", result)
	}
	m, err := w.Store.Message(t.Context(), h.account, message)
	media, err2 := w.Store.ListMedia(t.Context(), h.account, message)
	if err != nil || err2 != nil || m.NumMedia != 3 || len(m.Failures) != 0 || len(media) != 3 {
		t.Errorf("message %+v, %d media, %v, %v", m, len(media), err, err2)
	}
}

// TestLastCopy: a damaged original of which upstream has no copy any more is not
// removed by a replay, which could not fetch it again.
func TestLastCopy(t *testing.T) {
	h := newHouse(t)
	b := dir(t)
	w := h.callingWorker(b)
	sent := h.send(simulate.Message{Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}})
	if result := w.work(t.Context(), h.take()); result.verb != done {
		t.Fatalf("inbound: %+v", result)
	}
	message, media := ids(t, sent, 0)
	_, err := w.Store.UpdateMedia(t.Context(), h.account, message, media, func(m *store.Media) error {
		m.UpstreamDeleted = time.Now()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	key := w.Store.BlobKey(h.account, message, media, store.Original)
	if _, err := b.Put(t.Context(), key, strings.NewReader("cart"), 4, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if result := w.work(t.Context(), h.replay(sent.MessageSID)); result.verb != done {
		t.Errorf("replay: %+v", result)
	}
	if _, err := b.Stat(t.Context(), key); err != nil {
		t.Errorf("what was left of it: %v", err)
	}
}

// TestVerdictUpstream: what the API answers for good is given up at once, the rest
// in the end.
func TestVerdictUpstream(t *testing.T) {
	for status, want := range map[int]verb{
		0: retry, http.StatusNotFound: failed, http.StatusBadRequest: failed, http.StatusUnauthorized: retry,
		http.StatusTooManyRequests: retry, http.StatusServiceUnavailable: retry,
	} {
		err := &upstream.Error{Status: status}
		if got := verdict(err, time.Minute, time.Hour); got != want {
			t.Errorf("%d: verb %d, want %d", status, got, want)
		}
		if got := verdict(err, time.Hour, time.Hour); got != failed {
			t.Errorf("%d after the time to give up: verb %d", status, got)
		}
	}
}
