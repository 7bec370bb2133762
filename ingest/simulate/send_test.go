package simulate_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
)

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// done waits until the n-th accepted message is delivered.
func done(t *testing.T, s *simulate.Simulator, n int) (accepted simulate.Accepted) {
	t.Helper()
	eventually(t, "a message is done", func() bool {
		all := s.Accepted()
		if len(all) <= n {
			return false
		}
		accepted = all[n]
		return accepted.Done
	})
	return accepted
}

// callbacks are the status callbacks that a handler has got, each of which must
// be signed for its URL.
func (h *handler) callbacks(t *testing.T) (forms []url.Values, statuses []string) {
	t.Helper()
	for len(h.requests) > 0 {
		r := <-h.requests
		body, _ := io.ReadAll(r.Body)
		if _, ok := signature.Verify([]string{token}, signature.Request{
			Method: r.Method, URL: h.URL + r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"), Body: body, Signature: r.Header.Get("X-Twilio-Signature"),
		}); !ok {
			t.Errorf("callback to %s is not signed", r.URL)
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			t.Fatal(err)
		}
		forms, statuses = append(forms, form), append(statuses, form.Get("MessageStatus"))
	}
	return forms, statuses
}

// files serves pictures, and keeps what was asked for.
func files(t *testing.T) (origin string, asked chan string) {
	asked = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path
		size, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "image/png")
		if r.URL.RawQuery == "untyped" {
			w.Header()["Content-Type"] = nil
		}
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestCreate(t *testing.T) {
	origin, asked := files(t)
	h := newHandler(t, 204)
	s := start(t, simulate.Options{})
	api := sdk(t, s)
	made, err := api.CreateMessage((&openapi.CreateMessageParams{}).SetTo("+15550001234").SetFrom("+15550005678").SetBody("hi").
		SetMediaUrl([]string{origin + "/3", origin + "/5"}).SetStatusCallback(h.URL + "/status?message=MM1&n=2"))
	if err != nil || *made.Status != "queued" || made.DateSent != nil || *made.NumMedia != "2" || *made.Direction != "outbound-api" ||
		!strings.HasPrefix(*made.Sid, "MM") || *made.From != "+15550005678" || made.MessagingServiceSid != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	accepted := done(t, s, 0)
	var links []simulate.Fetched
	for _, n := range []int{3, 5} {
		sum := sha256.Sum256([]byte(strings.Repeat("x", n)))
		links = append(links, simulate.Fetched{
			URL: origin + "/" + strconv.Itoa(n), Head: 200, Get: 200, ContentType: "image/png", Size: int64(n), SHA256: hex.EncodeToString(sum[:]),
		})
	}
	if accepted.MessageSID != *made.Sid || accepted.Status != "delivered" || accepted.Form.Get("Body") != "hi" || !slices.Equal(accepted.Links, links) {
		t.Errorf("%+v", accepted)
	}
	for _, want := range []string{"HEAD /3", "GET /3", "HEAD /5", "GET /5"} {
		if got := <-asked; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	forms, statuses := h.callbacks(t)
	if !slices.Equal(statuses, []string{"sent", "delivered"}) {
		t.Fatalf("callbacks %v", statuses)
	}
	want := url.Values{
		"MessageSid": {*made.Sid}, "SmsSid": {*made.Sid}, "AccountSid": {account}, "From": {"+15550005678"}, "To": {"+15550001234"},
		"MessageStatus": {"delivered"}, "SmsStatus": {"delivered"}, "ApiVersion": {"2010-04-01"},
	}
	if forms[1].Encode() != want.Encode() {
		t.Errorf("callback %v", forms[1])
	}
	m, err := api.FetchMessage(*made.Sid, nil)
	if err != nil || *m.Status != "delivered" || m.DateSent == nil || m.ErrorCode != nil {
		t.Errorf("%+v, %v", m, err)
	}
	media, err := api.ListMedia(*made.Sid, nil)
	if err != nil || len(media) != 2 {
		t.Fatalf("%d media, %v", len(media), err)
	}
	r, body, err := get(t.Context(), t, s.Origin()+strings.TrimSuffix(*media[1].Uri, ".json"))
	if err != nil || r.StatusCode != 200 || body != "xxxxx" || r.Header.Get("Content-Type") != "image/png" {
		t.Errorf("%v %q, %v", r, body, err)
	}
	found, err := api.ListMessage((&openapi.ListMessageParams{}).SetTo("+15550001234").SetDateSentAfter(time.Now().Add(-time.Minute)))
	if err != nil || len(found) != 1 || *found[0].Sid != *made.Sid {
		t.Errorf("found %v, %v", found, err)
	}
	if err := api.DeleteMessage(*made.Sid, nil); err != nil {
		t.Error(err)
	}
}

func TestMessagingService(t *testing.T) {
	h := newHandler(t, 204)
	s := start(t, simulate.Options{})
	s.SetNumbers(simulate.Number{PhoneNumber: "+15557654321"})
	made, err := sdk(t, s).CreateMessage((&openapi.CreateMessageParams{}).SetTo("+15550001234").
		SetMessagingServiceSid("MG00000000000000000000000000000001").SetBody("hi").SetStatusCallback(h.URL + "/status"))
	if err != nil || *made.Status != "accepted" || made.From != nil || !strings.HasPrefix(*made.Sid, "SM") {
		t.Fatalf("%+v, %v", made, err)
	}
	done(t, s, 0)
	forms, statuses := h.callbacks(t)
	if !slices.Equal(statuses, []string{"queued", "sent", "delivered"}) || forms[0].Get("From") != "+15557654321" ||
		forms[0].Get("MessagingServiceSid") != "MG00000000000000000000000000000001" {
		t.Errorf("%v %v", statuses, forms)
	}
}

func TestValidate(t *testing.T) {
	s := start(t, simulate.Options{})
	for name, c := range map[string]struct {
		change url.Values
		code   float64
	}{
		"no To":              {url.Values{"To": nil}, 21604},
		"bad To":             {url.Values{"To": {"11234"}}, 21211},
		"no From":            {url.Values{"From": nil}, 21603},
		"bad From":           {url.Values{"From": {"a-name-that-is-too-long"}}, 21212},
		"nothing to say":     {url.Values{"Body": nil}, 21602},
		"service, nothing":   {url.Values{"Body": nil, "From": nil, "MessagingServiceSid": {"MG1"}}, 21619},
		"long body":          {url.Values{"Body": {strings.Repeat("ö", 1601)}}, 21617},
		"eleven media":       {url.Values{"MediaUrl": slices.Repeat([]string{"http://127.0.0.1/"}, 11)}, 21623},
		"not a web address":  {url.Values{"MediaUrl": {"ftp://127.0.0.1/x"}}, 21620},
		"a list in one link": {url.Values{"MediaUrl": {`["http://127.0.0.1/x"]`}}, 21620},
	} {
		form := url.Values{"To": {"+15550001234"}, "From": {"+15550005678"}, "Body": {"hi"}}
		maps.Copy(form, c.change)
		if response, v := ask(t, s, "POST", messagesPath+".json", form); response.StatusCode != 400 || v["code"] != c.code {
			t.Errorf("%s: %d %v, want %v", name, response.StatusCode, v, c.code)
		}
	}
	if len(s.Accepted()) != 0 || s.Calls(simulate.CreateMessage) != 10 {
		t.Errorf("%d accepted of %d", len(s.Accepted()), s.Calls(simulate.CreateMessage))
	}
	for _, from := range []string{"12345", "ACME 1", "whatsapp:+15550005678"} {
		if response, v := ask(t, s, "POST", messagesPath+".json", url.Values{"To": {"+15550001234"}, "From": {from}, "Body": {"hi"}}); response.StatusCode != 201 {
			t.Errorf("from %s: %v", from, v)
		}
	}
}

// TestScript: what goes wrong with the POST itself, and whether the message was
// accepted all the same.
func TestScript(t *testing.T) {
	s := start(t, simulate.Options{})
	form := url.Values{"To": {"+15550001234"}, "From": {"+15550005678"}, "Body": {"hi"}}
	for i, c := range []struct {
		o            simulate.Outcome
		status, code int
		accepted     int
	}{
		{simulate.Outcome{Refuse: 429}, 429, 20429, 0},
		{simulate.Outcome{Refuse: 500}, 500, 20500, 0},
		{simulate.Outcome{Refuse: 400, Code: 21610}, 400, 21610, 0},
		{simulate.Outcome{Answer: simulate.ServerError}, 500, 20500, 1},
		{simulate.Outcome{}, 201, 0, 2},
	} {
		s.Script(c.o)
		response, v := ask(t, s, "POST", messagesPath+".json", form)
		code, _ := v["code"].(float64)
		if response.StatusCode != c.status || int(code) != c.code || len(s.Accepted()) != c.accepted || c.status == 429 && response.Header.Get("Retry-After") != "1" {
			t.Errorf("%d: %d %v, %d accepted", i, response.StatusCode, v, len(s.Accepted()))
		}
	}
	post := func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, "POST", s.Origin()+messagesPath+".json", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(account, token)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	s.Script(simulate.Outcome{Answer: simulate.Reset}, simulate.Outcome{Answer: simulate.Silent})
	if err := post(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hung := make(chan error)
	go func() { hung <- post(ctx) }()
	if accepted := done(t, s, 3); accepted.Status != "delivered" {
		t.Errorf("%+v", accepted)
	}
	select {
	case err := <-hung:
		t.Errorf("answered: %v", err)
	default:
	}
	cancel()
	if err := <-hung; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestCallbacks: in which order they come, and what becomes of the message.
func TestCallbacks(t *testing.T) {
	origin, _ := files(t)
	h := newHandler(t, 204)
	s := start(t, simulate.Options{})
	api := sdk(t, s)
	const large = "/5242881"
	for i, c := range []struct {
		link   string
		o      simulate.Outcome
		called []string
		status string
		code   int
	}{
		{"", simulate.Outcome{Callbacks: []string{"delivered", "sent", "sent", "queued"}}, []string{"delivered", "sent", "sent", "queued"}, "delivered", 0},
		{"", simulate.Outcome{Callbacks: []string{}}, nil, "delivered", 0},
		{"", simulate.Outcome{Code: 30007}, []string{"failed"}, "failed", 30007},
		{"", simulate.Outcome{Code: 30003, Callbacks: []string{"sent", "undelivered"}}, []string{"sent", "undelivered"}, "undelivered", 30003},
		{"/none", simulate.Outcome{}, []string{"failed"}, "failed", 11200},
		{"/none", simulate.Outcome{Callbacks: []string{"sent", "sent"}}, []string{"failed"}, "failed", 11200},
		{"/none", simulate.Outcome{Callbacks: []string{}}, nil, "failed", 11200},
		{"/0", simulate.Outcome{}, []string{"failed"}, "failed", 63019},
		{"/9?untyped", simulate.Outcome{}, []string{"failed"}, "failed", 12300},
		{large, simulate.Outcome{}, []string{"failed"}, "failed", 11751},
	} {
		s.Script(c.o)
		params := (&openapi.CreateMessageParams{}).SetTo("+15550001234").SetFrom("+15550005678").SetBody("hi").SetStatusCallback(h.URL + "/status")
		if c.link != "" {
			params.SetMediaUrl([]string{origin + c.link})
		}
		made, err := api.CreateMessage(params)
		if err != nil {
			t.Fatal(err)
		}
		accepted := done(t, s, i)
		forms, called := h.callbacks(t)
		if !slices.Equal(called, c.called) || accepted.Status != c.status {
			t.Errorf("%d: called %v, then %s", i, called, accepted.Status)
		}
		m, err := api.FetchMessage(*made.Sid, nil)
		if err != nil || *m.Status != c.status || (m.ErrorCode != nil) != (c.code != 0) || c.code != 0 && *m.ErrorCode != c.code {
			t.Errorf("%d: %+v, %v", i, m, err)
		}
		if last := len(forms) - 1; c.code != 0 && last >= 0 && forms[last].Get("ErrorCode") != strconv.Itoa(c.code) {
			t.Errorf("%d: callback %v", i, forms[last])
		}
	}
}

// TestInFlight: a message whose delivery waits for its media.
func TestInFlight(t *testing.T) {
	asked := make(chan struct{}, 2)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	s, err := simulate.Start(simulate.Options{Account: account, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	api := sdk(t, s)
	made, err := api.CreateMessage((&openapi.CreateMessageParams{}).SetTo("+15550001234").SetFrom("+15550005678").SetMediaUrl([]string{slow.URL}))
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := api.DeleteMessage(*made.Sid, nil); !refused(err, 409, 20009) {
		t.Errorf("delete: %v", err)
	}
	if list, err := api.ListMedia(*made.Sid, nil); err != nil || len(list) != 0 || *made.NumMedia != "1" {
		t.Errorf("%d media, %v", len(list), err)
	}
	found, err := api.ListMessage((&openapi.ListMessageParams{}).SetDateSentAfter(time.Now().Add(-time.Minute)))
	if err != nil || len(found) != 1 || found[0].DateSent != nil {
		t.Errorf("found %v, %v", found, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	eventually(t, "closed", func() bool { return len(closed) == 1 })
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if accepted := s.Accepted(); !accepted[0].Done {
		t.Error("closed before the delivery was over")
	}
}
