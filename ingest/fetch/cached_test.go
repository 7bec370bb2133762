package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/guard"
)

// TestNeverKept: only what came whole is kept, and no failure is.
func TestNeverKept(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nEtag: \"1\"\r\n"
	for name, c := range map[string]struct {
		answer string
		reason fetch.Reason // none: it is fetched, yet not kept
	}{
		"short":             {head + "Content-Length: 10\r\n\r\nshort", fetch.ShortBody},
		"broken chunks":     {head + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", fetch.ShortBody},
		"declared too much": {head + "Content-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000), fetch.TooLarge},
		"too much":          {head + "\r\n" + strings.Repeat("x", 5000), fetch.TooLarge},
		"cut off gzip":      {head + "Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + packed(strings.Repeat("x", 4000))[:20], fetch.ShortBody},
		"bomb":              {head + "Content-Encoding: gzip\r\n\r\n" + packed(strings.Repeat("x", 5000)), fetch.TooLarge},
		"encoded":           {head + "Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx", fetch.Encoded},
		"not found":         {"HTTP/1.1 404 Not Found\r\nCache-Control: max-age=3600\r\nContent-Length: 1\r\n\r\nx", fetch.BadStatus},
		"part":              {"HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=3600\r\nContent-Length: 1\r\n\r\nx", fetch.BadStatus},
		"to the end":        {head + "\r\nx", ""}, // which a broken connection looks like
		"large fields":      {head + "Content-Type: " + strings.Repeat("x", 5000) + "\r\nContent-Length: 1\r\n\r\nx", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			origin := raw(t, c.answer)
			f := fetch.New(fetch.Options{MaxBytes: 4999, Allow: allow(t, origin), Cache: newClock().open(t, dir, 1<<20)})
			for range 2 {
				response, err := f.FetchCached(t.Context(), origin, io.Discard)
				trouble, _ := errors.AsType[*fetch.Error](err)
				if c.reason == "" && err != nil || c.reason != "" && (trouble == nil || trouble.Reason != c.reason) || response.Cached {
					t.Errorf("response %+v, error %v", response, err)
				}
			}
			if n := diskUse(t, dir); n != 0 {
				t.Errorf("%d bytes are kept", n)
			}
		})
	}
}

// TestSmallerLimit: what was kept under a larger limit is too large under a
// smaller one.
func TestSmallerLimit(t *testing.T) {
	dir := t.TempDir()
	h, origin, f := newCached(t, dir, 1<<20)
	h.answer("picture", "Cache-Control", "max-age=3600")
	wantBody(t, f, origin, "picture")
	cache := h.clock.open(t, dir, 1<<20)
	f = fetch.New(fetch.Options{MaxBytes: 6, Allow: allow(t, origin), Cache: cache})
	_, err := f.FetchCached(t.Context(), origin, io.Discard)
	if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Reason != fetch.TooLarge {
		t.Errorf("error %v, want reason %s", err, fetch.TooLarge)
	}
}

// TestCachedRedirect: a redirect is asked for at each use, and its end only when it
// has to be. Where it leads is checked as ever.
func TestCachedRedirect(t *testing.T) {
	h, end, _ := newCached(t, t.TempDir(), 1<<20)
	h.answer("one", "Etag", `"1"`, "Cache-Control", "max-age=60")
	var redirects atomic.Int32
	var to atomic.Value
	to.Store(end + "/one")
	start := serve(t, func(w http.ResponseWriter, r *http.Request) {
		redirects.Add(1)
		w.Header().Set("Cache-Control", "max-age=3600")
		http.Redirect(w, r, to.Load().(string), http.StatusMovedPermanently)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, start, end), Cache: h.clock.open(t, t.TempDir(), 1<<20)})
	wantBody(t, f, start, "one")
	wantBody(t, f, start, "one")
	wantBody(t, f, end+"/one", "one")
	wantAsked(t, h, "200")
	h.clock.pass(time.Hour)
	wantBody(t, f, start, "one")
	wantAsked(t, h, "304")
	to.Store(end + "/two")
	wantBody(t, f, start, "one")
	wantAsked(t, h, "200")
	if got := redirects.Load(); got != 4 {
		t.Errorf("the redirect was asked for %d times, want 4", got)
	}
	to.Store("http://127.0.0.1:1/")
	_, err := f.FetchCached(t.Context(), start, io.Discard)
	if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Reason != fetch.ForbiddenAddress {
		t.Errorf("a redirect inside: %v", err)
	}
}

// TestUncached: Fetch neither uses nor fills the cache, nothing of upstream is
// kept, and without a cache there is still an answer.
func TestUncached(t *testing.T) {
	h, origin, f := newCached(t, t.TempDir(), 1<<20)
	h.answer("picture", "Cache-Control", "max-age=3600")
	for range 2 {
		if r, err := f.Fetch(t.Context(), origin, nil, io.Discard); err != nil || r.Cached {
			t.Errorf("response %+v, error %v", r, err)
		}
	}
	wantBody(t, f, origin, "picture")
	if r, err := f.Fetch(t.Context(), origin, nil, io.Discard); err != nil || r.Cached {
		t.Errorf("response %+v, error %v", r, err)
	}
	wantAsked(t, h, "200+200+200+200")
	dir := t.TempDir()
	toUpstream := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, origin, http.StatusFound) })
	f = fetch.New(fetch.Options{Upstream: parse(t, origin), Allow: allow(t, origin, toUpstream), Cache: h.clock.open(t, dir, 1<<20)})
	for _, address := range []string{origin, origin, toUpstream, toUpstream} {
		wantBody(t, f, address, "picture")
	}
	wantAsked(t, h, "200+200+200+200")
	if n := diskUse(t, dir); n != 0 {
		t.Errorf("%d bytes of upstream are kept", n)
	}
	f = fetch.New(fetch.Options{Allow: allow(t, origin)})
	wantBody(t, f, origin, "picture")
	wantBody(t, f, origin, "picture")
	wantAsked(t, h, "200+200")
	_, err := f.FetchCached(t.Context(), "ftp://h/", io.Discard)
	if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Reason != fetch.UnsupportedScheme {
		t.Errorf("ftp: %v", err)
	}
}

// TestCacheKeys: what is another request is another entry, and what is not sent
// makes none.
func TestCacheKeys(t *testing.T) {
	h, origin, f := newCached(t, t.TempDir(), 1<<20)
	h.answer("picture", "Cache-Control", "max-age=3600")
	for _, c := range []struct{ address, want string }{
		{origin + "/a", "200"},
		{origin + "/a#fragment", "-"},
		{strings.Replace(origin, "//", "//u:p@", 1) + "/a", "-"},
		{origin + "/a?", "200"},
		{origin + "/a?x=1", "200"},
		{origin + "/a?x=2", "200"},
		{origin + "/A", "200"},
		{origin + "/%61", "200"},
		{origin + "/a", "-"},
		{origin + "/a?x=1", "-"},
	} {
		wantBody(t, f, c.address, "picture")
		if got := h.asked(); got != c.want {
			t.Errorf("%s: the host was asked %s, want %s", c.address, got, c.want)
		}
	}
}

// gate is a host that says when it is asked, and answers when it is told to.
type gate struct {
	asked   chan struct{}
	answers chan http.HandlerFunc
	left    chan struct{} // by a client that got no answer
}

func newGate(t *testing.T) (*gate, string) {
	g := &gate{make(chan struct{}, 100), make(chan http.HandlerFunc, 100), make(chan struct{}, 100)}
	return g, serve(t, func(w http.ResponseWriter, r *http.Request) {
		g.asked <- struct{}{}
		select {
		case answer := <-g.answers:
			answer(w, r)
		case <-r.Context().Done():
			g.left <- struct{}{}
		}
	})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func picture(control string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", control)
		fmt.Fprint(w, "picture")
	}
}

// waiter is a context that says when somebody begins to wait for its end.
type waiter struct {
	context.Context
	waits func()
}

func (w waiter) Done() <-chan struct{} {
	w.waits()
	return w.Context.Done()
}

// crowd is one caller that asks the host, and others that wait for what comes.
type crowd struct {
	leave  context.CancelFunc // of the one who asks
	first  chan error         // of the one who asks
	others chan error
}

const crowded = 5 // others

func gather(t *testing.T, f *fetch.Fetcher, g *gate, address string) crowd {
	t.Helper()
	fetchInto := func(ctx context.Context, result chan error) {
		var got bytes.Buffer
		_, err := f.FetchCached(ctx, address, &got)
		if err == nil && got.String() != "picture" {
			err = fmt.Errorf("body %q", got.String())
		}
		result <- err
	}
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	c := crowd{leave, make(chan error, 1), make(chan error, crowded)}
	go fetchInto(ctx, c.first)
	<-g.asked
	var waiting sync.WaitGroup
	waiting.Add(crowded)
	for range crowded {
		go fetchInto(waiter{t.Context(), sync.OnceFunc(waiting.Done)}, c.others)
	}
	waiting.Wait()
	return c
}

// TestShared: callers that ask for one URL at once share what comes, where that
// may be shared.
func TestShared(t *testing.T) {
	g, origin := newGate(t)
	dir := t.TempDir()
	f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: newClock().open(t, dir, 1<<20), Slots: 32})
	finish := func(c chan error, n int, reason fetch.Reason) {
		t.Helper()
		for range n {
			err := <-c
			if trouble, _ := errors.AsType[*fetch.Error](err); reason == "" && err != nil || reason != "" && (trouble == nil || trouble.Reason != reason) {
				t.Errorf("error %v, want reason %q", err, reason)
			}
		}
	}
	t.Run("a picture", func(t *testing.T) {
		c := gather(t, f, g, origin+"/picture")
		g.answers <- picture("max-age=3600")
		finish(c.first, 1, "")
		finish(c.others, crowded, "")
	})
	t.Run("an error", func(t *testing.T) {
		c := gather(t, f, g, origin+"/error")
		g.answers <- status(http.StatusNotFound)
		finish(c.first, 1, fetch.BadStatus)
		finish(c.others, crowded, fetch.BadStatus)
		c = gather(t, f, g, origin+"/error") // it is not kept
		g.answers <- picture("max-age=3600")
		finish(c.first, 1, "")
		finish(c.others, crowded, "")
	})
	t.Run("what is not to be shared", func(t *testing.T) {
		c := gather(t, f, g, origin+"/no-store")
		g.answers <- picture("no-store")
		finish(c.first, 1, "")
		for range crowded { // side by side
			<-g.asked
		}
		for range crowded {
			g.answers <- picture("no-store")
		}
		finish(c.others, crowded, "")
	})
	t.Run("who asks leaves", func(t *testing.T) {
		c := gather(t, f, g, origin+"/left")
		c.leave()
		if err := <-c.first; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v of who left", err)
		}
		<-g.left
		<-g.asked // another one asks
		g.answers <- picture("max-age=3600")
		finish(c.others, crowded, "")
	})
	t.Run("who waits leaves", func(t *testing.T) {
		c := gather(t, f, g, origin+"/impatient")
		ctx, cancel := context.WithCancel(t.Context())
		_, err := f.FetchCached(waiter{ctx, cancel}, origin+"/impatient", io.Discard)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		g.answers <- picture("max-age=3600")
		finish(c.first, 1, "")
		finish(c.others, crowded, "")
	})
	if len(g.asked) != 0 {
		t.Errorf("%d requests too many", len(g.asked))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.FetchCached(ctx, origin+"/picture", io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after the end of the context", err)
	}
}

// full fails after some bytes.
type full int

func (f *full) Write(p []byte) (int, error) {
	if *f -= full(len(p)); *f < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// TestFullDestination: what a caller can not take is its error alone, and half of
// a body is not kept.
func TestFullDestination(t *testing.T) {
	h, origin, f := newCached(t, t.TempDir(), 1<<20)
	body := strings.Repeat("x", 200_000)
	h.answer(body, "Cache-Control", "max-age=3600")
	for range 2 {
		dst := full(100_000)
		_, err := f.FetchCached(t.Context(), origin, &dst)
		if _, ofHost := errors.AsType[*fetch.Error](err); err == nil || ofHost {
			t.Errorf("error %v, want that of dst", err)
		}
	}
	wantBody(t, f, origin, body)
	wantAsked(t, h, "200+200+200")
	dst := full(100_000)
	if _, err := f.FetchCached(t.Context(), origin, &dst); err == nil {
		t.Error("no error of dst for what is kept")
	}
	wantAsked(t, h, "-")
}

// TestFreshTakesNoSlot: what is fresh is served while all of its host's slots are
// taken, and while its circuit is open.
func TestFreshTakesNoSlot(t *testing.T) {
	g, origin := newGate(t)
	f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: newClock().open(t, t.TempDir(), 1<<20), Slots: 1})
	g.answers <- picture("max-age=3600")
	wantBody(t, f, origin+"/fresh", "picture")
	<-g.asked
	held := make(chan error)
	go func() {
		_, err := f.Fetch(t.Context(), origin+"/slow", nil, io.Discard)
		held <- err
	}()
	<-g.asked
	wantBody(t, f, origin+"/fresh", "picture")
	g.answers <- picture("")
	if err := <-held; err != nil {
		t.Error(err)
	}
	for range 5 {
		g.answers <- status(http.StatusInternalServerError)
		want(t, f, origin, fetch.BadStatus)
	}
	want(t, f, origin, fetch.CircuitOpen)
	wantBody(t, f, origin+"/fresh", "picture")
}

// TestManyAtOnce: entries come, are read, go and are replaced side by side, and
// nobody gets anything but what the host sent for the URL.
func TestManyAtOnce(t *testing.T) {
	clock := newClock()
	var version atomic.Int64
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("Etag", fmt.Sprintf(`"%d"`, version.Add(1)))
		_, _ = io.WriteString(w, strings.Repeat(r.URL.Path, 5000))
	})
	f := fetch.New(fetch.Options{Allow: allow(t, origin), Cache: clock.open(t, t.TempDir(), 60_000), Slots: 64, Patience: time.Minute})
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := range 50 {
				path := fmt.Sprintf("/%d", (i+n)%5)
				var got bytes.Buffer
				if _, err := f.FetchCached(t.Context(), origin+path, &got); err != nil || got.String() != strings.Repeat(path, 5000) {
					t.Errorf("%s: %d bytes, error %v", path, got.Len(), err)
				}
				clock.pass(300 * time.Millisecond)
			}
		})
	}
	callers.Wait()
}

// BenchmarkFresh is a use of what is fresh, of a usual picture and the largest.
func BenchmarkFresh(b *testing.B) {
	for _, size := range []int{500 << 10, 32 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=3600")
				w.Header().Set("Content-Length", fmt.Sprint(size))
				_, _ = w.Write(make([]byte, size))
			}))
			defer server.Close()
			cache, err := fetch.OpenCache(b.TempDir(), 1<<30)
			if err != nil {
				b.Fatal(err)
			}
			allows, err := guard.Parse("127.0.0.0/8:" + server.URL[strings.LastIndexByte(server.URL, ':')+1:])
			if err != nil {
				b.Fatal(err)
			}
			f := fetch.New(fetch.Options{Allow: allows, Cache: cache})
			if _, err := f.FetchCached(b.Context(), server.URL, io.Discard); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if r, err := f.FetchCached(b.Context(), server.URL, io.Discard); err != nil || !r.Cached {
					b.Fatal(r, err)
				}
			}
		})
	}
}
