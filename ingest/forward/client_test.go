package forward_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"mmspipe/ingest/forward"
	"mmspipe/ingest/guard"
	"mmspipe/ingest/signature"
)

const token = "0123456789abcdef"

// start returns the URL of an application and a Client that may post to it.
func start(t *testing.T, handler http.HandlerFunc) (*url.URL, *forward.Client) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	allow, err := guard.Parse("127.0.0.0/8:" + u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return u, forward.NewClient(allow)
}

// TestRequest: an application sees what it would see of Twilio.
func TestRequest(t *testing.T) {
	form := url.Values{"Body": {"a b&c=d"}, "MediaUrl": {"2", "1"}}
	for _, tail := range []string{"", "/", "/sms", "/sms?a=b%20c&d", "/sms#rc=5", "?x=1"} {
		var origin string
		u, client := start(t, func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, ok := signature.Verify([]string{token}, signature.Request{
				Method: r.Method, URL: origin + r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"), Body: body,
				Signature: r.Header.Get("X-Twilio-Signature"),
			})
			user, password, _ := r.BasicAuth()
			if !ok || user != "me" || password != "p@ss" || string(body) != form.Encode() ||
				r.Header.Get("I-Twilio-Idempotency-Token") != "id" || !strings.HasPrefix(r.UserAgent(), "TwilioProxy/") {
				t.Errorf("%q: signed %v, user %q, %s, headers %v", tail, ok, user, body, r.Header)
			}
		})
		origin = u.String()
		target, err := url.Parse("http://me:p%40ss@" + u.Host + tail)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Post(t.Context(), forward.Post{URL: target, Form: form, Token: token, ID: "id"}); err != nil {
			t.Errorf("%q: %v", tail, err)
		}
	}
}

// TestAnswers: only 2xx takes a webhook, and only what Twilio reads as TwiML is
// passed on.
func TestAnswers(t *testing.T) {
	const response = "<Response/>"
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		taken                   bool
		twiML                   string
	}{
		{"TwiML", "text/xml", response, 200, true, response},
		{"with a charset", "application/xml; charset=utf-8", response, 200, true, response},
		{"text would be sent to the sender", "text/plain", "ok", 200, true, ""},
		{"not 200", "text/xml", response, 201, true, ""},
		{"nothing", "text/xml", "", 204, true, ""},
		{"empty", "text/xml", "\n", 200, true, ""},
		{"as large as may be", "text/xml", strings.Repeat("x", 64<<10), 200, true, strings.Repeat("x", 64<<10)},
		{"too large", "text/xml", strings.Repeat("x", 64<<10+1), 200, true, ""},
		{"redirect", "text/xml", response, 302, false, ""},
		{"refused", "text/xml", response, 403, false, ""},
		{"broken", "text/xml", response, 500, false, ""},
	} {
		requests := 0
		u, client := start(t, func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Content-Type", c.contentType)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		answer, err := client.Post(t.Context(), forward.Post{URL: u.JoinPath("secret"), Form: url.Values{"Body": {"secret"}}, Token: token})
		trouble, _ := errors.AsType[*forward.Error](err)
		if (err == nil) != c.taken || string(answer.TwiML) != c.twiML || requests != 1 {
			t.Errorf("%s: %d bytes of TwiML, %v, %d requests", c.name, len(answer.TwiML), err, requests)
		}
		if !c.taken && (trouble == nil || trouble.Status != c.status || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

// TestUnreachable: the error says why, without what is secret in the URL.
func TestUnreachable(t *testing.T) {
	closed, client := start(t, nil)
	gone, _ := start(t, nil)
	for target, want := range map[string]string{
		gone.String():            "not to be connected to", // another port than is permitted
		"http://10.0.0.1":        "not to be connected to",
		"ftp://" + closed.Host:   "no http or https URL",
		"http://nowhere.invalid": "does not resolve",
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.RawQuery = url.UserPassword("user", "s3cret"), "key=s3cret"
		_, err = client.Post(t.Context(), forward.Post{URL: u, Token: token})
		if _, ok := errors.AsType[*forward.Error](err); !ok || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
}

// TestBusy: a host that is slow has only so many posts under way; others do not
// wait for it.
func TestBusy(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 100)
	u, client := start(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	var posts sync.WaitGroup
	for range 4 {
		posts.Go(func() {
			if _, err := client.Post(t.Context(), forward.Post{URL: u, Token: token}); err != nil {
				t.Error(err)
			}
		})
		<-arrived
	}
	if _, err := client.Post(t.Context(), forward.Post{URL: u, Token: token}); !errors.Is(err, forward.ErrBusy) {
		t.Errorf("a fifth post: %v", err)
	}
	close(release)
	posts.Wait()
	if _, err := client.Post(t.Context(), forward.Post{URL: u, Token: token}); err != nil {
		t.Errorf("after these: %v", err)
	}
}
