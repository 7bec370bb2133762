package media_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/outbound/route"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"

	"github.com/rs/zerolog"
)

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

// fits is how many pictures were fitted to a profile, as the log tells.
func (l *logBuffer) fits(profile string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), `"variant":"`+profile+`","type"`)
}

// cache opens a cache in a folder, as a process does that starts.
func cache(t *testing.T, folder string) *fetch.Cache {
	t.Helper()
	c, err := fetch.OpenCache(folder, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOnce: fifty messages with one picture download it once and fit it once for each
// profile, also after a restart. Each keeps its own bytes.
func TestOnce(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": {
		Data: ingesttest.Noise(5, 900, 900), ContentType: "image/jpeg", Header: http.Header{"Cache-Control": {"max-age=3600"}},
	}})
	b, bodies, fits := storetest.OpenDir(t), t.TempDir(), t.TempDir()
	var log logBuffer
	h.Setup.Log = zerolog.New(&log)
	var err error
	if h.Setup.Route, err = route.New(nil, h.Setup.Profile, "US"); err != nil {
		t.Fatal(err)
	}
	start := func() *ingesttest.Rooms {
		h.Setup.Bodies, h.Setup.Fits = cache(t, bodies), cache(t, fits)
		return h.Rooms(b)
	}
	form, tollFree := ingesttest.Form(host.URL+"/a.jpg"), ingesttest.Form(host.URL+"/a.jpg")
	tollFree.Set("From", "+18005550100")
	var sids []store.MessageSID
	for range 25 {
		sids = append(sids, h.Post(form), h.Post(tollFree))
	}
	h.WorkAll(start())
	sids = append(sids, h.Post(form))
	r := start()
	h.Work(r)
	if i := slices.IndexFunc(sids, func(sid store.MessageSID) bool { return h.Message(r, sid).Outgoing.Ready == 0 }); i >= 0 {
		t.Fatalf("message %d of %d is not ready", i, len(sids))
	}
	if n := host.Requests(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	if us, tollFree := log.fits("us"), log.fits("us-tollfree"); us != 1 || tollFree != 1 {
		t.Errorf("%d fits to us, %d to us-tollfree", us, tollFree)
	}
	ingesttest.Whole(t, b)
	first, last := medium(h, sids[0]), medium(h, sids[50])
	if err := r.Store.DeleteBlobs(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if record, err := r.Store.Media(t.Context(), last); err != nil {
		t.Error(err)
	} else if damaged, err := r.Store.Damaged(t.Context(), record); err != nil || len(damaged) > 0 {
		t.Errorf("without the first one's bytes the last lacks %v, %v", damaged, err)
	}
}

// medium is the only medium of a message that is ready.
func medium(h *ingesttest.House, message store.MessageSID) store.MediaKey {
	h.Helper()
	ready := h.ReadyOf(message)
	if len(ready.Media) != 1 {
		h.Fatalf("ready %+v", ready)
	}
	return store.MediaKey{Account: h.Account, Message: message, Media: ready.Media[0].MediaSID}
}

// TestIncomingOnce: the same picture in many incoming messages is fitted once for each
// share of the limit that it has, and an outgoing message that gives it as many bytes
// takes what was made. That holds after a restart, too.
func TestIncomingOnce(t *testing.T) {
	h := ingesttest.New(t)
	picture := simulate.Media{Data: ingesttest.Noise(8, 900, 900), ContentType: "image/jpeg"}
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": {Data: picture.Data, ContentType: picture.ContentType}})
	b, fits := storetest.OpenDir(t), t.TempDir()
	var log logBuffer
	h.Setup.Log = zerolog.New(&log)
	start := func() *ingesttest.Rooms {
		h.Setup.Fits = cache(t, fits)
		return h.Rooms(b)
	}
	alone, pair := simulate.Message{Media: []simulate.Media{picture}}, simulate.Message{Media: []simulate.Media{picture, picture}}
	var sent []simulate.Sent
	for range 8 {
		sent = append(sent, h.Send(alone), h.Send(pair))
	}
	h.WorkAll(start())
	sent = append(sent, h.Send(alone), h.Send(pair))
	posted := h.Post(ingesttest.Form(host.URL + "/a.jpg"))
	r := start()
	h.WorkAll(r)
	if n := log.fits("us"); n != 2 {
		t.Errorf("%d fits; want one with all of the limit and one with half", n)
	}
	if h.Message(r, posted).Outgoing.Ready == 0 {
		t.Error("the outgoing message is not ready")
	}
	hashes := map[string]bool{}
	for _, s := range sent {
		for i := range s.MediaSIDs {
			record, err := r.Store.Media(t.Context(), ingesttest.IDs(t, s, i))
			if err != nil || record.Announced == 0 || len(record.Variants) != 2 || record.Width != 900 || record.Height != 900 {
				t.Fatalf("medium %d of %d: %+v, %v", i, len(s.MediaSIDs), record, err)
			}
			hashes[record.Variants[0].SHA256] = true
			if limit := int64(h.Setup.Profile.Target(len(s.MediaSIDs)).MaxBytes); record.Variants[0].Size > limit {
				t.Errorf("%d bytes of %d", record.Variants[0].Size, limit)
			}
		}
	}
	if len(hashes) != 2 {
		t.Errorf("%d different pictures were made", len(hashes))
	}
	ingesttest.Whole(t, b)
}

// TestFitCacheDamaged: what is kept of a fit is made again where it is not whole.
func TestFitCacheDamaged(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": {Data: ingesttest.Noise(6, 900, 900), ContentType: "image/jpeg"}})
	fits := t.TempDir()
	var log logBuffer
	h.Setup.Log = zerolog.New(&log)
	for range 3 {
		h.Setup.Fits = cache(t, fits)
		r := h.Rooms(storetest.OpenDir(t))
		sid := h.Post(ingesttest.Form(host.URL + "/a.jpg"))
		h.Work(r)
		if h.Message(r, sid).Outgoing.Ready == 0 {
			t.Fatal("the message is not ready")
		}
		files, err := os.ReadDir(fits)
		if err != nil || len(files) != 1 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		name := filepath.Join(fits, files[0].Name())
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := log.fits("us"); n != 3 {
		t.Errorf("%d fits; want one for each damage", n)
	}
}
