package simulate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"mmspipe/ingest/simulate"
)

const messagesPath = "/2010-04-01/Accounts/" + account + "/Messages"

// elsewhere changes the origin of requests, and nothing else.
type elsewhere struct{ origin *url.URL }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = e.origin.Scheme, e.origin.Host, ""
	return http.DefaultTransport.RoundTrip(r)
}

// sdk is Twilio's own client, with another origin.
func sdk(t *testing.T, s *simulate.Simulator) *openapi.ApiService {
	t.Helper()
	origin, err := url.Parse(s.Origin())
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Client{Credentials: client.NewCredentials(account, token), HTTPClient: &http.Client{Transport: elsewhere{origin}}}
	c.SetAccountSid(account)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}).Api
}

// refused tells whether an error of the SDK has a status and a code.
func refused(err error, status, code int) bool {
	var e *client.TwilioRestError
	return errors.As(err, &e) && e.Status == status && e.Code == code
}

// ask makes a request with credentials and returns the answer and its JSON.
func ask(t *testing.T, s *simulate.Simulator, method, target string, form url.Values) (*http.Response, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.Origin()+target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(account, token)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if len(body) > 0 && json.Unmarshal(body, &v) != nil {
		t.Fatalf("%s %s: not JSON: %s", method, target, body)
	}
	return response, v
}

func TestAccount(t *testing.T) {
	s := start(t, simulate.Options{})
	s.SetNumbers(
		simulate.Number{PhoneNumber: "+15550001", SMSURL: "https://a.example/x", SMSFallbackURL: "https://b.example/y"},
		simulate.Number{PhoneNumber: "+15550002", SMSURL: "https://c.example/", SMSMethod: "GET"},
	)
	api := sdk(t, s)
	fetched, err := api.FetchAccount(account)
	if err != nil || *fetched.Sid != account || *fetched.Status != "active" {
		t.Errorf("%+v, %v", fetched, err)
	}
	numbers, err := api.ListIncomingPhoneNumber((&openapi.ListIncomingPhoneNumberParams{}).SetPageSize(1))
	if err != nil || len(numbers) != 2 {
		t.Fatalf("%d numbers, %v", len(numbers), err)
	}
	if n := numbers[0]; *n.PhoneNumber != "+15550001" || *n.SmsUrl != "https://a.example/x" || *n.SmsMethod != "POST" || *n.SmsFallbackUrl != "https://b.example/y" {
		t.Errorf("%+v", n)
	}
	numbers, err = api.ListIncomingPhoneNumber((&openapi.ListIncomingPhoneNumberParams{}).SetPhoneNumber("+15550002"))
	if err != nil || len(numbers) != 1 || *numbers[0].SmsMethod != "GET" {
		t.Errorf("by number: %+v, %v", numbers, err)
	}
	if s.Calls(simulate.FetchAccount) != 1 || s.Calls(simulate.ListIncomingPhoneNumber) != 3 {
		t.Errorf("%d, %d calls", s.Calls(simulate.FetchAccount), s.Calls(simulate.ListIncomingPhoneNumber))
	}
}

func TestErrors(t *testing.T) {
	s := start(t, simulate.Options{})
	none := "/MM00000000000000000000000000000009"
	for _, c := range []struct {
		method, target string
		status, code   int
	}{
		{"GET", messagesPath + none + ".json", 404, 20404},
		{"DELETE", messagesPath + none + ".json", 404, 20404},
		{"GET", messagesPath + none + "/Media.json", 404, 20404},
		{"GET", messagesPath + none + "/Media/ME1.json", 404, 20404},
		{"DELETE", messagesPath + none + "/Media/ME1.json", 404, 20404},
		{"GET", "/2010-04-01/Accounts/" + account + "/Calls.json", 404, 20404},
		{"GET", "/elsewhere.json", 404, 20404},
		{"PUT", messagesPath + ".json", 405, 20004},
		{"POST", messagesPath + none + "/Media.json", 405, 20004},
		{"GET", "/2010-04-01/Accounts/AC00000000000000000000000000000009.json", 401, 20003},
		{"GET", messagesPath + ".json?DateSent=soon", 400, 20001},
		{"GET", messagesPath + ".json?PageSize=0", 400, 20001},
		{"GET", messagesPath + ".json?PageToken=PAMM1", 400, 20001},
		{"GET", messagesPath + ".json?PageToken=P", 400, 20001},
		{"GET", messagesPath + ".json?Page=1", 400, 70002},
	} {
		response, v := ask(t, s, c.method, c.target, nil)
		names := slices.Sorted(maps.Keys(v))
		if response.StatusCode != c.status || v["code"] != float64(c.code) || v["status"] != float64(c.status) ||
			v["more_info"] != fmt.Sprintf("https://www.twilio.com/docs/errors/%d", c.code) || !slices.Equal(names, []string{"code", "message", "more_info", "status"}) {
			t.Errorf("%s %s: %d %v", c.method, c.target, response.StatusCode, v)
		}
	}
	plain, err := http.Get(s.Origin() + messagesPath + ".json")
	if err != nil || plain.StatusCode != 401 || plain.Header.Get("Content-Type") != "application/json" || plain.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without credentials: %v, %v", plain, err)
	}
}

// TestMessageShape holds the twenty fields and their types.
func TestMessageShape(t *testing.T) {
	s := start(t, simulate.Options{})
	at := time.Date(2026, 1, 2, 12, 30, 15, 0, time.UTC)
	sent := s.Host(simulate.Message{From: "+15550001", To: "+15550002", Body: "hi", Media: []simulate.Media{{Data: []byte("x"), ContentType: "image/png"}}}, at)
	path := messagesPath + "/" + sent.MessageSID
	_, got := ask(t, s, "GET", path+".json", nil)
	want := map[string]any{
		"account_sid": account, "api_version": "2010-04-01", "body": "hi", "date_created": "Fri, 02 Jan 2026 12:30:15 +0000",
		"date_sent": "Fri, 02 Jan 2026 12:30:15 +0000", "date_updated": "Fri, 02 Jan 2026 12:30:15 +0000", "direction": "inbound",
		"error_code": nil, "error_message": nil, "from": "+15550001", "messaging_service_sid": nil, "num_media": "1", "num_segments": "1",
		"price": nil, "price_unit": "USD", "sid": sent.MessageSID, "status": "received", "to": "+15550002", "uri": path + ".json",
	}
	media, _ := got["subresource_uris"].(map[string]any)
	delete(got, "subresource_uris")
	if !maps.Equal(got, want) || media["media"] != path+"/Media.json" {
		t.Errorf("got %v\nwant %v", got, want)
	}
	_, got = ask(t, s, "GET", path+"/Media/"+sent.MediaSIDs[0]+".json", nil)
	want = map[string]any{
		"account_sid": account, "content_type": "image/png", "date_created": "Fri, 02 Jan 2026 12:30:15 +0000", "date_updated": "Fri, 02 Jan 2026 12:30:15 +0000",
		"parent_sid": sent.MessageSID, "sid": sent.MediaSIDs[0], "uri": path + "/Media/" + sent.MediaSIDs[0] + ".json",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// TestMessageList pages through a history that is made up out of order, and
// changes on the way.
func TestMessageList(t *testing.T) {
	s := start(t, simulate.Options{})
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	shared := []simulate.Media{{Data: make([]byte, 1<<20), ContentType: "image/jpeg"}}
	const count = 2000
	sids := make([]string, count) // newest first
	for i := range count {
		hour := i * 7 % count // each once, as 7 and 2000 have no factor in common
		m := simulate.Message{From: fmt.Sprintf("+1555000%04d", hour%10), To: "+15550009999", Media: shared}
		sids[count-1-hour] = s.Host(m, first.Add(time.Duration(hour)*time.Hour)).MessageSID
	}
	api := sdk(t, s)
	list := func(p *openapi.ListMessageParams) (got []string) {
		t.Helper()
		records, err := api.ListMessage(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range records {
			got = append(got, *m.Sid)
		}
		return got
	}
	if got := list((&openapi.ListMessageParams{}).SetPageSize(300)); !slices.Equal(got, sids) || s.Calls(simulate.ListMessage) != 7 {
		t.Errorf("%d messages, %d calls", len(got), s.Calls(simulate.ListMessage))
	}
	if got := list((&openapi.ListMessageParams{}).SetPageSize(5000)); len(got) != count || s.Calls(simulate.ListMessage) != 9 {
		t.Errorf("%d messages with the largest page, %d calls", len(got), s.Calls(simulate.ListMessage))
	}
	hour := func(n int) time.Time { return first.Add(time.Duration(n) * time.Hour) }
	if got := list((&openapi.ListMessageParams{}).SetDateSentAfter(hour(10)).SetDateSentBefore(hour(20).In(time.FixedZone("", 7200)))); !slices.Equal(got, sids[count-21:count-10]) {
		t.Errorf("between two times: %d messages", len(got))
	}
	if got := list((&openapi.ListMessageParams{}).SetDateSent(hour(30))); !slices.Equal(got, sids[count-48:count-24]) {
		t.Errorf("of a day: %d messages", len(got))
	}
	if got := list((&openapi.ListMessageParams{}).SetFrom("+15550000003").SetTo("+15550009999")); len(got) != count/10 {
		t.Errorf("from a number: %d messages", len(got))
	}
	if got := list((&openapi.ListMessageParams{}).SetTo("+15550000003")); len(got) != 0 {
		t.Errorf("to a number: %d messages", len(got))
	}
}

func TestPages(t *testing.T) {
	s := start(t, simulate.Options{})
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var sids []string // newest first
	for i := range 7 {
		sids = slices.Insert(sids, 0, s.Host(simulate.Message{To: "+15550001"}, first.AddDate(0, 0, i)).MessageSID)
	}
	base := messagesPath + ".json?DateSent%3E=2026-01-02&To=%2B15550001&PageSize=2"
	response, page := ask(t, s, "GET", messagesPath+".json?To=%2B15550001&DateSent%3E=2026-01-02&PageSize=2", nil)
	next, _ := page["next_page_uri"].(string)
	if response.StatusCode != 200 || next != base+"&Page=1&PageToken=PA"+sids[1] || page["first_page_uri"] != base+"&Page=0" ||
		page["uri"] != base+"&Page=0" || page["previous_page_uri"] != nil ||
		page["page"] != 0.0 || page["page_size"] != 2.0 || page["start"] != 0.0 || page["end"] != 1.0 || len(page) != 9 {
		t.Fatalf("first page %v", page)
	}
	// The token's message goes, and a new one comes.
	if response, _ := ask(t, s, "DELETE", messagesPath+"/"+sids[1]+".json", nil); response.StatusCode != 204 {
		t.Errorf("delete: %d", response.StatusCode)
	}
	s.Host(simulate.Message{To: "+15550001"}, first.AddDate(0, 1, 0))
	_, page = ask(t, s, "GET", next, nil)
	if got := pageSIDs(page); !slices.Equal(got, sids[2:4]) || page["start"] != 2.0 || page["end"] != 3.0 || page["page"] != 1.0 {
		t.Errorf("second page %v of %v", got, sids)
	}
	previous, _ := page["previous_page_uri"].(string)
	_, page = ask(t, s, "GET", page["next_page_uri"].(string), nil)
	if got := pageSIDs(page); !slices.Equal(got, sids[4:6]) || page["next_page_uri"] != nil {
		t.Errorf("last page %v of %v", got, page)
	}
	if _, page = ask(t, s, "GET", previous, nil); len(pageSIDs(page)) != 2 || pageSIDs(page)[1] != sids[0] {
		t.Errorf("back %v", page)
	}
	_, page = ask(t, s, "GET", messagesPath+".json?To=%2B1", nil)
	if list, ok := page["messages"].([]any); !ok || len(list) != 0 || page["start"] != 0.0 || page["end"] != 0.0 || page["page_size"] != 50.0 {
		t.Errorf("empty %v", page)
	}
}

// pageSIDs are those of a page of messages.
func pageSIDs(page map[string]any) (sids []string) {
	list, _ := page["messages"].([]any)
	for _, m := range list {
		sids = append(sids, m.(map[string]any)["sid"].(string))
	}
	return sids
}

func TestDelete(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL})
	api := sdk(t, s)
	var media []simulate.Media
	for i := range 5 {
		media = append(media, simulate.Media{Data: fmt.Append(nil, i), ContentType: "image/png"})
	}
	sent, err := s.Send(t.Context(), simulate.Message{Media: media})
	if err != nil {
		t.Fatal(err)
	}
	list, err := api.ListMedia(sent.MessageSID, (&openapi.ListMediaParams{}).SetPageSize(2))
	if err != nil || len(list) != 5 || *list[4].Sid != sent.MediaSIDs[4] || s.Calls(simulate.ListMedia) != 3 {
		t.Fatalf("%d media, %v", len(list), err)
	}
	read, _, err := get(t.Context(), t, sent.MediaURLs[0])
	if err != nil || read.StatusCode != 200 {
		t.Fatalf("%v, %v", read, err)
	}
	if err := api.DeleteMedia(sent.MessageSID, sent.MediaSIDs[0], nil); err != nil {
		t.Fatal(err)
	}
	_, err = api.FetchMedia(sent.MessageSID, sent.MediaSIDs[0], nil)
	if again := api.DeleteMedia(sent.MessageSID, sent.MediaSIDs[0], nil); !refused(err, 404, 20404) || !refused(again, 404, 20404) {
		t.Errorf("after delete: fetch %v, delete %v", err, again)
	}
	gone := read.Request.URL.String() // the link of the CDN
	if r, err := http.Get(gone); err != nil || r.StatusCode != 404 {
		t.Errorf("link of a deleted medium: %v, %v", r, err)
	}
	if r, _, err := get(t.Context(), t, sent.MediaURLs[0]); err != nil || r.StatusCode != 404 {
		t.Errorf("content of a deleted medium: %v, %v", r, err)
	}
	if list, err = api.ListMedia(sent.MessageSID, nil); err != nil || len(list) != 4 {
		t.Errorf("%d media, %v", len(list), err)
	}
	if err := api.DeleteMessage(sent.MessageSID, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = api.FetchMessage(sent.MessageSID, nil); !refused(err, 404, 20404) {
		t.Errorf("fetch of a deleted message: %v", err)
	}
	if r, _, err := get(t.Context(), t, sent.MediaURLs[1]); err != nil || r.StatusCode != 404 {
		t.Errorf("content of a deleted message: %v, %v", r, err)
	}
	if got := s.Deleted(); !slices.Equal(got, []string{sent.MediaSIDs[0], sent.MessageSID}) {
		t.Errorf("deleted %v", got)
	}
}

// TestHost: what was made up can be called back, and its media may be late.
func TestHost(t *testing.T) {
	h := newHandler(t, 200)
	s := start(t, simulate.Options{Webhook: h.URL})
	api := sdk(t, s)
	at := time.Now().Add(-time.Hour)
	missed := s.Host(simulate.Message{Media: []simulate.Media{{Data: []byte("x")}}}, at)
	if h.calls.Load() != 0 {
		t.Error("a webhook was sent")
	}
	if r, body, err := get(t.Context(), t, missed.MediaURLs[0]); err != nil || r.StatusCode != 200 || body != "x" {
		t.Errorf("%v %q, %v", r, body, err)
	}
	if again, err := s.Repeat(t.Context(), missed); err != nil || again.Status != 200 || again.Form.Get("MediaUrl0") != missed.MediaURLs[0] {
		t.Errorf("%+v, %v", again, err)
	}
	out := s.Host(simulate.Message{From: "+15550001", Outbound: true, Late: 2, Media: []simulate.Media{{Data: []byte("y")}}}, at)
	m, err := api.FetchMessage(out.MessageSID, nil)
	if err != nil || *m.Direction != "outbound-api" || *m.Status != "delivered" || *m.NumMedia != "1" {
		t.Errorf("%+v, %v", m, err)
	}
	for i, want := range []int{0, 0, 1, 1} {
		_, before := api.FetchMedia(out.MessageSID, out.MediaSIDs[0], nil)
		list, err := api.ListMedia(out.MessageSID, nil)
		if err != nil || len(list) != want || (before == nil) != (i >= 2) {
			t.Errorf("list %d: %d media, %v; fetch %v", i, len(list), err, before)
		}
	}
	if called, err := s.StatusCallback(t.Context(), out.MessageSID, "sent"); err != nil || called.Form.Get("From") != "+15550001" {
		t.Errorf("%+v, %v", called, err)
	}
	list, err := api.ListMessage(nil)
	if err != nil || len(list) != 2 {
		t.Errorf("%d messages, %v", len(list), err)
	}
}

func TestLinkLife(t *testing.T) {
	s := start(t, simulate.Options{LinkLife: time.Nanosecond})
	sent := s.Host(simulate.Message{Media: []simulate.Media{{Data: []byte("x")}}}, time.Now())
	if r, _, err := get(t.Context(), t, sent.MediaURLs[0]); err != nil || r.StatusCode != 403 {
		t.Errorf("a link that has expired: %v, %v", r, err)
	}
}

func TestThrottle(t *testing.T) {
	s := start(t, simulate.Options{})
	for range 10 {
		s.Host(simulate.Message{}, time.Now())
	}
	s.Throttle(simulate.ListMessage, 3)
	var statuses []int
	for range 6 {
		response, _ := ask(t, s, "GET", messagesPath+".json", nil)
		statuses = append(statuses, response.StatusCode)
		if response.StatusCode == 429 && response.Header.Get("Retry-After") != "1" {
			t.Error("429 without Retry-After")
		}
	}
	if !slices.Equal(statuses, []int{200, 200, 429, 200, 200, 429}) {
		t.Errorf("%v", statuses)
	}
	s.Throttle(simulate.ListMessage, 0)
	s.Cut(simulate.ListMessage, 1)
	api := sdk(t, s)
	params := (&openapi.ListMessageParams{}).SetPageSize(4)
	before := s.Calls(simulate.ListMessage)
	if list, err := api.ListMessage(params); !errors.Is(err, io.ErrUnexpectedEOF) || s.Calls(simulate.ListMessage) != before+2 {
		t.Errorf("%d messages, %v", len(list), err)
	}
	if list, err := api.ListMessage(params); err != nil || len(list) != 10 {
		t.Errorf("after the cut: %d messages, %v", len(list), err)
	}
}
