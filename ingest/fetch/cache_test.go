package fetch_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
)

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
	use("-", "/d", "/c", "/a")
	f = fetch.New(fetch.Options{Allow: allow(t, origin), Cache: h.clock.open(t, dir, limit)})
	use("200", "/e") // d goes
	use("-", "/c", "/a", "/e")
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
