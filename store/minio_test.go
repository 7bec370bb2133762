package store_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

func TestOpenMinIOFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, endpoint, bucket, public string }{
		{"nobody there", closed, "bucket", ""},
		{"no answer", silent.Addr().String(), "bucket", ""},
		{"not an endpoint", "http://" + closed + "/path", "bucket", ""},
		{"not a public endpoint", closed, "bucket", "https://x/y"},
		{"not a bucket", closed, "B", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := store.OpenMinIO(ctx, store.MinIOOptions{
				Endpoint: c.endpoint, Bucket: c.bucket, PublicEndpoint: c.public, AccessKey: "ACCESSKEY", SecretKey: "SECRETKEY",
			})
			if err == nil || strings.Contains(err.Error(), "ACCESSKEY") || strings.Contains(err.Error(), "SECRETKEY") {
				t.Errorf("open: %v, want an error without keys", err)
			}
			if expired := ctx.Err() != nil; expired != (c.name == "no answer") || expired != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("open: %v; context: %v", err, ctx.Err())
			}
		})
	}
}

// A service that takes the headers of a condition and ignores them would lose
// records in silence.
func TestOpenMinIORefusesServicesWithoutConditions(t *testing.T) {
	for _, header := range []string{"If-Match", "If-None-Match"} {
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"0"`)
			if other := r.Header.Get("If-Match"); other != "" && header != "If-Match" {
				w.WriteHeader(http.StatusPreconditionFailed)
			}
		}))
		defer service.Close()
		_, err := store.OpenMinIO(t.Context(), store.MinIOOptions{Endpoint: service.Listener.Addr().String(), Bucket: "bucket"})
		if err == nil || !strings.Contains(err.Error(), header+" is not honoured") {
			t.Errorf("a service that ignores %s: %v", header, err)
		}
	}
}

func TestOpenMinIO(t *testing.T) {
	o := storetest.StartMinIO(t)
	for range 2 { // with the bucket made, and there
		m, err := store.OpenMinIO(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := m.List(t.Context(), "", "", 10); err != nil || len(list) > 0 {
			t.Errorf("the self-test left %v, %v", list, err)
		}
	}
	secret := o.SecretKey
	o.SecretKey = "another"
	if _, err := store.OpenMinIO(t.Context(), o); err == nil || strings.Contains(err.Error(), o.SecretKey) {
		t.Errorf("open with a wrong secret: %v", err)
	}
	o.SecretKey = secret
	t.Run("presign", func(t *testing.T) { testPresign(t, o) })
}

func testPresign(t *testing.T, o store.MinIOOptions) {
	const key, content = "media/x y/ü.jpg", "content"
	m, err := store.OpenMinIO(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), m, key, content, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if u, err := m.Presign(t.Context(), key, time.Minute, "image/jpeg", "inline"); err == nil {
		t.Errorf("presigned without a public endpoint: %v", u)
	}
	for _, public := range []string{o.Endpoint, "http://" + o.Endpoint, "http://" + o.Endpoint + "/"} {
		o.PublicEndpoint = public
		if m, err = store.OpenMinIO(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		const disposition = `attachment; filename="a b.jpg"`
		u, err := m.Presign(t.Context(), key, time.Minute, "image/jpeg", disposition)
		if err != nil {
			t.Fatal(err)
		}
		response, body := get(t, u)
		if response.StatusCode != http.StatusOK || body != content || response.Header.Get("Content-Type") != "image/jpeg" ||
			response.Header.Get("Content-Disposition") != disposition {
			t.Errorf("%s: %s %v %q", public, response.Status, response.Header, body)
		}
		query := u.Query()
		query.Set("response-content-type", "text/html")
		u.RawQuery = query.Encode()
		if response, body := get(t, u); response.StatusCode != http.StatusForbidden {
			t.Errorf("with another content type: %s %q", response.Status, body)
		}
	}
}

func get(t *testing.T, u *url.URL) (*http.Response, string) {
	t.Helper()
	response, err := http.Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}
