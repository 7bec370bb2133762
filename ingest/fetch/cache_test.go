package fetch_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
	for name, values := range h.header {
		w.Header()[name] = values
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
	// A clock that is set back makes nothing fresh.
	h.clock.pass(-24 * time.Hour)
	wantBody(t, f, origin, "two")
	wantAsked(t, h, "304")
}

// TestMisledRevalidate: a 304 that names another response than the one that is
// stored is no answer, and one that nobody asked for is an error.
func TestMisledRevalidate(t *testing.T) {
	asked := 0
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Etag", fmt.Sprintf(`"%d"`, asked))
		if r.Header.Get("If-None-Match") != "" || r.URL.Path == "/unasked" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "body ", asked)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: newClock().open(t, t.TempDir(), 1<<20)})
	wantBody(t, f, origin, "body 1")
	wantBody(t, f, origin, "body 3")
	_, err := f.FetchCached(t.Context(), origin+"/unasked", io.Discard)
	if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Status != http.StatusNotModified {
		t.Errorf("304 to a request without a condition: %v", err)
	}
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

// TestCacheBounds: the least recently used go first, as many as have to, also
// after a restart, and what is larger than all of the cache is not kept.
func TestCacheBounds(t *testing.T) {
	dir := t.TempDir()
	const size, block = 10_000, 4 << 10
	const limit = 3*(size+block) + 100
	h, origin, f := newCached(t, dir, limit)
	body := strings.Repeat("x", size)
	use := func(want string, paths ...string) {
		t.Helper()
		for _, path := range paths {
			wantBody(t, f, origin+path, body)
			if got := h.asked(); got != want {
				t.Fatalf("%s: the host was asked %s, want %s", path, got, want)
			}
			if n := diskUse(t, dir); n > limit {
				t.Fatalf("%d bytes on disk after %s", n, path)
			}
		}
	}
	h.answer(body, "Cache-Control", "max-age=3600")
	use("200", "/a", "/b", "/c")
	use("-", "/b", "/a") // c is the oldest now
	use("200", "/d")
	use("-", "/b", "/a", "/d")
	use("200", "/c")
	use("-", "/a", "/d", "/c")
	f = fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, limit)})
	use("200", "/e") // a goes
	use("-", "/d", "/c", "/e")
	f = fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, size+block)})
	if n := diskUse(t, dir); n != size+block {
		t.Fatalf("%d bytes on disk after the limit became that of one", n)
	}
	use("-", "/e")
	body += "y"
	h.answer(body, "Cache-Control", "max-age=3600")
	use("200", "/f", "/f")
	f = fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, 0)})
	use("200", "/f", "/f")
	if n := diskUse(t, dir); n != 0 {
		t.Errorf("%d bytes on disk where none are allowed", n)
	}
}

func diskUse(t *testing.T, dir string) (total int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	return total
}

// TestCacheRestart: what is kept outlives the program, what is half written does
// not, and what is not the cache's is not touched.
func TestCacheRestart(t *testing.T) {
	dir := t.TempDir()
	h, origin, f := newCached(t, dir, 1<<20)
	h.answer("picture", "Etag", `"1"`, "Cache-Control", "max-age=60", "Content-Type", "image/png")
	wantBody(t, f, origin+"/p?token=secret", "picture")
	for _, name := range []string{"draft-123", "notes.txt", strings.Repeat("ab", 32)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f = fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, 1<<20)})
	if r := wantBody(t, f, origin+"/p?token=secret", "picture"); !r.Cached || r.ContentType != "image/png" {
		t.Errorf("after a restart: %+v", r)
	}
	wantAsked(t, h, "200")
	h.clock.pass(time.Hour)
	wantBody(t, f, origin+"/p?token=secret", "picture")
	wantAsked(t, h, "304")
	entry := entryFile(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(entry)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(entry+string(content), "secret") || bytes.Contains(content, []byte("127.0.0.1")) {
		t.Error("the URL is in the cache")
	}
}

// entryFile returns the one entry of a cache in which there are no drafts.
func entryFile(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return filepath.Base(name) == "notes.txt" })
	if len(names) != 1 || len(filepath.Base(names[0])) != 64 {
		t.Fatalf("files %q, want one entry", names)
	}
	return names[0]
}

// TestDamagedEntry: what is not what was stored is fetched again, and none of it
// reaches a caller, whether it is damaged before a restart or after.
func TestDamagedEntry(t *testing.T) {
	for name, damage := range map[string]func(content []byte) []byte{
		"nothing left":  func([]byte) []byte { return nil },
		"half a record": func(b []byte) []byte { return b[:2000] },
		"no body":       func(b []byte) []byte { return b[:4096] },
		"half a body":   func(b []byte) []byte { return b[:len(b)-1] },
		"a longer body": func(b []byte) []byte { return append(b, 'x') },
		"another body":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"zeros":         func(b []byte) []byte { return make([]byte, len(b)) },
		"removed":       nil,
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart=%v", name, restart), func(t *testing.T) {
				dir := t.TempDir()
				h, origin, f := newCached(t, dir, 1<<20)
				h.answer("picture", "Etag", `"1"`, "Cache-Control", "max-age=60")
				for range 2 {
					wantBody(t, f, origin, "picture")
					h.clock.pass(time.Hour) // stale, too: there is nothing to ask about
				}
				wantAsked(t, h, "200+304")
				file := entryFile(t, dir)
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				os.Remove(file)
				if damage != nil {
					if err := os.WriteFile(file, damage(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if restart {
					f = fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, 1<<20)})
				}
				if wantBody(t, f, origin, "picture").Cached {
					t.Error("the entry was served")
				}
				wantAsked(t, h, "200")
				wantBody(t, f, origin, "picture")
				wantAsked(t, h, "-")
			})
		}
	}
}

// TestCacheCannotBeWritten: a fetch does not fail where its response can not be
// kept.
func TestCacheCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	h, origin, f := newCached(t, dir, 1<<20)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	h.answer("picture", "Cache-Control", "max-age=60")
	wantBody(t, f, origin, "picture")
	wantBody(t, f, origin, "picture")
	wantAsked(t, h, "200+200")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// Nor where it can not be put in its place.
	wantBody(t, f, origin, "picture")
	file := entryFile(t, dir)
	os.Remove(file)
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.asked()
	wantBody(t, f, origin, "picture")
	wantBody(t, f, origin, "picture")
	wantAsked(t, h, "200+200")
	entryFile(t, dir) // no draft is left
	if _, err := fetch.OpenCache(filepath.Join(file, "in the way"), 1<<20); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch.OpenCache(filepath.Join(dir, "file"), 1<<20); err == nil {
		t.Error("a file was opened as a cache")
	}
}
