package ingesttest

import (
	"bytes"
	"image"
	"image/jpeg"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// Shelf is a host of media that workers may fetch from.
type Shelf struct {
	*httptest.Server
	requests atomic.Int64
}

// File is what a [Shelf] has under a path.
type File struct {
	Data        []byte
	ContentType string
	Status      int // 200 if 0
	Header      http.Header
}

// Shelf starts a host.
func (h *House) Shelf(files map[string]File) *Shelf {
	s := &Shelf{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		maps.Copy(w.Header(), f.Header)
		w.Header().Set("Content-Type", f.ContentType)
		if f.Status != 0 {
			w.WriteHeader(f.Status)
		}
		_, _ = w.Write(f.Data)
	}))
	h.Cleanup(s.Close)
	h.Permit(s.URL)
	return s
}

// Requests is how many requests the host got.
func (s *Shelf) Requests() int64 { return s.requests.Load() }

// Noise is a JPEG of many bytes, another for each seed.
func Noise(seed uint64, width, height int) []byte {
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

// Form is what a client posts to have a message sent with these MediaUrls.
func Form(media ...string) url.Values {
	return url.Values{"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {"the text"}, "MediaUrl": media}
}

// Post queues an outgoing message as the API does, without its record.
func (h *House) Post(form url.Values) store.MessageSID {
	h.Helper()
	m := store.NewOutgoing(h.Account, store.NewMessageSID(len(form["MediaUrl"]) > 0), form, time.Now().UTC())
	h.Queue(stream.NewOutbound(m))
	return m.SID
}

// Message is the record of a message.
func (h *House) Message(r *Rooms, sid store.MessageSID) store.Message {
	h.Helper()
	m, err := r.Store.Message(h.Context(), h.Account, sid)
	if err != nil {
		h.Fatal(err)
	}
	return m
}

// Done handles a Job until there is nothing that is to be tried again.
func (h *House) Done(r *Rooms, d *stream.Delivery) {
	h.Helper()
	const deliveries = 8
	for range deliveries {
		err := r.Handle(h.Context(), d)
		if err == nil || onlyDeleted(err) {
			return
		}
		h.Logf("tried again for: %v", err)
	}
	h.Fatalf("the job is not done after %d tries", deliveries)
}

// Next takes the next Job, handles it until it is done, and takes it off the queue.
func (h *House) Next(r *Rooms) {
	h.Helper()
	d := h.Take()
	h.Done(r, d)
	if err := d.Ack(h.Context()); err != nil {
		h.Fatal(err)
	}
}

// Whole fails t if a bucket has blobs that no record names, or records without their
// blobs.
func Whole(t testing.TB, b store.Bucket) {
	t.Helper()
	if orphans := storetest.Audit(t, b); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
}
