package ingesttest

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"strings"
	"testing"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// Picture is a small JPEG.
func Picture() []byte {
	m := image.NewGray(image.Rect(0, 0, 40, 30))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 7)
	}
	m.SetGray(0, 0, color.Gray{255})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// JPEG is [Picture] as a medium, and Card one that is not fitted.
var (
	JPEG = simulate.Media{Data: Picture(), ContentType: "image/jpeg"}
	Card = simulate.Media{Data: []byte("BEGIN:VCARD\nEND:VCARD\n"), ContentType: "text/vcard"}
)

// Deliver queues a Job and takes it: there must be no other.
func (h *House) Deliver(job stream.Job) *stream.Delivery {
	h.Helper()
	h.Queue(job)
	return h.Take()
}

// AwaitStored waits for the record of a message's first medium.
func (h *House) AwaitStored(r *Rooms, sent simulate.Sent) {
	h.Helper()
	key := IDs(h, sent, 0)
	h.Eventually("medium "+key.Media.String()+" is stored", func() bool {
		_, err := r.Store.Media(h.Context(), key)
		return err == nil
	})
}

// NoTrace fails t if anything of a number is left in the bucket or in the feed, or of
// these messages more than SIDs, dates and the deletion of their media.
func (h *House) NoTrace(t testing.TB, b store.Bucket, number string, messages ...string) {
	t.Helper()
	hash := store.New(b, Secret).HashNumber(number)
	for key, data := range Objects(t, b) {
		if strings.Contains(key+data, number) || strings.Contains(key+data, hash) {
			t.Errorf("the number is in %s: %s", key, data)
		}
		for _, message := range messages {
			if strings.Contains(key, message) && (!strings.HasSuffix(key, ".json") || strings.HasPrefix(key, "index/")) {
				t.Errorf("%s is left", key)
			}
		}
	}
	feed := h.Feed()
	if strings.Contains(feed, hash) || strings.Contains(feed, number) {
		t.Error("the number is in the feed")
	}
	for _, message := range messages {
		for _, kind := range h.EventTypes(message) {
			if kind != stream.EventDeleted {
				t.Errorf("event %s of message %s is left", kind, message)
			}
		}
	}
}

// Objects reads all of a bucket.
func Objects(t testing.TB, b store.Bucket) map[string]string {
	t.Helper()
	all := map[string]string{}
	for after := ""; ; {
		page, err := b.List(t.Context(), "", after, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page {
			r, _, err := b.Get(t.Context(), o.Key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			all[o.Key], after = string(data), o.Key
		}
		if len(page) < 100 {
			return all
		}
	}
}
