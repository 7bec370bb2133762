package ingest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/rest"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// TestReplayOutbound: what is lost of a message that is ready is made again, and a feed
// that has lost its ready event is told again.
func TestReplayOutbound(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: picture(), contentType: "image/jpeg"}})
	b := dir(t)
	w := h.worker(b)
	sid := h.post(outgoingForm(host.URL + "/a.jpg"))
	h.work1(w)
	media := h.readyOf(sid).Media[0].MediaSID
	for _, blob := range []string{"us", store.Original} {
		if err := w.Store.DeleteBlob(t.Context(), h.account, sid, media, blob); err != nil {
			t.Fatal(err)
		}
		if _, err := h.streams.PublishJob(t.Context(), stream.Job{Kind: stream.Replay, Account: h.account, Message: sid, ID: "replay:" + blob}); err != nil {
			t.Fatal(err)
		}
		h.work1(w)
		if orphans := storetest.Audit(t, b); len(orphans) > 0 {
			t.Errorf("blobs without a record: %v", orphans)
		}
	}
	want := []string{stream.EventReceived, stream.EventStored, stream.EventReady}
	if got := h.eventTypes(sid.String()); !slices.Equal(got, want) {
		t.Errorf("events %v", got)
	}

	m := h.message(w, sid)
	if _, err := h.streams.RemoveEvent(t.Context(), m.Outgoing.Ready, sid); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Recheck(t.Context(), m.DateCreated.Add(-time.Minute)); err != nil || r.Queued != 1 {
		t.Fatalf("rechecked %+v, %v", r, err)
	}
	if h.message(w, sid).Outgoing.Ready != 0 {
		t.Error("the lost event is still noted")
	}
}

// TestReadyLinks: the links of a ready event open without credentials where media need
// some, and nothing else does.
func TestReadyLinks(t *testing.T) {
	h := newHouse(t)
	small := picture()
	host := h.newShelf(map[string]file{"/a.jpg": {data: small, contentType: "image/jpeg"}, "/card": {data: []byte(vcard), contentType: "text/vcard"}})
	w := h.worker(dir(t))
	keys := rest.NewKeys(map[string][]string{testAccount: {testToken}}, nil)
	server := httptest.NewServer(api.New(api.Options{Store: w.Store, Streams: h.streams, Keys: keys, Links: w.Links, Log: zerolog.Nop(), MediaAuth: "required"}))
	t.Cleanup(server.Close)
	w.PublicURL = h.parse(server.URL)
	sid := h.post(outgoingForm(host.URL+"/a.jpg", host.URL+"/card"))
	h.work1(w)
	ready := h.readyOf(sid)
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

// TestSweepOutbound fails every call of the bucket in turn, with and without a second
// worker at the same Job in front of it. Afterwards the message is ready, each fact
// once.
func TestSweepOutbound(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: noise(7, 60, 60), contentType: "image/jpeg"}, "/calendar": {data: []byte("some text"), contentType: "text/calendar"}})
	var sid store.MessageSID
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			sid = h.post(outgoingForm(host.URL+"/a.jpg", host.URL+"/calendar"))
			d = h.take()
			return dir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			m, err := store.New(b, nil).Message(t.Context(), h.account, sid)
			if err != nil || m.Outgoing.Ready == 0 || m.Outgoing.Failure != nil || m.Status != "queued" {
				t.Errorf("message %+v, %+v, %v", m, m.Outgoing, err)
			}
			if ready := h.readyOf(sid); len(ready.Media) != 2 || ready.Media[1].ContentType != "text/calendar" || !strings.Contains(ready.Media[0].URL, "variant=us") {
				t.Errorf("ready %+v", ready)
			}
			want := []string{stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventReady}
			if got := h.eventTypes(sid.String()); !slices.Equal(got, want) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestSweepOutboundFailure does the same with a message of which one medium cannot be
// had.
func TestSweepOutboundFailure(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: picture(), contentType: "image/jpeg"}, "/gone": {status: http.StatusGone}})
	var sid store.MessageSID
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			sid = h.post(outgoingForm(host.URL+"/a.jpg", host.URL+"/gone"))
			d = h.take()
			return dir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			m, err := store.New(b, nil).Message(t.Context(), h.account, sid)
			if err != nil || m.Outgoing.Failure == nil || m.Outgoing.Failure.Announced == 0 || m.Status != "failed" || m.ErrorCode != codeDownload {
				t.Errorf("message %+v, %+v, %v", m, m.Outgoing, err)
			}
			if got := h.eventTypes(sid.String()); !slices.Equal(got, []string{stream.EventReceived, stream.EventFailed, stream.EventStatus}) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestSweepEraseOutbound interrupts the erasure of a number at every call of the bucket:
// of a message that is ready, one that failed, and one that was to become ready when
// its worker died. Afterwards nothing is left, not in the ready event either.
func TestSweepEraseOutbound(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: picture(), contentType: "image/jpeg"}})
	var sids []simulate.Sent
	erase := func(ctx context.Context, b store.Bucket) error {
		_, err := h.eraser(b).Number(ctx, h.account, erasedNumber, false, func(Erased) {})
		return err
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open:   func(t *testing.T) store.Bucket { sids = nil; return dir(t) },
		Prepare: func(ctx context.Context, b store.Bucket) error {
			for _, path := range []string{"/a.jpg", "/nowhere", "/a.jpg"} {
				form := outgoingForm(host.URL + path)
				form.Set("To", erasedNumber)
				sid := h.post(form)
				sids = append(sids, simulate.Sent{MessageSID: sid.String()})
				d := h.take()
				if err := h.attempt(d)(ctx, b); err != nil {
					return err
				}
				if err := d.Ack(ctx); err != nil {
					return err
				}
			}
			last, err := store.ParseMessageSID(sids[2].MessageSID)
			if err != nil {
				return err
			}
			_, err = store.New(b, []byte("secret")).UpdateMessage(ctx, h.account, last, func(m *store.Message) error { m.Outgoing.Ready = 0; return nil })
			return err
		},
		Job: erase,
		Check: func(t *testing.T, b store.Bucket) {
			h.noTrace(t, b, erasedNumber, sids...)
			if feed := h.feed(t); strings.Contains(feed, "the text") {
				t.Error("a body is in the feed")
			}
		},
	})
}

// TestSweepOutboundErased erases a message in front of every call of the worker that
// prepares it. Nothing is left but what a worker in hand may still tell of a medium.
func TestSweepOutboundErased(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: picture(), contentType: "image/jpeg"}})
	var d *stream.Delivery
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			form := outgoingForm(host.URL + "/a.jpg")
			form.Set("To", erasedNumber)
			h.post(form)
			d = h.take()
			return dir(t)
		},
		Job: func(ctx context.Context, b store.Bucket) error { return h.attempt(d)(ctx, b) },
		Other: func(ctx context.Context, b store.Bucket) error {
			_, err := h.eraser(b).Number(ctx, h.account, erasedNumber, false, func(Erased) {})
			return err
		},
		Check: func(t *testing.T, b store.Bucket) {
			for key, data := range objects(t, b) {
				if strings.Contains(key+data, erasedNumber) || strings.Contains(data, "the text") {
					t.Errorf("%s: %s", key, data)
				}
			}
			if feed := h.feed(t); strings.Contains(feed, erasedNumber) || strings.Contains(feed, "the text") {
				t.Error("the feed has the number or the text")
			}
		},
	})
}
