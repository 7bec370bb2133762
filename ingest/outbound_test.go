package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// shelf is a host of media.
type shelf struct {
	*httptest.Server
	requests atomic.Int64
}

// file is what a shelf has under a path.
type file struct {
	data        []byte
	contentType string
	status      int // 200 if 0
	header      http.Header
}

// newShelf starts a host that workers may fetch from.
func (h *house) newShelf(files map[string]file) *shelf {
	s := &shelf{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		maps.Copy(w.Header(), f.header)
		w.Header().Set("Content-Type", f.contentType)
		if f.status != 0 {
			w.WriteHeader(f.status)
		}
		_, _ = w.Write(f.data)
	}))
	h.t.Cleanup(s.Close)
	h.permit(s.URL)
	return s
}

// noise is a JPEG of many bytes, another for each seed.
func noise(seed uint64, width, height int) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	m := image.NewGray(image.Rect(0, 0, width, height))
	for i := range m.Pix {
		m.Pix[i] = byte(random.UintN(256))
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const vcard = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Nobody\r\nEND:VCARD\r\n"

// outgoingForm is what a client posts.
func outgoingForm(media ...string) url.Values {
	return url.Values{"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {"the text"}, "MediaUrl": media}
}

// post queues an outgoing message as the API does, without its record.
func (h *house) post(form url.Values) store.MessageSID {
	h.t.Helper()
	sid, err := store.ParseMessageSID(fmt.Sprintf("MM%032x", queued.Add(1)))
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.streams.PublishJob(h.t.Context(), stream.Job{
		Kind: stream.Outbound, Account: h.account, Message: sid, ID: "out:" + h.account.String() + ":" + sid.String(), Data: []byte(form.Encode()),
	}); err != nil {
		h.t.Fatal(err)
	}
	return sid
}

// readyOf returns the ready event of a message.
func (h *house) readyOf(sid store.MessageSID) readyData {
	h.t.Helper()
	entries, err := h.streams.Events(h.t.Context(), stream.Query{Types: []string{stream.EventReady}}, 100_000)
	if err != nil {
		h.t.Fatal(err)
	}
	var e struct{ Data readyData }
	for _, entry := range entries {
		if strings.Contains(entry.ID, sid.String()) {
			if err := json.Unmarshal(entry.JSON, &e); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	return e.Data
}

// work1 does the next Job with a worker until there is nothing to be tried again.
func (h *house) work1(w *Worker) {
	h.t.Helper()
	d := h.take()
	for range 5 {
		result := w.work(h.t.Context(), d)
		if result.verb == done {
			if err := d.Ack(h.t.Context()); err != nil {
				h.t.Fatal(err)
			}
			return
		}
		h.t.Logf("tried again for: %v", result.err)
	}
	h.t.Fatal("the job is not done after five tries")
}

// TestOutboundShares: pictures share what a vCard leaves of the profile, none has more
// than it needs, and the ready event tells of all of them.
func TestOutboundShares(t *testing.T) {
	h := newHouse(t)
	small := picture()
	host := h.newShelf(map[string]file{
		"/a.jpg": {data: noise(1, 1500, 1500), contentType: "image/jpeg"}, "/b.jpg": {data: noise(2, 1200, 1400), contentType: "image/jpeg"},
		"/small.jpg": {data: small, contentType: "image/jpeg"}, "/card": {data: []byte(vcard), contentType: "text/x-vcard"},
	})
	w := h.worker(dir(t))
	sid := h.post(outgoingForm(host.URL+"/a.jpg", host.URL+"/card", host.URL+"/b.jpg", host.URL+"/small.jpg"))
	h.work1(w)
	message, err := w.Store.Message(t.Context(), h.account, sid)
	if err != nil || message.Status != "queued" || message.Outgoing.Ready == 0 || message.Outgoing.Profile != "us" || message.NumMedia != 4 {
		t.Fatalf("message %+v, outgoing %+v, %v", message, message.Outgoing, err)
	}
	ready := h.readyOf(sid)
	if ready.To != "+15005550200" || ready.From != "+15005550300" || ready.Body != "the text" || ready.Profile != "us" || ready.Relay || len(ready.Media) != 4 {
		t.Errorf("ready: %+v", ready)
	}
	total := int64(0)
	for i, m := range ready.Media {
		record, err := w.Store.Media(t.Context(), h.account, sid, m.MediaSID)
		if err != nil || record.Index != i || record.Announced == 0 {
			t.Errorf("medium %d: %+v, %v", i, record, err)
		}
		total += m.Bytes
		link := h.parse(m.URL)
		if expires, ok := w.Links.Verify(link.Path, link.Query(), record.DateCreated); !ok || link.Host != "mms.example.com" || expires.Sub(record.DateCreated) < linkLife-time.Minute {
			t.Errorf("link %s opens until %v", m.URL, expires)
		}
	}
	limit := int64(h.profile.MaxBytes - h.profile.Reserve)
	share := (limit - int64(len(vcard)) - int64(len(small))) / 2
	a, b := ready.Media[0].Bytes, ready.Media[2].Bytes
	if total > limit || min(a, b) < share*8/10 {
		t.Errorf("%d bytes of %d; the large ones have %d and %d of %d each", total, limit, a, b, share)
	}
	if card := ready.Media[1]; card.ContentType != "text/vcard" || card.Bytes != int64(len(vcard)) || strings.Contains(card.URL, "variant=") {
		t.Errorf("card: %+v", card)
	}
	if ready.Media[3].Bytes != int64(len(small)) || !strings.Contains(ready.Media[3].URL, "variant=us") {
		t.Errorf("small picture: %+v, %d bytes as it came", ready.Media[3], len(small))
	}
	links, err := w.mediaLinks(t.Context(), message)
	if err != nil || len(links) != 4 || !strings.HasPrefix(links[2], strings.SplitN(ready.Media[2].URL, "?", 2)[0]+"?") {
		t.Errorf("links %v, %v", links, err)
	}
	want := []string{stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventStored, stream.EventStored, stream.EventReady}
	if got := h.eventTypes(sid.String()); !slices.Equal(got, want) {
		t.Errorf("events %v", got)
	}
}
