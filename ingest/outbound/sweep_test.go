package outbound_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/rest"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const erasedNumber = "+15005550199"

// TestReplay: what is lost of a message that is ready is made again, and a feed that
// has lost its ready event is told again.
func TestReplay(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small})
	b := storetest.OpenDir(t)
	r := h.Rooms(b)
	sid := h.Post(ingesttest.Form(host.URL + "/a.jpg"))
	h.Next(r)
	key := store.MediaKey{Account: h.Account, Message: sid, Media: h.ReadyOf(sid).Media[0].MediaSID}
	for _, blob := range []string{"us", store.Original} {
		if err := r.Store.DeleteBlob(t.Context(), key, blob); err != nil {
			t.Fatal(err)
		}
		h.Queue(stream.NewReplay(h.Account, sid, blob))
		h.Next(r)
		ingesttest.Whole(t, b)
	}
	wantEvents(t, h, sid, stream.EventReceived, stream.EventStored, stream.EventReady)

	m := h.Message(r, sid)
	if _, err := h.Streams.RemoveEvent(t.Context(), m.Outgoing.Ready, sid); err != nil {
		t.Fatal(err)
	}
	if rechecked, err := r.Operations.Rechecker.Recheck(t.Context(), m.DateCreated.Add(-time.Minute)); err != nil || rechecked.Queued != 1 {
		t.Fatalf("rechecked %+v, %v", rechecked, err)
	}
	if h.Message(r, sid).Outgoing.Ready != 0 {
		t.Error("the lost event is still noted")
	}
}

// TestReadyLinks: the links of a ready event open without credentials where media need
// some, and nothing else does.
func TestReadyLinks(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small, "/card": {Data: []byte(vcard), ContentType: "text/vcard"}})
	b := storetest.OpenDir(t)
	r := h.Rooms(b)
	keys := rest.NewKeys(map[string][]string{ingesttest.AccountSID: {ingesttest.Token}}, nil)
	server := httptest.NewServer(api.New(api.Options{Store: r.Store, Streams: h.Streams, Keys: keys, Links: r.Links, Log: zerolog.Nop(), MediaAuth: "required"}))
	t.Cleanup(server.Close)
	h.Setup.PublicURL = h.URL(server.URL)
	r = h.Rooms(b)
	sid := h.Post(ingesttest.Form(host.URL+"/a.jpg", host.URL+"/card"))
	h.Next(r)
	ready := h.ReadyOf(sid)
	if len(ready.Media) != 2 {
		t.Fatalf("ready %+v", ready)
	}
	for _, m := range ready.Media {
		for address, want := range map[string]int{m.URL: http.StatusOK, strings.SplitN(m.URL, "?", 2)[0]: http.StatusUnauthorized} {
			response, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != want {
				t.Errorf("%s: %d, %v; want %d", address, response.StatusCode, err, want)
			}
			if want == http.StatusOK && (int64(len(data)) != m.Bytes || response.Header.Get("Content-Type") != m.ContentType) {
				t.Errorf("%s: %d bytes of %s, want %+v", address, len(data), response.Header.Get("Content-Type"), m)
			}
		}
	}
}

// TestSweepPrepare fails every call of the bucket in turn, with and without a second
// worker at the same Job in front of it. Afterwards the message is ready, each fact
// once.
func TestSweepPrepare(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{
		"/a.jpg": jpeg(ingesttest.Noise(7, 60, 60)), "/calendar": {Data: []byte("some text"), ContentType: "text/calendar"},
	})
	var sid store.MessageSID
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			sid = h.Post(ingesttest.Form(host.URL+"/a.jpg", host.URL+"/calendar"))
			d = h.Take()
			return storetest.OpenDir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			m, err := store.New(b, nil).Message(t.Context(), h.Account, sid)
			if err != nil || m.Outgoing.Ready == 0 || m.Outgoing.Failure != nil || m.Status != "queued" {
				t.Errorf("message %+v, %+v, %v", m, m.Outgoing, err)
			}
			if ready := h.ReadyOf(sid); len(ready.Media) != 2 || ready.Media[1].ContentType != "text/calendar" || !strings.Contains(ready.Media[0].URL, "variant=us") {
				t.Errorf("ready %+v", ready)
			}
			wantEvents(t, h, sid, stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventReady)
		},
	})
}

// TestInterleavedPrepare: two workers prepare the same message, each in the middle when
// the other one takes a step. The message is ready whatever the steps are, with the type
// that only the host tells.
func TestInterleavedPrepare(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/calendar": {Data: []byte("some text"), ContentType: "text/calendar"}})
	interleaved := func(at, half int) (calls int) {
		b := storetest.OpenDir(t)
		h.Fresh()
		sid := h.Post(ingesttest.Form(host.URL + "/calendar"))
		d := h.Take()
		work := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
		calls, _ = storetest.Interleave(t, b, work, work, at, half)
		m, err := store.New(b, nil).Message(t.Context(), h.Account, sid)
		if err != nil || m.Outgoing.Ready == 0 || m.Outgoing.Failure != nil || m.Status != "queued" {
			t.Errorf("calls %d and %d: message %+v, %+v, %v", at, half, m, m.Outgoing, err)
		}
		if ready := h.ReadyOf(sid); len(ready.Media) != 1 || ready.Media[0].ContentType != "text/calendar" {
			t.Errorf("calls %d and %d: ready %+v", at, half, ready)
		}
		return calls
	}
	for at, calls := 1, 1; at <= calls; at++ {
		for half := 1; half <= calls; half++ {
			calls = interleaved(at, half)
		}
	}
}

// TestSweepFailure does the same with a message of which one medium cannot be had.
func TestSweepFailure(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small, "/gone": {Status: http.StatusGone}})
	var sid store.MessageSID
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			sid = h.Post(ingesttest.Form(host.URL+"/a.jpg", host.URL+"/gone"))
			d = h.Take()
			return storetest.OpenDir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			m, err := store.New(b, nil).Message(t.Context(), h.Account, sid)
			if err != nil || m.Outgoing.Failure == nil || m.Outgoing.Failure.Announced == 0 || m.Status != "failed" || m.ErrorCode != notDownloaded {
				t.Errorf("message %+v, %+v, %v", m, m.Outgoing, err)
			}
			wantEvents(t, h, sid, stream.EventReceived, stream.EventFailed, stream.EventStatus)
		},
	})
}

// erase erases a number.
func erase(h *ingesttest.House, number string) func(context.Context, store.Bucket) error {
	return func(ctx context.Context, b store.Bucket) error {
		_, err := h.Rooms(b).Operations.Eraser.Erase(ctx, h.Account, number, false, func(operate.Receipt) {})
		return err
	}
}

// formTo is a form with one medium to a number.
func formTo(number, media string) map[string][]string {
	form := ingesttest.Form(media)
	form.Set("To", number)
	return form
}

// TestSweepErase interrupts the erasure of a number at every call of the bucket: of a
// message that is ready, one that failed, and one that was to become ready when its
// worker died. Afterwards nothing is left, not in the ready event either.
func TestSweepErase(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small})
	var sids []string
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open:   func(t *testing.T) store.Bucket { h.Fresh(); sids = nil; return storetest.OpenDir(t) },
		Prepare: func(ctx context.Context, b store.Bucket) error {
			var last store.MessageSID
			for _, path := range []string{"/a.jpg", "/nowhere", "/a.jpg"} {
				last = h.Post(formTo(erasedNumber, host.URL+path))
				sids = append(sids, last.String())
				d := h.Take()
				if err := h.Attempt(d)(ctx, b); err != nil {
					return err
				}
				if err := d.Ack(ctx); err != nil {
					return err
				}
			}
			_, err := store.New(b, ingesttest.Secret).UpdateMessage(ctx, h.Account, last, func(m *store.Message) error { m.Outgoing.Ready = 0; return nil })
			return err
		},
		Job: erase(h, erasedNumber),
		Check: func(t *testing.T, b store.Bucket) {
			for h.Queued() > 0 { // the erasure has queued its own end
				h.Next(h.Rooms(b))
			}
			h.NoTrace(t, b, erasedNumber, sids...)
			if strings.Contains(h.Feed(), "the text") {
				t.Error("a body is in the feed")
			}
		},
	})
}

// TestSweepErased erases a message in front of every call of the worker that prepares
// it. Nothing is left but what a worker in hand may still tell of a medium.
func TestSweepErased(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small})
	var d *stream.Delivery
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			h.Post(formTo(erasedNumber, host.URL+"/a.jpg"))
			d = h.Take()
			return storetest.OpenDir(t)
		},
		Job:   func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) },
		Other: erase(h, erasedNumber),
		Check: func(t *testing.T, b store.Bucket) {
			if err := d.Ack(t.Context()); err != nil {
				t.Error(err)
			}
			for h.Queued() > 0 { // the erasure has queued its own end
				h.Next(h.Rooms(b))
			}
			for key, data := range ingesttest.Objects(t, b) {
				if strings.Contains(key+data, erasedNumber) || strings.Contains(data, "the text") {
					t.Errorf("%s: %s", key, data)
				}
			}
			if feed := h.Feed(); strings.Contains(feed, erasedNumber) || strings.Contains(feed, "the text") {
				t.Error("the feed has the number or the text")
			}
		},
	})
}
