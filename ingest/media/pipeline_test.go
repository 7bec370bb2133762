package media_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/webhook"
	"mmspipe/store/storetest"
)

// TestManyMedia: a message of 200 media whose host hangs takes no more files than one of
// the ten that the provider sends, and all of its media are stored when the host is back.
func TestManyMedia(t *testing.T) {
	const media, atOnce = 200, 10
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("there is no /proc that tells of open files")
	}
	t.Setenv("TMPDIR", t.TempDir()) // of the spools
	h := ingesttest.New(t)
	var asked atomic.Int64
	var mu sync.Mutex
	most := int64(0) // that were open at once
	look := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, spools(t))
		return most
	}
	back := make(chan struct{})
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		look()
		select {
		case <-back:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprint(w, r.URL.Path)
	}))
	t.Cleanup(host.Close)
	h.Permit(host.URL)
	form := url.Values{"AccountSid": {ingesttest.AccountSID}, "MessageSid": {"MM00000000000000000000000000000001"}, "NumMedia": {strconv.Itoa(media)}}
	for i := range media {
		form.Set("MediaUrl"+strconv.Itoa(i), fmt.Sprint(host.URL, "/", i))
		form.Set("MediaContentType"+strconv.Itoa(i), "text/plain")
	}
	hook, err := webhook.Parse(form)
	if err != nil {
		t.Fatal(err)
	}
	d := h.Deliver(hook.Job(h.Rooms(storetest.OpenDir(t)).Store))
	r := h.Rooms(storetest.OpenDir(t))
	var first sync.WaitGroup
	first.Go(func() { _ = r.Handle(t.Context(), d) }) // what is busy meanwhile is tried again below
	h.Eventually("the host is asked", func() bool { return asked.Load() >= 4 })
	if n := look(); n == 0 || n > atOnce {
		t.Errorf("%d files are open while the host hangs, want 1 to %d", n, atOnce)
	}
	close(back)
	first.Wait()
	if err := r.Handle(t.Context(), d); err != nil {
		t.Error(err)
	}
	if n := look(); n > atOnce {
		t.Errorf("%d files were open, want %d at most", n, atOnce)
	}
	stored, err := r.Store.ListMedia(t.Context(), hook.Account, hook.Message)
	if err != nil || len(stored) != media {
		t.Errorf("%d media are stored, %v", len(stored), err)
	}
	if n := spools(t); n != 0 {
		t.Errorf("%d files are left open", n)
	}
}

// spools counts the files of this process that are open in the directory of spools, or were
// removed from there.
func spools(t *testing.T) (n int64) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	for _, fd := range open {
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(target, os.TempDir()+"/medium-") {
			n++
		}
	}
	return n
}
