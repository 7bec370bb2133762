package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
)

const (
	accountSID = "AC0123456789abcdef0123456789abcdef"
	token      = "0123456789abcdef0123456789abcdef"
)

func sid[T any](s T, err error) T {
	if err != nil {
		panic(err)
	}
	return s
}

var account = sid(store.ParseAccountSID(accountSID))

func start(t *testing.T) *simulate.Simulator {
	t.Helper()
	s, err := simulate.Start(simulate.Options{Account: accountSID, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func client(t *testing.T, origin string, tokens ...string) *upstream.Client {
	t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return upstream.New(u, map[store.AccountSID][]string{account: tokens})
}

// messages reads all messages of a time.
func messages(t *testing.T, c *upstream.Client, since, until time.Time) (all []upstream.Message, pages int) {
	t.Helper()
	for page, err := range c.Messages(t.Context(), account, since, until) {
		if err != nil {
			t.Fatal(err)
		}
		all, pages = append(all, page...), pages+1
	}
	return all, pages
}

// TestMessages: pages come one by one, newest first, bounded by dates, in spite of
// 429 and of pages that are cut off.
func TestMessages(t *testing.T) {
	s := start(t)
	first := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for i := range 450 {
		s.Host(simulate.Message{From: "+1", To: "+2", Body: fmt.Sprint(i), Outbound: i%2 == 1}, first.Add(time.Duration(i)*time.Second))
	}
	c := client(t, s.Origin(), token)
	s.Throttle(simulate.ListMessage, 4)
	s.Cut(simulate.ListMessage, 1)
	all, pages := messages(t, c, time.Time{}, time.Time{})
	if len(all) != 450 || pages != 3 || s.Calls(simulate.ListMessage) != 5 {
		t.Fatalf("%d messages on %d pages in %d calls", len(all), pages, s.Calls(simulate.ListMessage))
	}
	for i, m := range all {
		n := 449 - i
		direction := map[bool]string{false: "inbound", true: "outbound-api"}[n%2 == 1]
		if m.Body != fmt.Sprint(n) || !m.Date.Equal(first.Add(time.Duration(n)*time.Second)) || m.Direction != direction || m.From != "+1" || m.To != "+2" {
			t.Fatalf("message %d is %+v", i, m)
		}
	}
	s.Throttle(simulate.ListMessage, 0)
	some, _ := messages(t, c, first.Add(100*time.Second), first.Add(300*time.Second))
	if len(some) != 201 || some[0].Body != "300" || some[200].Body != "100" {
		t.Errorf("%d messages between two dates", len(some))
	}
	before := s.Calls(simulate.ListMessage)
	for range c.Messages(t.Context(), account, time.Time{}, time.Time{}) {
		break
	}
	if calls := s.Calls(simulate.ListMessage) - before; calls != 1 {
		t.Errorf("a loop that is left after a page makes %d calls", calls)
	}
}

func TestResources(t *testing.T) {
	s := start(t)
	s.SetNumbers(simulate.Number{PhoneNumber: "+15550001", SMSURL: "https://a.example/x", SMSFallbackURL: "https://b.example/y"})
	picture := simulate.Media{Data: []byte("picture"), ContentType: "image/jpeg"}
	sent := s.Host(simulate.Message{Media: []simulate.Media{picture, picture}}, time.Now())
	message, first := sid(store.ParseMessageSID(sent.MessageSID)), sid(store.ParseMediaSID(sent.MediaSIDs[0]))
	// The first of two tokens is refused.
	c, ctx := client(t, s.Origin(), "another", token), t.Context()
	if a, err := c.Account(ctx, account); err != nil || a.SID != account || a.Status != "active" {
		t.Errorf("account %+v, %v", a, err)
	}
	numbers, err := c.Numbers(ctx, account)
	want := upstream.Number{PhoneNumber: "+15550001", SMSURL: "https://a.example/x", SMSFallbackURL: "https://b.example/y"}
	if err != nil || len(numbers) != 1 || numbers[0] != want {
		t.Errorf("numbers %+v, %v", numbers, err)
	}
	if m, err := c.Message(ctx, account, message); err != nil || m.SID != message || m.NumMedia != 2 {
		t.Errorf("message %+v, %v", m, err)
	}
	media, err := c.Media(ctx, account, message)
	if err != nil || len(media) != 2 || media[0].SID != first || media[0].ContentType != "image/jpeg" {
		t.Errorf("media %+v, %v", media, err)
	}
	if got := c.MediaURL(account, message, first); got != sent.MediaURLs[0] {
		t.Errorf("the medium is at %s, want %s", got, sent.MediaURLs[0])
	}
	if err := c.DeleteMedia(ctx, account, message, first); err != nil {
		t.Error(err)
	}
	err = c.DeleteMedia(ctx, account, message, first)
	if trouble, ok := errors.AsType[*upstream.Error](err); !ok || trouble.Status != 404 || trouble.Code != 20404 || trouble.Temporary() {
		t.Errorf("deleting again: %v", err)
	}
}

// TestTrouble: what cannot be had ends with an error that says what was answered,
// and no request goes anywhere else.
func TestTrouble(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		answer        http.HandlerFunc
		status, calls int
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, 307, 1},
		"refused":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, 401, 1},
		"bad request": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, 400, 1},
		"long pause": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}, 429, 1},
		"server error": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503, 6},
		"not JSON":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, 0, 1},
		"next page elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"messages": [], "next_page_uri": %q}`, elsewhere.URL+"/2010-04-01/Accounts/"+accountSID+"/Messages.json?Page=1")
		}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls++; c.answer(w, r) }))
			t.Cleanup(server.Close)
			var err error
			for _, err = range client(t, server.URL, token).Messages(t.Context(), account, time.Time{}, time.Time{}) {
			}
			status := 0
			if trouble, ok := errors.AsType[*upstream.Error](err); ok {
				status = trouble.Status
			}
			if err == nil || status != c.status || calls != c.calls {
				t.Errorf("%v after %d calls, want status %d after %d", err, calls, c.status, c.calls)
			}
		})
	}
}

// TestCancelled: a request that is never answered ends with its context, and so
// does the wait for another try.
func TestCancelled(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"busy":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "20"); w.WriteHeader(429) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { cancel(); answer(w, r) }))
			t.Cleanup(server.Close)
			if _, err := client(t, server.URL, token).Account(ctx, account); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"sid":"MM0123456789abcdef0123456789abcdef","num_media":"1","date_created":"Fri, 02 Jan 2026 03:04:05 +0000","date_sent":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m upstream.Message
		if err := json.Unmarshal(data, &m); err == nil && (m.SID.IsZero() || m.NumMedia < 0) {
			t.Errorf("%s is read as %+v", data, m)
		}
	})
}
