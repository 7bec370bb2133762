package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/feed"
	"mmspipe/store/link"
	"mmspipe/store/rest"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	account = "AC0123456789abcdef0123456789abcdef"
	other   = "AC00000000000000000000000000000002"
	token   = "auth0token1of2the3tests4only5abcd"
	message = "MM0123456789abcdef0123456789abcdef"
)

// house is a running API over a real store and real streams.
type house struct {
	t       *testing.T
	store   *store.Store
	bucket  store.Bucket
	streams *stream.Streams
	origin  string
	account store.AccountSID
	message store.MessageSID
	log     *bytes.Buffer
}

func newHouse(t *testing.T, mediaAuth string) *house {
	t.Helper()
	bucket, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	streams, err := stream.Open(t.Context(), storetest.StartNATS(t), stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, store: store.New(bucket, []byte("secret")), bucket: bucket, streams: streams, log: &bytes.Buffer{}}
	if h.account, err = store.ParseAccountSID(account); err != nil {
		t.Fatal(err)
	}
	if h.message, err = store.ParseMessageSID(message); err != nil {
		t.Fatal(err)
	}
	keys, err := rest.ParseAPIKeys("SK1:reader:" + account + ":read,SK2:operator:*:write")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api.New(api.Options{
		Store: h.store, Streams: streams, Feed: feed.New(h.store, streams), MediaAuth: mediaAuth, Links: link.New([]byte("secret")),
		PublicURL: &url.URL{Scheme: "https", Host: "mms.example.com"},
		Keys:      rest.NewKeys(map[string][]string{account: {"old", token}, other: {token}}, keys), Log: zerolog.New(zerolog.SyncWriter(h.log)),
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	h.origin = server.URL
	if _, _, err := h.store.CreateMessage(t.Context(), store.Message{Account: h.account, SID: h.message, DateCreated: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return h
}

// put stores a medium with a variant. Its SID ends in n, its date is n days after
// the first of 2026.
func (h *house) put(n int, contentType, body string) store.Media {
	h.t.Helper()
	sid, err := store.ParseMediaSID(fmt.Sprintf("ME%032x", n))
	if err != nil {
		h.t.Fatal(err)
	}
	date := time.Date(2026, 1, 1+n, 12, 30, 15, 999, time.UTC)
	m := store.Media{Account: h.account, Message: h.message, SID: sid, Index: n, ContentType: contentType, DateCreated: date, DateUpdated: date}
	if m.Blob, _, err = h.store.PutBlob(h.t.Context(), store.MediaKey{Account: h.account, Message: h.message, Media: sid}, store.Original, strings.NewReader(body), int64(len(body))); err != nil {
		h.t.Fatal(err)
	}
	small := "small " + body
	blob, _, err := h.store.PutBlob(h.t.Context(), store.MediaKey{Account: h.account, Message: h.message, Media: sid}, "us", strings.NewReader(small), int64(len(small)))
	if err != nil {
		h.t.Fatal(err)
	}
	m.Variants = []store.Variant{{Name: "us", ContentType: "image/jpeg", Blob: blob}}
	if m, _, err = h.store.CreateMedia(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
	return m
}

// call makes a request without following redirects.
func (h *house) call(method, path string, change func(*http.Request)) (*http.Response, string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), method, h.origin+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	request.SetBasicAuth(account, token)
	if change != nil {
		change(request)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return response, string(body)
}

func anonymous(r *http.Request) { r.Header.Del("Authorization") }

func as(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

const media = "/2010-04-01/Accounts/" + account + "/Messages/" + message + "/Media"

func medium(n int) string { return fmt.Sprintf("%s/ME%032x", media, n) }

// mediaKeys are the properties of twilio_api_v2010.json with the patterns of
// their values.
var mediaKeys = map[string]string{
	"sid": `^ME[0-9a-f]{32}$`, "account_sid": `^AC[0-9a-f]{32}$`, "parent_sid": `^(SM|MM)[0-9a-f]{32}$`,
	"content_type": `^[a-z]+/[a-z0-9.+-]+$`,
	"date_created": `^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} \+0000$`,
	"date_updated": `^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} \+0000$`,
	"uri":          `^/2010-04-01/Accounts/AC[0-9a-f]{32}/Messages/MM[0-9a-f]{32}/Media/ME[0-9a-f]{32}\.json$`,
}

func checkMedia(t *testing.T, record map[string]any) {
	t.Helper()
	if len(record) != len(mediaKeys) {
		t.Errorf("keys %v, want %v", slices.Sorted(maps.Keys(record)), slices.Sorted(maps.Keys(mediaKeys)))
	}
	for key, pattern := range mediaKeys {
		if value, ok := record[key].(string); !ok || !regexp.MustCompile(pattern).MatchString(value) {
			t.Errorf("%s: %v does not match %s", key, record[key], pattern)
		}
	}
}

func TestRecord(t *testing.T) {
	h := newHouse(t, "public")
	h.put(1, "image/jpeg", "picture")
	response, body := h.call("GET", medium(1)+".json", nil)
	var record map[string]any
	if err := json.Unmarshal([]byte(body), &record); err != nil || response.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v in %s", err, body)
	}
	checkMedia(t, record)
	if record["date_created"] != "Fri, 02 Jan 2026 12:30:15 +0000" {
		t.Errorf("date_created %v", record["date_created"])
	}
	response, body = h.call("GET", medium(1)+".xml", nil)
	if response.Header.Get("Content-Type") != "application/xml" || !strings.HasPrefix(body, "<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><Media><Sid>") {
		t.Errorf("%s %s", response.Header.Get("Content-Type"), body)
	}
	sameFields(t, record, fields(t, body)["Media"][0])
}

// sameFields compares JSON keys with XML elements: the same but for their case,
// and for the suffix of the URI.
func sameFields(t *testing.T, record map[string]any, elements map[string]string) {
	t.Helper()
	if len(record) != len(elements) {
		t.Errorf("%d keys and %d elements", len(record), len(elements))
	}
	for key, value := range record {
		var name string
		for part := range strings.SplitSeq(key, "_") {
			name += strings.ToUpper(part[:1]) + part[1:]
		}
		want := fmt.Sprint(value)
		if key == "uri" {
			want = strings.TrimSuffix(want, ".json")
			elements[name] = strings.TrimSuffix(elements[name], ".xml")
		}
		if elements[name] != want {
			t.Errorf("%s is %q in JSON and %q in XML", key, want, elements[name])
		}
	}
}

// fields reads the leaf elements of a response's records, by the records' name.
func fields(t *testing.T, body string) map[string][]map[string]string {
	t.Helper()
	type node struct {
		XMLName xml.Name
		Text    string `xml:",chardata"`
		Nodes   []node `xml:",any"`
	}
	var root node
	if err := xml.Unmarshal([]byte(body), &root); err != nil || root.XMLName.Local != "TwilioResponse" {
		t.Fatalf("%v in %s", err, body)
	}
	records := map[string][]map[string]string{}
	var walk func(n node)
	walk = func(n node) {
		record := map[string]string{}
		for _, child := range n.Nodes {
			if len(child.Nodes) > 0 {
				walk(child)
			} else {
				record[child.XMLName.Local] = child.Text
			}
		}
		if len(record) > 0 {
			records[n.XMLName.Local] = append(records[n.XMLName.Local], record)
		}
	}
	walk(root)
	return records
}

// listKeys are those of a list in twilio_api_v2010.json. Any other would break
// twilio-python.
var listKeys = []string{"end", "first_page_uri", "media_list", "next_page_uri", "page", "page_size", "previous_page_uri", "start", "uri"}

func (h *house) list(uri string) map[string]any {
	h.t.Helper()
	response, body := h.call("GET", uri, nil)
	var page map[string]any
	if err := json.Unmarshal([]byte(body), &page); err != nil || response.StatusCode != 200 {
		h.t.Fatalf("GET %s: %d %s", uri, response.StatusCode, body)
	}
	if keys := slices.Sorted(maps.Keys(page)); !slices.Equal(keys, listKeys) {
		h.t.Errorf("keys %v, want %v", keys, listKeys)
	}
	for _, record := range page["media_list"].([]any) {
		checkMedia(h.t, record.(map[string]any))
	}
	return page
}

func sids(page map[string]any) (sids []string) {
	for _, record := range page["media_list"].([]any) {
		sids = append(sids, strings.TrimLeft(record.(map[string]any)["sid"].(string), "ME0"))
	}
	return sids
}

func TestList(t *testing.T) {
	h := newHouse(t, "public")
	page := h.list(media + ".json")
	if len(sids(page)) != 0 || page["start"] != 0.0 || page["end"] != 0.0 || page["next_page_uri"] != nil || page["page_size"] != 50.0 {
		t.Errorf("empty list %v", page)
	}
	for n := range 7 {
		h.put(n+1, "image/jpeg", fmt.Sprint(n))
	}
	page = h.list(media + ".json?PageSize=3&DateCreated%3E=2026-01-03")
	if got := sids(page); !slices.Equal(got, []string{"2", "3", "4"}) || page["end"] != 2.0 || page["previous_page_uri"] != nil {
		t.Errorf("first page %v: %v", got, page)
	}
	if want := media + ".json?DateCreated%3E=2026-01-03&PageSize=3&Page=0"; page["uri"] != want || page["first_page_uri"] != want {
		t.Errorf("uri %v, want %s", page["uri"], want)
	}
	// What is deleted and added between two pages neither hides nor repeats.
	if response, _ := h.call("DELETE", medium(3), nil); response.StatusCode != 204 {
		t.Fatalf("DELETE: %d", response.StatusCode)
	}
	next, _ := page["next_page_uri"].(string)
	if strings.ContainsAny(next[strings.Index(next, "PageToken="):], ".-_") {
		t.Errorf("a token is more than letters and digits: %s", next)
	}
	page = h.list(next)
	if got := sids(page); !slices.Equal(got, []string{"5", "6", "7"}) || page["page"] != 1.0 || page["start"] != 3.0 || page["end"] != 5.0 || page["next_page_uri"] != nil {
		t.Errorf("second page %v: %v", got, page)
	}
	page = h.list(page["previous_page_uri"].(string))
	if got := sids(page); !slices.Equal(got, []string{"2", "4"}) || page["next_page_uri"] == nil {
		t.Errorf("first page again %v: %v", got, page)
	}
	if got := sids(h.list(media + ".json?PageSize=2&Page=1")); !slices.Equal(got, []string{"4", "5"}) {
		t.Errorf("a page without a token: %v", got)
	}
	if got := h.list(media + ".json?PageSize=5000")["page_size"]; got != 1000.0 {
		t.Errorf("page_size %v", got)
	}
	_, body := h.call("GET", media+"?PageSize=2", nil)
	if records := fields(t, body)["Media"]; len(records) != 2 || !strings.Contains(body, `<MediaList page="0" pagesize="2" start="0" end="1" uri="`) || !strings.Contains(body, `previouspageuri=""`) {
		t.Errorf("XML %s", body)
	}
}

func TestDateFilters(t *testing.T) {
	h := newHouse(t, "public")
	for n := range 4 {
		h.put(n+1, "image/jpeg", fmt.Sprint(n)) // 2026-01-02T12:30:15Z and the days after
	}
	for _, c := range []struct{ name, value, want string }{
		{"DateCreated", "2026-01-03", "2"},
		{"DateCreated", "2026-01-03T23:59:59Z", "2"},
		{"DateCreated", "2026-01-03T23:59:59-05:00", "3"},
		{"DateCreated<", "2026-01-03", "1"},
		{"DateCreated<", "2026-01-03T12:30:15Z", "12"},
		{"DateCreated<", "2026-01-03T12:30:14Z", "1"},
		{"DateCreated<", "2026-01-03T14:30:15+02:00", "12"},
		{"DateCreated>", "2026-01-04", "34"},
		{"DateCreated>", "2026-01-04T12:30:15Z", "34"},
		{"DateCreated>", "2026-01-04T12:30:16Z", "4"},
		{"DateCreated>", "2026-01-04 12:30:15.000", "34"},
		{"DateCreated>", "01/04/2026 12:30:15 MST", "4"},
		{"DateCreated>", "Sun, 04 Jan 2026 12:30:15 +0000", "34"},
		{"DateCreated>", "2026-01-04T12:30:15.000-0800", "4"},
		{"DateCreated>", "2026-01", "1234"},
		{"DateCreated>", "2027", ""},
		{"Unknown", "2027", "1234"},
	} {
		page := h.list(media + ".json?" + url.Values{c.name: {c.value}}.Encode())
		if got := strings.Join(sids(page), ""); got != c.want {
			t.Errorf("%s=%s: %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

// TestErrors is a table of every error that a client can meet, each in both
// representations.
func TestErrors(t *testing.T) {
	h := newHouse(t, "public")
	h.put(1, "image/jpeg", "picture")
	absentMessage := strings.Replace(media, message, "MM00000000000000000000000000000009", 1)
	foreign := strings.Replace(media, account, other, 1)
	for _, c := range []struct {
		name, method, path string
		change             func(*http.Request)
		status, code       int
	}{
		{"absent medium", "GET", medium(9), nil, 404, 20404},
		{"absent message", "GET", absentMessage, nil, 404, 20404},
		{"malformed medium", "GET", media + "/ME1", nil, 404, 20404},
		{"malformed message", "GET", strings.Replace(media, message, "MM1", 1), nil, 404, 20404},
		{"somebody else's account", "GET", foreign, nil, 404, 20404},
		{"an account that is not there", "GET", strings.Replace(media, account, "AC"+strings.Repeat("9", 32), 1), nil, 404, 20404},
		{"absent message of another", "GET", foreign, as(other, token), 404, 20404},
		{"unknown route", "GET", "/2010-04-01/Accounts/" + account + "/Calls", nil, 404, 20404},
		{"no credentials", "GET", media, anonymous, 401, 20003},
		{"wrong token", "GET", media, as(account, "wrong"), 401, 20003},
		{"unknown account", "GET", media, as("AC"+strings.Repeat("9", 32), token), 401, 20003},
		{"reader deletes", "DELETE", medium(1), as("SK1", "reader"), 401, 20003},
		{"post", "POST", media, nil, 405, 20004},
		{"page size", "GET", media + "?PageSize=0", nil, 400, 20001},
		{"page size in words", "GET", media + "?PageSize=ten", nil, 400, 20001},
		{"page", "GET", media + "?Page=-1", nil, 400, 20001},
		{"token", "GET", media + "?PageToken=../..", nil, 400, 20001},
		{"date", "GET", media + "?DateCreated=%3E%3D2019-08-08", nil, 400, 20001},
	} {
		for _, suffix := range []string{".json", ".xml"} {
			path, query, _ := strings.Cut(c.path, "?")
			response, body := h.call(c.method, path+suffix+"?"+query, c.change)
			var e map[string]any
			if suffix == ".json" {
				if err := json.Unmarshal([]byte(body), &e); err != nil {
					t.Errorf("%s: %v in %s", c.name, err, body)
				}
			} else {
				e = map[string]any{}
				for name, value := range fields(t, body)["RestException"][0] {
					e[map[string]string{"Code": "code", "Message": "message", "MoreInfo": "more_info", "Status": "status"}[name]] = value
				}
			}
			if response.StatusCode != c.status || fmt.Sprint(e["code"]) != fmt.Sprint(c.code) || fmt.Sprint(e["status"]) != fmt.Sprint(c.status) ||
				e["more_info"] != fmt.Sprintf("https://www.twilio.com/docs/errors/%d", c.code) || e["message"] == "" || len(e) != 4 {
				t.Errorf("%s%s: %d %s, want %d/%d", c.name, suffix, response.StatusCode, body, c.status, c.code)
			}
			if c.code == 20404 && e["message"] != "The requested resource "+path+suffix+" was not found" {
				t.Errorf("%s: message %v", c.name, e["message"])
			}
		}
	}
	// What does not exist and what is another's differ in nothing but names.
	mine, body := h.call("GET", absentMessage+".json", nil)
	theirs, body2 := h.call("GET", foreign+".json", nil)
	strip := func(s string) string { return regexp.MustCompile(`(AC|MM|SM)[0-9a-f]{32}`).ReplaceAllString(s, "") }
	mine.Header.Del("Date")
	theirs.Header.Del("Date")
	mine.Header.Del("Content-Length")
	theirs.Header.Del("Content-Length")
	if strip(body) != strip(body2) || !maps.EqualFunc(mine.Header, theirs.Header, slices.Equal) {
		t.Errorf("%v %s\n%v %s", mine.Header, body, theirs.Header, body2)
	}
}

func TestDelete(t *testing.T) {
	h := newHouse(t, "public")
	for n := range 3 {
		h.put(n, "image/jpeg", "picture")
	}
	for n, suffix := range []string{"", ".json", ".xml"} {
		if response, body := h.call("DELETE", medium(n)+suffix, nil); response.StatusCode != 204 || body != "" {
			t.Errorf("DELETE %s: %d %q", suffix, response.StatusCode, body)
		}
		if response, _ := h.call("DELETE", medium(n)+suffix, nil); response.StatusCode != 404 {
			t.Errorf("DELETE again: %d", response.StatusCode)
		}
		for _, path := range []string{medium(n), medium(n) + ".json"} {
			if response, _ := h.call("GET", path, nil); response.StatusCode != 404 {
				t.Errorf("GET after DELETE: %d", response.StatusCode)
			}
		}
		// The rest is the worker's.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		d, err := h.streams.Next(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if deletion, err := d.Deletion(); err != nil || d.Kind != stream.Delete || deletion.Message || len(deletion.Media) != 1 || deletion.Media[0].String() != fmt.Sprintf("ME%032x", n) {
			t.Errorf("job %+v, %v", deletion, err)
		}
	}
}

// TestFaults: what goes wrong here is told in the provider's shapes too, and not
// what it was.
func TestFaults(t *testing.T) {
	conn := storetest.StartNATS(t)
	streams, err := stream.Open(t.Context(), conn, stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	h := newHouse(t, "public")
	h.put(1, "image/jpeg", "picture")
	for name, c := range map[string]struct {
		options      api.Options
		method, path string
		status, code int
	}{
		"NATS is away, deletion": {api.Options{Store: h.store, Streams: streams}, "DELETE", medium(1), 503, 20503},
		"NATS is away, feed":     {api.Options{Store: h.store, Streams: streams}, "GET", "/feed", 503, 20503},
		"a panic":                {api.Options{}, "GET", medium(1), 500, 20500},
	} {
		for _, suffix := range []string{".json", ".xml"} {
			c.options.Keys, c.options.MediaAuth, c.options.Log = rest.NewKeys(map[string][]string{account: {token}}, nil), "public", zerolog.Nop()
			path := c.path + suffix
			if c.path == "/feed" {
				path = c.path
			}
			r := httptest.NewRequest(c.method, path, nil)
			r.SetBasicAuth(account, token)
			w := httptest.NewRecorder()
			api.New(c.options).ServeHTTP(w, r)
			if body := w.Body.String(); w.Code != c.status || !strings.Contains(body, fmt.Sprint(c.code)) || strings.Contains(body, "nats") || strings.Contains(body, "panic") {
				t.Errorf("%s%s: %d %s", name, suffix, w.Code, body)
			}
		}
	}
}

// TestLogins: failures from one address are slowed down and then put off; the
// right credentials never wait.
func TestLogins(t *testing.T) {
	h := newHouse(t, "public")
	statuses := map[int]int{}
	results := make(chan int)
	for range 40 {
		go func() {
			response, _ := h.call("GET", media+".json", as(account, "wrong"))
			results <- response.StatusCode
		}()
	}
	for range 40 {
		if response, _ := h.call("GET", media+".json", nil); response.StatusCode != 200 {
			t.Fatalf("the right credentials: %d", response.StatusCode)
		}
	}
	for range 40 {
		statuses[<-results]++
	}
	if statuses[401] < 10 || statuses[429] == 0 || statuses[401]+statuses[429] != 40 {
		t.Errorf("statuses %v", statuses)
	}
}
