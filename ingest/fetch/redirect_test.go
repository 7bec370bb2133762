package fetch_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"mmspipe/ingest/fetch"
)

// tries is more than a circuit stands.
const tries = 7

// TestRedirectorIsNotBlamed: what becomes of a redirect is the target's doing. A host that
// redirects to dead, broken and forbidden ones stays open, and so do good media behind it.
func TestRedirectorIsNotBlamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + listener.Addr().String()
	listener.Close()
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	short := raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
	good := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	targets := map[string]string{"/dead": dead, "/broken": broken, "/short": short, "/forbidden": "http://10.0.0.1/", "/good": good}
	redirector := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, targets[r.URL.Path], http.StatusFound)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, dead, broken, short, good, redirector)})
	for path, reasons := range map[string][2]fetch.Reason{ // at first, and from the sixth on
		"/dead": {fetch.Network, fetch.CircuitOpen}, "/broken": {fetch.BadStatus, fetch.CircuitOpen}, "/short": {fetch.ShortBody, fetch.CircuitOpen},
		"/forbidden": {fetch.ForbiddenAddress, fetch.ForbiddenAddress},
	} {
		for i := range tries {
			reason := reasons[i/5]
			trouble := want(t, f, redirector+path, reason)
			if !trouble.Redirected || (trouble.RetryAfter > 0) != (reason == fetch.CircuitOpen) {
				t.Errorf("%s, try %d: %+v", path, i, trouble)
			}
		}
		if _, err := f.Fetch(t.Context(), redirector+"/good", nil, io.Discard); err != nil {
			t.Errorf("good media after %s: %v", path, err)
		}
	}
	for _, host := range []string{dead, broken, short} { // is left alone, whichever way leads there
		want(t, f, host, fetch.CircuitOpen)
	}
}

// TestRedirectToItself: what a host does after it redirected to itself is its own doing.
func TestRedirectToItself(t *testing.T) {
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			http.Redirect(w, r, "/b", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	})
	there := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, host+"/b", http.StatusFound) })
	back := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, there, http.StatusFound) })
	f := fetch.New(fetch.Options{Allow: allow(t, host, there, back)})
	for range 5 {
		want(t, f, host+"/a", fetch.BadStatus)
	}
	want(t, f, host+"/a", fetch.CircuitOpen)
	// The way there is good, whatever becomes of what is behind it.
	for range tries {
		_, err := f.Fetch(t.Context(), back+"/a", nil, io.Discard)
		if trouble, ok := errors.AsType[*fetch.Error](err); !ok || trouble.Reason != fetch.CircuitOpen || trouble.Host != parse(t, host).Host {
			t.Fatalf("error %v, want the circuit of %s", err, host)
		}
	}
}
