package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/link"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// waiting is a house whose API waits for media.
func waiting(t *testing.T, wait time.Duration) *house {
	t.Helper()
	h := newHouse(t, "public")
	server := httptest.NewServer(api.New(api.Options{
		Store: h.store, Streams: h.streams, MediaAuth: "public", Links: link.New([]byte("secret")),
		Keys: rest.NewKeys(map[string][]string{account: {token}}, nil), Log: zerolog.Nop(), MediaWait: wait,
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	h.origin = server.URL
	return h
}

// work queues a Job of the house's message.
func (h *house) work() {
	h.t.Helper()
	if _, err := h.streams.PublishJob(h.t.Context(), stream.NewInbound(h.account, h.message, "1", "", nil)); err != nil {
		h.t.Fatal(err)
	}
}

// TestAwait: a medium that is asked for while its message is worked on is answered
// as soon as it is stored.
func TestAwait(t *testing.T) {
	h := waiting(t, time.Hour)
	h.work()
	answered := make(chan string, 1)
	go func() {
		_, body := h.call("GET", medium(1), nil)
		answered <- body
	}()
	h.put(1, "image/jpeg", "picture")
	if body := <-answered; body != "picture" {
		t.Errorf("answer %q", body)
	}
}

// TestAwaitInVain: what nobody is working on is not found at once, although there is
// an hour to wait, and so is what was deleted; what does not come, in time.
func TestAwaitInVain(t *testing.T) {
	h := waiting(t, time.Hour)
	want := func(h *house, n int) {
		t.Helper()
		if response, body := h.call("GET", medium(n), nil); response.StatusCode != http.StatusNotFound {
			t.Errorf("medium %d: %s %s", n, response.Status, body)
		}
	}
	want(h, 1)
	h.work()
	deleted := h.put(2, "image/jpeg", "picture")
	if _, err := h.store.UpdateMedia(t.Context(), deleted.Key(), func(m *store.Media) error {
		m.Deleted = time.Now()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want(h, 2)
	impatient := waiting(t, time.Millisecond)
	impatient.work()
	want(impatient, 1)
}
