package fetch_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/guard"
)

// serve runs a handler on loopback and returns its origin.
func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// raw answers every connection with these bytes and closes it.
func raw(t *testing.T, answer string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, answer)
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// allow permits the ports of these origins on loopback, as an operator would.
func allow(t *testing.T, origins ...string) []guard.Allow {
	t.Helper()
	var entries []string
	for _, o := range origins {
		entries = append(entries, "127.0.0.0/8:"+parse(t, o).Port())
	}
	a, err := guard.Parse(strings.Join(entries, ","))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// want fetches and wants an error with this reason.
func want(t *testing.T, f *fetch.Fetcher, address string, reason fetch.Reason) *fetch.Error {
	t.Helper()
	_, err := f.Fetch(t.Context(), address, nil, io.Discard)
	var trouble *fetch.Error
	if !errors.As(err, &trouble) || trouble.Reason != reason {
		t.Fatalf("error %v, want reason %s", err, reason)
	}
	return trouble
}

func TestFetch(t *testing.T) {
	body := bytes.Repeat([]byte("media"), 100_000)
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("credentials were sent to a host that is not upstream")
		}
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q", got)
		}
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(body)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, origin)})
	var got bytes.Buffer
	// The user information of a URL is no reason to send any.
	address := strings.Replace(origin, "http://", "http://user:secret@", 1)
	response, err := f.Fetch(t.Context(), address+"/m?x=y#z", &fetch.Credentials{Username: "AC", Password: "token"}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if response.ContentType != "image/jpeg" || response.Size != int64(len(body)) || !bytes.Equal(got.Bytes(), body) {
		t.Errorf("response %+v with %d bytes, want %d", response, got.Len(), len(body))
	}
}

func TestCredentials(t *testing.T) {
	cdn := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "only one auth mechanism allowed", http.StatusBadRequest)
		}
	})
	var upstream string
	upstream = serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/again": // a redirect to upstream itself
			if user != "" {
				t.Error("credentials were sent after a redirect")
			}
		case user != "AC" || password != "token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/home":
			http.Redirect(w, r, upstream+"/again", http.StatusFound)
		default:
			http.Redirect(w, r, cdn+"/file?Signature=secret", http.StatusTemporaryRedirect)
		}
	})
	cred := &fetch.Credentials{Username: "AC", Password: "token"}
	f := fetch.New(fetch.Options{Upstream: parse(t, upstream), Allow: allow(t, cdn)})
	if _, err := f.Fetch(t.Context(), upstream+"/media", cred, io.Discard); err != nil {
		t.Errorf("with credentials: %v", err)
	}
	_, err := f.Fetch(t.Context(), upstream+"/media", &fetch.Credentials{Username: "AC", Password: "wrong"}, io.Discard)
	var trouble *fetch.Error
	if !errors.As(err, &trouble) || trouble.Status != 401 || !trouble.Authenticated || trouble.Redirected {
		t.Errorf("with wrong credentials: %#v", err)
	}
	// Upstream is an exception for the first URL only.
	if trouble := func() *fetch.Error {
		_, err := f.Fetch(t.Context(), upstream+"/home", cred, io.Discard)
		e, _ := errors.AsType[*fetch.Error](err)
		return e
	}(); trouble == nil || trouble.Reason != fetch.ForbiddenAddress || !trouble.Redirected {
		t.Errorf("a redirect to upstream on a private address: %v", trouble)
	}
	f = fetch.New(fetch.Options{Upstream: parse(t, upstream), Allow: allow(t, cdn, upstream)})
	if _, err := f.Fetch(t.Context(), upstream+"/home", cred, io.Discard); err != nil {
		t.Errorf("a redirect to upstream that is allowed: %v", err)
	}
}

func TestBodies(t *testing.T) {
	const limit = 1000
	endless := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 512)); err != nil {
				return
			}
		}
	})
	exact := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, limit)) })
	declared := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, limit+1)) })
	loop := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	hops := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := len(r.URL.Path); n < 6 {
			http.Redirect(w, r, r.URL.Path+"x", []int{301, 302, 303, 307, 308}[n-1])
		}
	})
	short := raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
	chunked := raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
	closed := raw(t, "HTTP/1.0 200 OK\r\n\r\nto the end")
	brotli := raw(t, "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx")
	noise := raw(t, "\x00\x01\x02")
	nothing := raw(t, "")
	huge := raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 128<<10)+"\r\n\r\n")

	f := fetch.New(fetch.Options{MaxBytes: limit, Allow: allow(t, endless, exact, declared, loop, hops, short, chunked, closed, brotli, noise, nothing, huge)})
	for _, u := range []string{exact, hops, closed} {
		if _, err := f.Fetch(t.Context(), u+"/", nil, io.Discard); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	want(t, f, endless, fetch.TooLarge)
	want(t, f, declared, fetch.TooLarge)
	want(t, f, loop, fetch.TooManyRedirects)
	want(t, f, short, fetch.ShortBody)
	want(t, f, chunked, fetch.ShortBody)
	want(t, f, brotli, fetch.Encoded)
	want(t, f, noise, fetch.Network)
	want(t, f, nothing, fetch.Network)
	want(t, f, huge, fetch.Network)
}

// TestBrokenAnswers: what is not an answer is a failure of the host's, and none
// of it is quoted: the echo of a request holds the query of its URL.
func TestBrokenAnswers(t *testing.T) {
	const request = "GET /m?Signature=secret HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		reason fetch.Reason
	}{
		"echo":                   {request, fetch.Network},
		"header without a colon": {"HTTP/1.1 200 OK\r\nsecret\r\n\r\n", fetch.Network},
		"header cut off":         {"HTTP/1.1 200 OK\r\nContent-Length: 1", fetch.Network},
		"two lengths":            {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nsecret", fetch.Network},
		"length below nothing":   {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nsecret", fetch.Network},
		"unknown transfer":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n", fetch.Network},
		"broken chunk":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n", fetch.Network},
		"second encoding":        {"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\n\r\nx", fetch.Encoded},
		"one byte too few":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", fetch.ShortBody},
		"redirect to a secret":   {"HTTP/1.1 302 Found\r\nLocation: ftp://u:secret@h/?secret\r\n\r\n", fetch.UnsupportedScheme},
		"redirect to noise":      {"HTTP/1.1 302 Found\r\nLocation: http://[secret\r\n\r\n", fetch.UnsupportedScheme},
		"redirect inside":        {"HTTP/1.1 302 Found\r\nLocation: http://u:secret@127.0.0.1:1/?secret\r\n\r\n", fetch.ForbiddenAddress},
	} {
		t.Run(name, func(t *testing.T) {
			origin := raw(t, c.answer)
			f := fetch.New(fetch.Options{Allow: allow(t, origin)})
			trouble := want(t, f, strings.Replace(origin, "//", "//u:secret@", 1)+"/m?Signature=secret", c.reason)
			if text := trouble.Error(); strings.Contains(text, "secret") || len(text) > 300 {
				t.Errorf("the error quotes what is foreign: %s", text)
			}
		})
	}
}

// TestHTTP2: over TLS the newer protocol is spoken, and held to the same.
func TestHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("protocol %s", r.Proto)
		}
		switch r.URL.Path {
		case "/short":
			w.Header().Set("Content-Length", "100")
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 512))
			}
			return
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 128<<10))
		case "/reset":
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	origin := server.URL
	f := fetch.New(fetch.Options{Allow: allow(t, origin), MaxBytes: 1000, ConnectTimeout: time.Second})

	// The program reads what it trusts once, at its first certificate.
	trusted := filepath.Join(t.TempDir(), "trusted.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(trusted, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", trusted)
	if _, err := f.Fetch(t.Context(), origin, nil, io.Discard); err != nil {
		t.Fatal(err)
	}
	want(t, f, origin+"/short", fetch.ShortBody)
	want(t, f, origin+"/endless", fetch.TooLarge)
	want(t, f, origin+"/headers", fetch.Network)
	want(t, f, origin+"/reset", fetch.Network)
	// The certificate is not for this name.
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	want(t, f, "https://localhost:"+port, fetch.Network)
}

// TestReset: a connection that is torn down is a failure of the network, before
// the body and within it.
func TestReset(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning"} {
		origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, answer)
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		})
		f := fetch.New(fetch.Options{Allow: allow(t, origin)})
		want(t, f, origin, fetch.Network)
	}
}

func TestLargestLimit(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "media") })
	f := fetch.New(fetch.Options{Allow: allow(t, origin), MaxBytes: math.MaxInt64})
	if response, err := f.Fetch(t.Context(), origin, nil, io.Discard); err != nil || response.Size != 5 {
		t.Errorf("response %+v, error %v", response, err)
	}
}

func TestStatus(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/429":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		case "/nowhere":
			w.WriteHeader(302)
		case "/204":
			w.WriteHeader(204)
		case "/cdn":
			http.Redirect(w, r, "/403?Signature=secret", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(403)
		}
	})
	f := fetch.New(fetch.Options{Allow: allow(t, origin)})
	for path, status := range map[string]int{"/429": 429, "/nowhere": 302, "/204": 204, "/cdn": 403, "/403": 403} {
		trouble := want(t, f, origin+path+"?Signature=secret", fetch.BadStatus)
		if trouble.Status != status || trouble.Redirected != (path == "/cdn") {
			t.Errorf("%s: %+v", path, trouble)
		}
		if path == "/429" && trouble.RetryAfter != 7*time.Second {
			t.Errorf("Retry-After %v, want 7s", trouble.RetryAfter)
		}
		if strings.Contains(trouble.Error(), "secret") {
			t.Errorf("the query is in the error: %v", trouble)
		}
	}
}

func TestTimeouts(t *testing.T) {
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	stalled := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the beginning")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	drip := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, ".")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	f := fetch.New(fetch.Options{
		Allow:          allow(t, silent, stalled, drip),
		ConnectTimeout: 50 * time.Millisecond, IdleTimeout: 100 * time.Millisecond, TotalTimeout: 500 * time.Millisecond,
	})
	for _, u := range []string{silent, stalled, drip} {
		want(t, f, u, fetch.Timeout)
	}
	// Nobody accepts here: the system takes the connection, and TLS gets no answer.
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	tls := "https://" + deaf.Addr().String()
	want(t, fetch.New(fetch.Options{Allow: allow(t, tls), ConnectTimeout: 50 * time.Millisecond}), tls, fetch.Timeout)
	// The end of the caller's context is that, and no word about the host.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Fetch(ctx, drip, nil, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}

// TestDestination: an error of where the body goes is not one of where it comes
// from.
func TestDestination(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	f := fetch.New(fetch.Options{Allow: allow(t, origin)})
	full := errors.New("no space left")
	_, err := f.Fetch(t.Context(), origin, nil, failing{full})
	if _, ofHost := errors.AsType[*fetch.Error](err); ofHost || !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
}

// TestSlowDestination: the time that a write takes is not the host's.
func TestSlowDestination(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100_000)) })
	f := fetch.New(fetch.Options{Allow: allow(t, origin), ConnectTimeout: time.Second, IdleTimeout: 100 * time.Millisecond})
	if _, err := f.Fetch(t.Context(), origin, nil, slow(150*time.Millisecond)); err != nil {
		t.Error(err)
	}
}

// slow is a disk that takes its time over each write.
type slow time.Duration

func (s slow) Write(p []byte) (int, error) {
	<-time.After(time.Duration(s))
	return len(p), nil
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestStalledHost: a host that holds all of its slots does not hold up another.
func TestStalledHost(t *testing.T) {
	stalled := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	fine := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	f := fetch.New(fetch.Options{
		Allow: allow(t, stalled, fine), Slots: 4, Patience: 50 * time.Millisecond, IdleTimeout: time.Minute,
	})
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error)
	for range 20 {
		go func() {
			_, err := f.Fetch(ctx, stalled, nil, io.Discard)
			results <- err
		}()
	}
	// All but the two that have its slots are told that it is busy.
	for range 18 {
		if trouble, ok := errors.AsType[*fetch.Error](<-results); !ok || trouble.Reason != fetch.Busy {
			t.Errorf("error %v, want busy", trouble)
		}
	}
	for range 10 {
		if _, err := f.Fetch(t.Context(), fine, nil, io.Discard); err != nil {
			t.Errorf("the other host: %v", err)
		}
	}
	cancel()
	for range 2 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	}
}
