package fetch_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
)

// clock is the time of a cache and of a host.
type clock struct{ atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time            { return time.Unix(0, c.Load()).UTC() }
func (c *clock) pass(d time.Duration)      { c.Add(int64(d)) }
func (c *clock) at(d time.Duration) string { return c.now().Add(d).Format(http.TimeFormat) }

// open opens a cache that goes by the clock.
func (c *clock) open(t testing.TB, dir string, maxBytes int64) *fetch.Cache {
	t.Helper()
	cache, err := fetch.OpenCache(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	cache.SetClock(c.now)
	return cache
}

// host counts what it is asked for. It answers with a body, or 304 to what it
// named in an earlier answer.
type host struct {
	clock  *clock
	mu     sync.Mutex
	header http.Header
	body   string
	seen   []string // of each request: 200 or 304, with its condition
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.Header().Set("Date", h.clock.at(0))
	maps.Copy(w.Header(), h.header)
	if w.Header().Get("Date") == "" {
		w.Header()["Date"] = nil // none is sent
	}
	tag, since := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
	if tag != "" && tag == h.header.Get("Etag") || tag == "" && since != "" && since == h.header.Get("Last-Modified") {
		h.seen = append(h.seen, "304")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.seen = append(h.seen, "200")
	w.Header().Set("Content-Length", fmt.Sprint(len(h.body)))
	_, _ = io.WriteString(w, h.body)
}

// answer sets what the host says from now on: name, value, name, value.
func (h *host) answer(body string, fields ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.body, h.header = body, http.Header{}
	for pair := range slices.Chunk(fields, 2) {
		h.header.Add(pair[0], pair[1])
	}
}

// asked returns what was seen since the last call, "-" if nothing.
func (h *host) asked() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.seen = nil }()
	if len(h.seen) == 0 {
		return "-"
	}
	return strings.Join(h.seen, "+")
}

// wantBody fetches by way of the cache.
func wantBody(t *testing.T, f *fetch.Fetcher, address, want string) fetch.Response {
	t.Helper()
	var got strings.Builder
	response, err := f.FetchCached(t.Context(), address, &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != want || response.Size != int64(len(want)) {
		t.Fatalf("body %.40q of %d bytes, want %.40q", got.String(), response.Size, want)
	}
	return response
}

// TestCacheRules: what a host says against what it is asked at the first use, at a
// second one 30 seconds later, and at a third one 90 seconds after that. Dates are
// written as their distance from the first use.
func TestCacheRules(t *testing.T) {
	for _, c := range []struct {
		fields string // name: value; …
		want   string
	}{
		// Freshness that the host gives.
		{`Cache-Control: max-age=60`, "200 - 200"},
		{`Cache-Control: max-age=60; Etag: "a"`, "200 - 304"},
		{`Cache-Control: max-age=60; Last-Modified: -24h`, "200 - 304"},
		{`Cache-Control: max-age=3600`, "200 - -"},
		{`Cache-Control: MAX-AGE="3600"`, "200 - -"},
		{`Cache-Control: public, max-age=3600, immutable`, "200 - -"},
		{`Cache-Control: public; Cache-Control: max-age=3600`, "200 - -"},
		{`Cache-Control: max-age=0, s-maxage=3600`, "200 - -"},
		{`Cache-Control: max-age=3600, s-maxage=0; Etag: "a"`, "200 304 304"},
		{`Cache-Control: max-age=99999999999999999999`, "200 - -"},
		{`Cache-Control: max-age=3600; Age: 3590; Etag: "a"`, "200 304 304"},
		{`Cache-Control: max-age=3600; Age: 3500; Etag: "a"`, "200 - 304"},
		{`Cache-Control: max-age=3600; Age: soon`, "200 - -"},
		{`Cache-Control: max-age=3600; Date: -2h; Etag: "a"`, "200 304 304"},
		{`Cache-Control: max-age=60; Date: 2h; Etag: "a"`, "200 - 304"},
		{`Expires: 60s`, "200 - 200"},
		{`Expires: 60s; Etag: "a"`, "200 - 304"},
		{`Expires: 60s; Date: 30s; Etag: "a"`, "200 304 304"},
		{`Expires: 0; Last-Modified: -24h`, "200 304 304"},
		{`Expires: -24h; Etag: "a"`, "200 304 304"},
		{`Expires: -24h; Cache-Control: max-age=3600`, "200 - -"},
		{`Cache-Control: max-age=60, must-revalidate; Etag: "a"`, "200 - 304"},
		// None: a tenth of the age, at most an hour.
		{`Last-Modified: -10m`, "200 - 304"},
		{`Last-Modified: -24h`, "200 - -"},
		{`Last-Modified: -1s`, "200 304 304"},
		{`Last-Modified: 24h`, "200 304 304"},
		{`Etag: "a"`, "200 304 304"},
		{`Etag: W/"a"`, "200 304 304"},
		{``, "200 200 200"},
		// What is to be validated before each use.
		{`Cache-Control: no-cache; Etag: "a"`, "200 304 304"},
		{`Cache-Control: no-cache; Last-Modified: -24h`, "200 304 304"},
		{`Cache-Control: no-cache, max-age=3600; Etag: "a"`, "200 304 304"},
		{`Cache-Control: no-cache="Set-Cookie", max-age=3600; Etag: "a"`, "200 304 304"},
		{`Cache-Control: no-cache`, "200 200 200"},
		// What is not to be kept.
		{`Cache-Control: no-store; Etag: "a"`, "200 200 200"},
		{`Cache-Control: no-store, max-age=3600`, "200 200 200"},
		{`Cache-Control: max-age=3600; Cache-Control: no-store`, "200 200 200"},
		{`Cache-Control: no-cache=Set-Cookie,no-store; Etag: "a"`, "200 200 200"},
		{`Cache-Control: private, max-age=3600; Etag: "a"`, "200 200 200"},
		{`Cache-Control: private="Set-Cookie", max-age=3600; Etag: "a"`, "200 200 200"},
		{`Cache-Control: max-age=soon; Etag: "a"`, "200 200 200"},
		{`Cache-Control: max-age=3600; Vary: *`, "200 200 200"},
		{`Cache-Control: max-age=3600; Vary: Accept, *`, "200 200 200"},
		{`Cache-Control: max-age=3600; Vary: Accept-Encoding, User-Agent`, "200 - -"},
	} {
		t.Run(c.fields, func(t *testing.T) {
			clock := newClock()
			h := &host{clock: clock}
			var fields []string
			for field := range strings.SplitSeq(c.fields, "; ") {
				name, value, ok := strings.Cut(field, ": ")
				if d, err := time.ParseDuration(value); err == nil && value != "0" && name != "Age" {
					value = clock.at(d)
				}
				if ok {
					fields = append(fields, name, value)
				}
			}
			h.answer("picture", fields...)
			origin := serve(t, h.ServeHTTP)
			f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: clock.open(t, t.TempDir(), 1<<20)})
			var got []string
			for _, pause := range []time.Duration{0, 30 * time.Second, 90 * time.Second} {
				clock.pass(pause)
				wantBody(t, f, origin+"/p?x=y", "picture")
				got = append(got, h.asked())
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("asked %s, want %s", got, c.want)
			}
		})
	}
}

// newCached returns a host, its origin, and a fetcher with a cache in dir.
func newCached(t *testing.T, dir string, maxBytes int64) (*host, string, *fetch.Fetcher) {
	t.Helper()
	h := &host{clock: newClock()}
	origin := serve(t, h.ServeHTTP)
	return h, origin, fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, maxBytes)})
}

func wantAsked(t *testing.T, h *host, want string) {
	t.Helper()
	if got := h.asked(); got != want {
		t.Fatalf("the host was asked %s, want %s", got, want)
	}
}

// TestHeuristic: without a word of the host's, a response that is old is fresh for
// an hour.
func TestHeuristic(t *testing.T) {
	h, origin, f := newCached(t, t.TempDir(), 1<<20)
	h.answer("one", "Last-Modified", h.clock.at(-365*24*time.Hour))
	wantBody(t, f, origin, "one")
	h.clock.pass(59 * time.Minute)
	wantBody(t, f, origin, "one")
	wantAsked(t, h, "200")
	h.clock.pass(2 * time.Minute)
	wantBody(t, f, origin, "one")
	wantAsked(t, h, "304")
}

// TestRevalidate: what a host says with a 304 holds from then on, and what has
// changed is replaced.
func TestRevalidate(t *testing.T) {
	h, origin, f := newCached(t, t.TempDir(), 1<<20)
	h.answer("one", "Etag", `"1"`, "Cache-Control", "max-age=60", "Content-Type", "image/png")
	if r := wantBody(t, f, origin, "one"); r.Cached || r.ContentType != "image/png" {
		t.Errorf("first use: %+v", r)
	}
	if r := wantBody(t, f, origin, "one"); !r.Cached || r.ContentType != "image/png" {
		t.Errorf("second use: %+v", r)
	}
	wantAsked(t, h, "200")
	// A 304 makes it fresh for longer than it was.
	h.clock.pass(time.Hour)
	h.answer("one", "Etag", `"1"`, "Cache-Control", "max-age=7200", "Content-Type", "image/png")
	if r := wantBody(t, f, origin, "one"); !r.Cached || r.ContentType != "image/png" {
		t.Errorf("confirmed: %+v", r)
	}
	h.clock.pass(time.Hour)
	wantBody(t, f, origin, "one")
	wantAsked(t, h, "304")
	// Another tag is another body, and the old one is gone.
	h.clock.pass(2 * time.Hour)
	h.answer("two", "Etag", `"2"`, "Cache-Control", "max-age=60")
	if r := wantBody(t, f, origin, "two"); r.Cached {
		t.Errorf("changed: %+v", r)
	}
	wantBody(t, f, origin, "two")
	wantAsked(t, h, "200")
	// A 304 without fields keeps those that were there.
	h.clock.pass(time.Hour)
	h.answer("", "Etag", `"2"`)
	wantBody(t, f, origin, "two")
	wantBody(t, f, origin, "two")
	wantAsked(t, h, "304")
	// A 304 may forbid to keep it, and so may another answer.
	for _, tag := range []string{`"2"`, `"3"`} {
		h.clock.pass(time.Hour)
		h.answer("two", "Etag", tag, "Cache-Control", "no-store")
		wantBody(t, f, origin, "two")
		h.asked()
		h.answer("two", "Etag", `"2"`, "Cache-Control", "max-age=60")
		wantBody(t, f, origin, "two")
		wantAsked(t, h, "200")
	}
	// Age and Date are those of the 304, or none.
	h.answer("three", "Etag", `"3"`, "Cache-Control", "max-age=3600", "Age", "3600", "Date", h.clock.at(-time.Hour))
	wantBody(t, f, origin+"/aged", "three")
	h.answer("three", "Etag", `"3"`, "Date", "")
	wantBody(t, f, origin+"/aged", "three")
	wantBody(t, f, origin+"/aged", "three")
	wantAsked(t, h, "200+304")
	h.answer("two", "Etag", `"2"`, "Cache-Control", "max-age=60")
	// A clock that is set back makes nothing fresh.
	h.clock.pass(-24 * time.Hour)
	wantBody(t, f, origin, "two")
	wantAsked(t, h, "304")
}

// TestMisledRevalidate: a 304 that names another response than the one that is
// stored is no answer, and one that nobody asked for is an error.
func TestMisledRevalidate(t *testing.T) {
	asked, clock := 0, newClock()
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/bare" && asked == 1 {
			picture("max-age=60")(w, r)
			return
		}
		w.Header().Set("Etag", fmt.Sprintf(`"%d"`, asked))
		if r.Header.Get("If-None-Match") != "" || r.URL.Path == "/bare" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "body ", asked)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: clock.open(t, t.TempDir(), 1<<20)})
	wantBody(t, f, origin+"/bare", "picture")
	clock.pass(time.Hour)
	_, err := f.FetchCached(t.Context(), origin+"/bare", io.Discard)
	if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Status != http.StatusNotModified {
		t.Errorf("304 to a request without a condition: %v", err)
	}
	wantBody(t, f, origin, "body 3")
	wantBody(t, f, origin, "body 5")
}

// TestStaleHost: nothing stale is served when the host fails, and it is still
// there for a 304 when that works again.
func TestStaleHost(t *testing.T) {
	h, _, _ := newCached(t, t.TempDir(), 1<<20)
	var down atomic.Bool
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		h.ServeHTTP(w, r)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, t.TempDir(), 1<<20)})
	h.answer("one", "Etag", `"1"`, "Cache-Control", "max-age=60")
	wantBody(t, f, origin, "one")
	down.Store(true)
	wantBody(t, f, origin, "one") // fresh: its host is not asked
	h.clock.pass(time.Hour)
	var got bytes.Buffer
	_, err := f.FetchCached(t.Context(), origin, &got)
	if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Status != http.StatusBadGateway || got.Len() != 0 {
		t.Errorf("error %v and %d bytes, want the host's error alone", err, got.Len())
	}
	down.Store(false)
	wantBody(t, f, origin, "one")
	wantAsked(t, h, "200+304")
}
