package operate_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// recheck rechecks the last hour.
func recheck(h *ingesttest.House, r *ingesttest.Rooms) operate.Rechecked {
	h.Helper()
	found, err := r.Operations.Rechecker.Recheck(h.Context(), time.Now().Add(-time.Hour))
	if err != nil {
		h.Fatal(err)
	}
	return found
}

// TestRecheck takes away what a power cut may take: of some media a blob, of one
// the record too. What is lost is made again, what is whole is left alone, and
// nothing is announced a second time.
func TestRecheck(t *testing.T) {
	h := ingesttest.New(t)
	bucket := dir(t)
	r := h.Rooms(bucket)
	sent, whole := h.Send(simulate.Message{Media: slices.Repeat(jpeg(), 3)}), h.Send(simulate.Message{Media: jpeg()})
	if err := finish(t.Context(), h, bucket); err != nil {
		t.Fatal(err)
	}
	third := r.Store.BlobKey(ingesttest.IDs(t, sent, 2), "")
	for _, key := range []string{
		r.Store.BlobKey(ingesttest.IDs(t, sent, 0), store.Original),
		r.Store.BlobKey(ingesttest.IDs(t, sent, 1), "thumb"),
		third + "us",
		strings.TrimSuffix(third, "/") + ".json",
	} {
		if err := bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if found := recheck(h, r); found != (operate.Rechecked{Events: 6, Damaged: 3, Queued: 3}) {
		t.Fatalf("found %+v", found)
	}
	if err := finish(t.Context(), h, bucket); err != nil {
		t.Fatal(err)
	}
	if found := recheck(h, r); found != (operate.Rechecked{Events: 6}) {
		t.Fatalf("when all is whole: found %+v", found)
	}
	if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
	want := []string{stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventStored}
	if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if n := h.Twilio.Downloads(whole.MediaSIDs[0]); n != 1 {
		t.Errorf("what was whole was downloaded %d times", n)
	}
	if n := h.Twilio.Downloads(sent.MediaSIDs[1]); n != 1 {
		t.Errorf("the original that was there was downloaded %d times", n)
	}
}

// natsIn has a house work with a server that keeps its streams in a directory, and returns
// what stops it.
func natsIn(t *testing.T, h *ingesttest.House, dir string) (stop func()) {
	t.Helper()
	running, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	running.Start()
	conn, err := nats.Connect("", nats.InProcessServer(running))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		conn.Close()
		running.Shutdown()
		running.WaitForShutdown()
	})
	t.Cleanup(stop)
	if h.Streams, err = stream.Open(t.Context(), conn, stream.Options{}); err != nil {
		t.Fatal(err)
	}
	return stop
}

// everyFact has every kind of event happen that a record implies: to an inbound message,
// to one that is ready, to one that is sent and to one that is given up.
func everyFact(t *testing.T, h *ingesttest.House, b store.Bucket) {
	t.Helper()
	refusing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refusing.Close)
	h.Permit(refusing.URL)
	cards := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/card" {
			w.WriteHeader(http.StatusGone)
			return
		}
		w.Header().Set("Content-Type", ingesttest.Card.ContentType)
		_, _ = w.Write(ingesttest.Card.Data)
	}))
	t.Cleanup(cards.Close)
	h.Permit(cards.URL)
	do := func(job stream.Job) {
		t.Helper()
		h.Queue(job)
		if err := finish(t.Context(), h, b); err != nil {
			t.Fatal(err)
		}
	}
	post := func(path string) {
		t.Helper()
		form := url.Values{"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {"text"}, "MediaUrl": {cards.URL + path}}
		do(stream.NewOutbound(store.NewOutgoing(h.Account, store.NewMessageSID(true), form, time.Now().UTC())))
	}

	sent := h.Twilio.Host(simulate.Message{Media: []simulate.Media{ingesttest.JPEG, ingesttest.Card, gone}}, time.Now())
	hook, err := webhook.Parse(sent.Form)
	if err != nil {
		t.Fatal(err)
	}
	do(hook.Job(store.New(nil, ingesttest.Secret)))
	do(stream.NewDeleteMedia(ingesttest.IDs(t, sent, 1)))
	// An application that refuses the webhook is given up at once.
	h.Setup.Targets, h.Setup.GiveUp = map[store.AccountSID]*url.URL{h.Account: h.URL(refusing.URL)}, time.Nanosecond
	h.Queue(stream.NewForward(hook.Job(store.New(nil, ingesttest.Secret)), false))
	if err := finish(t.Context(), h, b); err != nil {
		t.Fatal(err)
	}
	h.Setup.Targets, h.Setup.GiveUp = nil, 24*time.Hour
	if r, err := h.Rooms(b).Operations.Copies.Delete(t.Context(), time.Now().Add(time.Hour), false, nil); err != nil || r.Media != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	post("/card")
	post("/gone")
	h.Setup.Relay = true
	h.Twilio.Script(simulate.Outcome{Callbacks: []string{}})
	post("/card")
}

// TestRecheckEvents: whatever event of a record an unclean stop has taken from the feed,
// it is put back as it was, and no other is told again.
func TestRecheckEvents(t *testing.T) {
	h := ingesttest.New(t)
	b, kept := dir(t), t.TempDir()
	stop := natsIn(t, h, kept)
	restart := func() { // the server remembers the ids of what it had until then
		stop()
		stop = natsIn(t, h, kept)
	}
	everyFact(t, h, b)

	all := h.Events("")
	told := map[string]int{} // how often, by type, and for failures by what failed
	for _, e := range all {
		if e.Type == stream.EventStatus { // no record implies it
			continue
		}
		told[kindOf(e)]++
		t.Run(strings.ReplaceAll(kindOf(e), "/", " "), func(t *testing.T) {
			message := strings.Split(e.ID, ":")[2]
			if removed, err := h.Streams.RemoveEvent(t.Context(), e.Sequence, sid(store.ParseMessageSID(message))); err != nil || !removed {
				t.Fatalf("%s is not removed: %v", e.ID, err)
			}
			restart()
			r := h.Rooms(b)
			found := recheck(h, r)
			if over(h, e, message) {
				if found.Damaged != 0 || found.Queued != 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if found.Damaged != 1 || found.Queued != 1 {
				t.Errorf("found %+v", found)
			}
			if e.Type == stream.EventReady { // whoever does the work again announces it
				d := h.Take()
				if err := h.Attempt(d)(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if err := d.Ack(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			wantOnce(t, h, e)
			if again := recheck(h, r); again.Damaged != 0 {
				t.Errorf("again: found %+v", again)
			}
			// The replays would try again what failed, which is a new fact.
			for h.Queued() > 0 {
				if err := h.Take().Ack(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	for kind, n := range map[string]int{
		stream.EventReceived: 4, stream.EventStored: 4, stream.EventDeleted: 1, stream.EventUpstreamDeleted: 1, stream.EventReady: 2, stream.EventSent: 1,
		stream.EventFailed + " medium": 1, stream.EventFailed + " message": 1, stream.EventFailed + " forward": 1,
	} {
		if told[kind] != n {
			t.Errorf("%d events %s were there to be lost, want %d; all: %v", told[kind], kind, n, told)
		}
	}
}

// over tells whether an event is of no use any more: that a medium was stored that is
// deleted now, and that a message is ready that was sent.
func over(h *ingesttest.House, e ingesttest.Event, message string) bool {
	h.Helper()
	return slices.ContainsFunc(h.Events(message), func(later ingesttest.Event) bool {
		return e.Type == stream.EventReady && later.Type == stream.EventSent ||
			e.Type == stream.EventStored && later.ID == strings.Replace(e.ID, "stored:", "deleted:", 1)
	})
}

// kindOf is the type of an event, and of a failure what failed.
func kindOf(e ingesttest.Event) string {
	switch {
	case e.Type != stream.EventFailed:
		return e.Type
	case strings.Contains(e.ID, ":forward:"):
		return e.Type + " forward"
	case strings.Contains(e.ID, ":ME"):
		return e.Type + " medium"
	}
	return e.Type + " message"
}

// wantOnce wants an event to be in the feed once, with the data that it had. Those of a
// ready event have links that were signed anew.
func wantOnce(t *testing.T, h *ingesttest.House, e ingesttest.Event) {
	t.Helper()
	n := 0
	for _, now := range h.Events("") {
		if now.ID != e.ID {
			continue
		}
		n++
		if now.Type != e.Type || e.Type != stream.EventReady && string(now.Data) != string(e.Data) {
			t.Errorf("%s now says %s, and said %s", e.ID, now.JSON, e.JSON)
		}
	}
	if n != 1 {
		t.Errorf("%s is %d times in the feed", e.ID, n)
	}
}
