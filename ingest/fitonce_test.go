package ingest

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mmspipe/ingest/fetch"
	"mmspipe/store"
	"mmspipe/store/storetest"

	"github.com/rs/zerolog"
)

// TestOutboundOnce: fifty messages with one picture download it once and fit it once
// for each profile, also after a restart. Each keeps its own bytes.
func TestOutboundOnce(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: noise(5, 900, 900), contentType: "image/jpeg", header: http.Header{"Cache-Control": {"max-age=3600"}}}})
	cached := t.TempDir()
	b := dir(t)
	var lines logBuffer
	start := func() *Worker {
		w := h.worker(b)
		bodies, err := fetch.OpenCache(cached+"/media", 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		if w.FitCache, err = fetch.OpenCache(cached+"/fit", 64<<20); err != nil {
			t.Fatal(err)
		}
		if w.Route, err = NewRoute(nil, h.profile); err != nil {
			t.Fatal(err)
		}
		w.Fetcher = fetch.New(fetch.Options{Upstream: w.Upstream, Allow: h.allow, Cache: bodies})
		w.Log = zerolog.New(&lines)
		return w
	}
	form := outgoingForm(host.URL + "/a.jpg")
	tollFree := outgoingForm(host.URL + "/a.jpg")
	tollFree.Set("From", "+18005550100")
	var sids []store.MessageSID
	for range 25 {
		sids = append(sids, h.post(form), h.post(tollFree))
	}
	w := start()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	ready := func() bool {
		return !slices.ContainsFunc(sids, func(sid store.MessageSID) bool {
			m, err := w.Store.Message(t.Context(), h.account, sid)
			return err != nil || m.Outgoing.Ready == 0
		})
	}
	h.eventually("all are ready", ready)
	stop()
	running.Wait()
	sids = append(sids, h.post(form))
	h.work1(start())
	if !ready() {
		t.Error("the last is not ready")
	}
	if n := host.requests.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	if n := lines.count(`"variant":"us","type"`); n != 1 {
		t.Errorf("%d fits to us", n)
	}
	if n := lines.count(`"variant":"us-tollfree","type"`); n != 1 {
		t.Errorf("%d fits to us-tollfree", n)
	}
	if orphans := storetest.Audit(t, b); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
	first, last := h.readyOf(sids[0]), h.readyOf(sids[50])
	if err := w.Store.DeleteBlobs(t.Context(), h.account, sids[0], first.Media[0].MediaSID); err != nil {
		t.Fatal(err)
	}
	if record, err := w.Store.Media(t.Context(), h.account, sids[50], last.Media[0].MediaSID); err != nil {
		t.Error(err)
	} else if damaged, err := w.Store.Damaged(t.Context(), record); err != nil || len(damaged) > 0 {
		t.Errorf("without the first one's bytes the last lacks %v, %v", damaged, err)
	}
}

// TestFitCacheDamaged: what is kept of a fit is made again where it is not whole.
func TestFitCacheDamaged(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: noise(6, 900, 900), contentType: "image/jpeg"}})
	cached := t.TempDir()
	var lines logBuffer
	for range 3 {
		w := h.worker(dir(t))
		var err error
		if w.FitCache, err = fetch.OpenCache(cached, 64<<20); err != nil {
			t.Fatal(err)
		}
		sid := h.post(outgoingForm(host.URL + "/a.jpg"))
		d := h.take()
		if result := w.work(zerolog.New(&lines).WithContext(t.Context()), d); result.verb != done || h.message(w, sid).Outgoing.Ready == 0 {
			t.Fatalf("verb %d, %v", result.verb, result.err)
		}
		files, err := os.ReadDir(cached)
		if err != nil || len(files) != 1 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		name := filepath.Join(cached, files[0].Name())
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := lines.count(`"variant":"us","type"`); n != 3 {
		t.Errorf("%d fits; want one for each damage", n)
	}
}

// logBuffer takes the lines of a log from many goroutines.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count is how many times the log has a text.
func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}
