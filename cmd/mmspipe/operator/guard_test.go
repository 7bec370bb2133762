package operator_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/store/rest"

	"github.com/rs/zerolog"
)

// TestGuard: the admin listener is called by its own names only, and pages of other
// origins change nothing, not even with the operator's key.
func TestGuard(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "--admin-hosts=mmspipe.internal,ops")
	u, err := url.Parse(h.Admin)
	if err != nil {
		t.Fatal(err)
	}
	port := ":" + u.Port()
	const erase = "/operator/erase?number=%2B15005550123&dryRun=true"
	for _, c := range []struct {
		name, method, path, host string
		header                   http.Header
		withKey                  bool
		want                     int
	}{
		{name: "by its address", path: "/readyz", want: http.StatusOK},
		{name: "as localhost", path: "/readyz", host: "LocalHost" + port, want: http.StatusOK},
		{name: "by IPv6", path: "/readyz", host: "[::1]" + port, want: http.StatusOK},
		{name: "a rebound name", path: "/readyz", host: "evil.example.com" + port, want: http.StatusMisdirectedRequest},
		{name: "a rebound name with the key", path: "/operator/status", host: "evil.example.com" + port, withKey: true, want: http.StatusMisdirectedRequest},
		{name: "a name that begins like localhost", path: "/readyz", host: "localhost.example.com", want: http.StatusMisdirectedRequest},
		{name: "a name of the house", path: "/operator/status", host: "mmspipe.internal" + port, withKey: true, want: http.StatusOK},
		{name: "detail by a name of the house", path: "/readyz", host: "mmspipe.internal" + port, want: http.StatusUnauthorized},
		{name: "detail by a name of the house with the key", path: "/readyz", host: "ops" + port, withKey: true, want: http.StatusOK},
		{name: "detail by an address of the network", path: "/readyz", host: "192.168.1.7" + port, want: http.StatusUnauthorized},
		{name: "no origin", method: http.MethodPost, path: erase, withKey: true, want: http.StatusOK},
		{name: "its own origin", method: http.MethodPost, path: erase, withKey: true, header: http.Header{"Origin": {h.Admin}}, want: http.StatusOK},
		{name: "another origin", method: http.MethodPost, path: erase, withKey: true, header: http.Header{"Origin": {"https://evil.example.com"}}, want: http.StatusForbidden},
		{name: "another port", method: http.MethodPost, path: erase, withKey: true, header: http.Header{"Origin": {"http://127.0.0.1:1"}}, want: http.StatusForbidden},
		{name: "cross-site", method: http.MethodPost, path: erase, withKey: true, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, want: http.StatusForbidden},
		{name: "without a key", method: http.MethodPost, path: erase, want: http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodGet
			}
			request, err := http.NewRequestWithContext(t.Context(), c.method, h.Admin+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(request.Header, c.header)
			request.Host = c.host
			if c.withKey {
				request.SetBasicAuth(operator.KeySID, h.secret)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != c.want {
				t.Errorf("answered %s, want %d", response.Status, c.want)
			}
		})
	}
}

// TestDetailFromElsewhere: whoever is not on this machine is told nothing in detail,
// even if he says that he called this machine.
func TestDetailFromElsewhere(t *testing.T) {
	api := operator.Guard(operator.New(operator.Options{Keys: rest.NewKeys(nil, nil), Log: zerolog.Nop()}), nil)
	request := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8081/readyz", nil)
	request.RemoteAddr = "192.0.2.1:1234"
	w := httptest.NewRecorder()
	api.ServeHTTP(w, request)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

// TestDependencyAway: while a dependency is away the answer is 503 and names it, and
// holds no URL of the object store.
func TestDependencyAway(t *testing.T) {
	t.Parallel()
	gate := &servicetest.Gate{}
	nats := servicetest.StartNATS(t)
	h := house{Program: servicetest.Start(t, gate.Behind(servicetest.External), "--nats-url="+nats.URL())}
	h.secret = readKey(t, h.Program)
	ask := func(method, path, body, want string) {
		t.Helper()
		contentType := ""
		if body != "" {
			contentType = form
		}
		status, answer := h.ask(method, path, contentType, body)
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, want) || strings.Contains(answer, "http://") {
			t.Errorf("%s %s: %d %s, want 503 with %q", method, path, status, answer, want)
		}
	}
	gate.Closed.Store(true)
	for _, path := range []string{"failed", "messages/MM" + strings.Repeat("0", 32)} {
		ask(http.MethodGet, path, "", "the object store does not answer")
	}
	ask(http.MethodPost, "replay", "dryRun=true", "the object store does not answer")
	ask(http.MethodPost, "erase", "dryRun=true&number=%2B15005550123", "the object store does not answer")
	ask(http.MethodPost, "reindex", "dryRun=true", "the object store does not answer")
	if status, answer := h.ask(http.MethodGet, "status", "", ""); status != http.StatusOK {
		t.Errorf("a status, which needs the queue alone: %d %s", status, answer)
	}
	if status, answer := h.ask(http.MethodGet, "messages/MM1", "", ""); status != http.StatusBadRequest {
		t.Errorf("a mistake is answered %d %s", status, answer)
	}
	gate.Closed.Store(false)
	if err := h.Twilio.Close(); err != nil {
		t.Error(err)
	}
	ask(http.MethodPost, "reconcile", "since=2026-11-23T15:04:05Z", "the provider does not answer")
	nats.Stop()
	ask(http.MethodGet, "status", "", "the queue does not answer")
	nats.Start()
	h.Eventually("the status is there again", func() bool { status, _ := h.ask(http.MethodGet, "status", "", ""); return status == http.StatusOK })
}
