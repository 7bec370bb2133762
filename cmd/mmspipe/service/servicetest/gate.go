package servicetest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"mmspipe/store"
)

// Gate is before an object store, and can be closed: every request is cut off then, as
// if nobody was there.
type Gate struct {
	Closed atomic.Bool
}

// Behind returns a backend like b, whose object store is reached through the gate.
func (g *Gate) Behind(b Backend) Backend {
	return Backend{Name: b.Name, Prepare: func(t testing.TB) ([]string, func() store.Bucket) {
		flags, open := b.Prepare(t)
		for i, flag := range flags {
			if endpoint, ok := strings.CutPrefix(flag, "--s3-endpoint="); ok {
				flags[i] = "--s3-endpoint=" + g.listen(t, endpoint)
			}
		}
		return flags, open
	}}
}

func (g *Gate) listen(t testing.TB, endpoint string) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: endpoint})
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.Closed.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
