package simulate_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mmspipe/ingest/simulate"
)

func TestReset(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL})
	data := []byte(strings.Repeat("x", 100000))
	sent, _ := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: data, Always: simulate.Reset}}})
	_, _, err := get(t.Context(), t, sent.MediaURLs[0])
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	if s.Requests(sent.MediaSIDs[0]) != 1 || s.Downloads(sent.MediaSIDs[0]) != 1 {
		t.Errorf("%d requests, %d downloads", s.Requests(sent.MediaSIDs[0]), s.Downloads(sent.MediaSIDs[0]))
	}
}

func TestDirectForbidden(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL, Direct: true})
	for f, want := range map[simulate.Fault]int{simulate.Forbidden: 403, simulate.RedirectLoop: 307} {
		sent, _ := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: []byte("x"), Always: f}}})
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, sent.MediaURLs[0], nil)
		request.SetBasicAuth(account, token)
		r, err := http.DefaultTransport.RoundTrip(request)
		if err != nil || r.StatusCode != want {
			t.Errorf("%s direct: %v %v", f, r, err)
			continue
		}
		_ = r.Body.Close()
	}
}

func TestSeed(t *testing.T) {
	var sids [2]string
	for i := range sids {
		h := newHandler(t, 200)
		s := start(t, simulate.Options{Webhook: h.URL, Seed: 7})
		sent, _ := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: []byte("x")}}})
		for range i {
			_, _, _ = get(t.Context(), t, sent.MediaURLs[0])
		}
		next, _ := s.Send(t.Context(), simulate.Message{})
		sids[i] = next.MessageSID
	}
	if sids[0] != sids[1] {
		t.Errorf("second SID depends on fetches: %v", sids)
	}
}

func TestDefaultRetry(t *testing.T) {
	var calls atomic.Int32
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(h.Close)
	for fragment, want := range map[string]int32{"": 1, "#rc=3&rp=5xx": 1, "#rc=2&rp=rt": 3} {
		calls.Store(0)
		s := start(t, simulate.Options{Webhook: h.URL + fragment})
		_, _ = s.Send(context.Background(), simulate.Message{Body: "x"})
		if calls.Load() != want {
			t.Errorf("%q: cut after the request was received: %d calls, want %d", fragment, calls.Load(), want)
		}
	}
}

func TestErrorXML(t *testing.T) {
	s := start(t, simulate.Options{})
	r, _ := http.NewRequest("GET", s.Origin()+"/a&b%3Cc", nil)
	r.SetBasicAuth(account, token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	var v struct{ XMLName xml.Name }
	if err := xml.Unmarshal(body, &v); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	h := newHandler(t, 200)
	s.SetWebhook(h.URL)
	sent, _ := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Always: simulate.Unauthorized}}})
	resp, text, _ := get(t.Context(), t, sent.MediaURLs[0])
	if !strings.Contains(text, "<Code>20003<") || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("401 fault: %v %s", resp.Header, text)
	}
}
