package simulate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
)

const (
	account = "AC0123456789abcdef0123456789abcdef"
	token   = "token"
)

// handler is a server of webhooks that answers with these statuses, the last one
// for good, and keeps what it got.
type handler struct {
	*httptest.Server
	calls    atomic.Int32
	requests chan *http.Request
}

func newHandler(t *testing.T, statuses ...int) *handler {
	h := &handler{requests: make(chan *http.Request, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.requests <- r
		n := int(h.calls.Add(1))
		w.WriteHeader(statuses[min(n, len(statuses))-1])
	}))
	t.Cleanup(h.Close)
	return h
}

func start(t *testing.T, o simulate.Options) *simulate.Simulator {
	t.Helper()
	o.Account, o.Token = account, token
	s, err := simulate.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestWebhook(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL + "/hook?x=y#rc=2", Seed: 1})
	sent, err := s.Send(t.Context(), simulate.Message{Body: "hi", Media: []simulate.Media{{Data: []byte("x"), ContentType: "image/png"}}})
	if err != nil || sent.Status != 200 || sent.Attempts != 1 || !strings.HasPrefix(sent.MessageSID, "MM") {
		t.Fatalf("%+v, %v", sent, err)
	}
	r := <-h.requests
	body, _ := io.ReadAll(r.Body)
	if _, ok := signature.Verify([]string{token}, signature.Request{
		Method: r.Method, URL: h.URL + r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"), Body: body, Signature: r.Header.Get("X-Twilio-Signature"),
	}); !ok {
		t.Error("the webhook is not signed for its URL without the fragment")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"MessageSid", "SmsSid", "SmsMessageSid", "AccountSid", "From", "To", "Body", "NumMedia", "NumSegments", "SmsStatus", "ApiVersion",
		"MediaUrl0", "MediaContentType0", "FromCity", "ToCountry", "ToZip",
	} {
		if !form.Has(name) {
			t.Errorf("no %s", name)
		}
	}
	if r.Header.Get("User-Agent") != "TwilioProxy/1.1" || r.Header.Get("I-Twilio-Idempotency-Token") == "" {
		t.Errorf("header %v", r.Header)
	}
	again := start(t, simulate.Options{Webhook: h.URL, Seed: 1})
	if same, err := again.Send(t.Context(), simulate.Message{Body: "hi", Media: []simulate.Media{{}}}); err != nil || same.MessageSID != sent.MessageSID {
		t.Errorf("another message %s with the same seed, %v", same.MessageSID, err)
	}
	if text, err := s.Send(t.Context(), simulate.Message{Forged: true}); err != nil || !strings.HasPrefix(text.MessageSID, "SM") {
		t.Errorf("%+v, %v", text, err)
	}
}

// TestRetries: as the fragment asks, and by default only where there was no
// connection.
func TestRetries(t *testing.T) {
	for fragment, want := range map[string]int{"": 1, "#rc=3": 1, "#rc=3&rp=5xx": 3, "#rc=3&rp=4xx": 1, "#rc=1&rp=all": 2, "#rc=9&rp=all": 3} {
		h := newHandler(t, 503, 503, 200)
		s := start(t, simulate.Options{Webhook: h.URL + fragment})
		sent, err := s.Send(t.Context(), simulate.Message{Body: "hi"})
		if err != nil || sent.Attempts != want {
			t.Errorf("%q: %d attempts, %v; want %d", fragment, sent.Attempts, err, want)
		}
	}
	gone := newHandler(t, 200)
	gone.Close()
	s := start(t, simulate.Options{Webhook: gone.URL})
	if sent, err := s.Send(t.Context(), simulate.Message{}); err == nil || sent.Attempts != 2 {
		t.Errorf("nobody there: %d attempts, %v", sent.Attempts, err)
	}
}

// get reads a medium as a careful client does: credentials to the API alone.
func get(ctx context.Context, t *testing.T, address string) (*http.Response, string, error) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for hop := 0; ; hop++ {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if hop == 0 {
			request.SetBasicAuth(account, token)
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, "", err
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		response.Body.Close()
		location := response.Header.Get("Location")
		if location == "" || hop == 3 {
			return response, string(body), err
		}
		next, err := response.Request.URL.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		address = next.String()
	}
}

func TestMedia(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL})
	sent, err := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: []byte("picture"), ContentType: "image/png"}}})
	if err != nil {
		t.Fatal(err)
	}
	address := sent.MediaURLs[0]
	response, body, err := get(t.Context(), t, address)
	if err != nil || body != "picture" || response.Header.Get("Content-Type") != "image/png" || response.Header.Get("ETag") == "" || response.ContentLength != 7 {
		t.Errorf("%v %q, %v", response, body, err)
	}
	if s.Requests(sent.MediaSIDs[0]) != 1 {
		t.Errorf("%d requests", s.Requests(sent.MediaSIDs[0]))
	}
	// Without credentials, and with them at the CDN, it refuses.
	plain, err := http.Get(address)
	if err != nil || plain.StatusCode != 401 {
		t.Errorf("without credentials: %v, %v", plain, err)
	}
	request, _ := http.NewRequest(http.MethodGet, response.Request.URL.String(), nil)
	request.SetBasicAuth(account, token)
	if r, err := http.DefaultClient.Do(request); err != nil || r.StatusCode != 400 {
		t.Errorf("credentials at the CDN: %v, %v", r, err)
	}
	if r, err := http.Get(s.CDN() + "/x?Signature=made-up"); err != nil || r.StatusCode != 403 {
		t.Errorf("a made-up link: %v, %v", r, err)
	}
	if r, _, err := get(t.Context(), t, address+"0"); err != nil || r.StatusCode != 404 {
		t.Errorf("another medium: %v, %v", r, err)
	}
}

func TestFaults(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL})
	data := bytes.Repeat([]byte("x"), 1000)
	for fault, status := range map[simulate.Fault]int{
		simulate.NotFound: 404, simulate.Unauthorized: 401, simulate.Gone: 410, simulate.TooMany: 429, simulate.ServerError: 500,
		simulate.Unavailable: 503, simulate.Forbidden: 403, simulate.WrongType: 200, simulate.RedirectLoop: 307, simulate.Endless: 200,
	} {
		sent, err := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: data, ContentType: "image/png", Faults: []simulate.Fault{fault}}}})
		if err != nil {
			t.Fatal(err)
		}
		response, body, err := get(t.Context(), t, sent.MediaURLs[0])
		if err != nil || response.StatusCode != status {
			t.Errorf("%s: %v, %v", fault, response, err)
			continue
		}
		if fault == simulate.TooMany && response.Header.Get("Retry-After") != "1" ||
			fault == simulate.WrongType && response.Header.Get("Content-Type") != "text/html" ||
			fault == simulate.Endless && len(body) != 1<<20 {
			t.Errorf("%s: %v with %d bytes", fault, response.Header, len(body))
		}
		// The fault is over, but for the loop, which asked several times.
		if response, body, err = get(t.Context(), t, sent.MediaURLs[0]); err != nil || body != string(data) {
			t.Errorf("after %s: %v, %v", fault, response, err)
		}
	}
	for _, fault := range []simulate.Fault{simulate.Reset, simulate.Truncate} {
		sent, err := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: data, Always: fault}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, body, err := get(t.Context(), t, sent.MediaURLs[0]); err == nil || len(body) > len(data)/2 {
				t.Errorf("%s: %d bytes, %v", fault, len(body), err)
			}
		}
	}
	for _, fault := range []simulate.Fault{simulate.Silent, simulate.Stall, simulate.Drip} {
		sent, err := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: data, Always: fault}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, _, err := get(ctx, t, sent.MediaURLs[0]); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want no end", fault, err)
		}
		cancel()
	}
	if fault, err := simulate.ParseFault("redirect:http://127.0.0.1:1/"); err != nil || fault != simulate.RedirectTo("http://127.0.0.1:1/") {
		t.Errorf("%s, %v", fault, err)
	}
	if _, err := simulate.ParseFault("rain"); err == nil || !strings.Contains(err.Error(), "truncate") {
		t.Errorf("error %v", err)
	}
}

func TestRun(t *testing.T) {
	h := newHandler(t, 200, 200, 503, 200)
	s := start(t, simulate.Options{Webhook: h.URL})
	report := s.Run(t.Context(), simulate.Load{
		Message: func(int) simulate.Message { return simulate.Message{Body: "hi"} }, Count: 50, Concurrency: 8,
	})
	if len(report.Sent) != 50 || report.Statuses[200] != 49 || report.Statuses[503] != 1 || len(report.Errors) != 0 ||
		report.Latency(0) <= 0 || report.Latency(1) < report.Latency(0.5) {
		t.Errorf("%d sent, %v, %v", len(report.Sent), report.Statuses, report.Errors)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if report := s.Run(ctx, simulate.Load{Message: func(int) simulate.Message { return simulate.Message{} }, Count: 1000, Rate: 1}); len(report.Sent) > 1 {
		t.Errorf("%d sent after the end", len(report.Sent))
	}
}
