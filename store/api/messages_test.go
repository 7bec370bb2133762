package api_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
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
	"mmspipe/store/rest"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

const messages = "/2010-04-01/Accounts/" + account + "/Messages"

// post posts a form.
func (h *house) post(path string, form url.Values, change func(*http.Request)) (*http.Response, string) {
	h.t.Helper()
	return h.call("POST", path, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(form.Encode()))
		if change != nil {
			change(r)
		}
	})
}

// good is a message that nothing is wrong with.
func good() url.Values {
	return url.Values{"To": {"+15558675310"}, "From": {"+15005550006"}, "Body": {"hello"}, "MediaUrl": {"https://example.com/a.jpg"}}
}

// inFuture is a time from now, as SDKs write it.
func inFuture(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// TestRefused: each mistake has the provider's code, in JSON and XML, and nothing
// is queued or stored.
func TestRefused(t *testing.T) {
	h := newHouse(t, "public")
	const service = "MG0123456789abcdef0123456789abcdef"
	long, soon := strings.Repeat("é", 1601), inFuture(time.Hour)
	for _, c := range []struct {
		name   string
		code   int
		change url.Values // empty lists delete
	}{
		{"no To", 21604, url.Values{"To": {}}},
		{"no From", 21603, url.Values{"From": {}}},
		{"nothing to send", 21602, url.Values{"Body": {}, "MediaUrl": {}}},
		{"nothing to send by a service", 21619, url.Values{"From": {}, "MessagingServiceSid": {"MG0123456789abcdef0123456789abcdef"}, "Body": {}, "MediaUrl": {}}},
		{"To too short", 21211, url.Values{"To": {"11234"}}},
		{"To a word", 21211, url.Values{"To": {"mother"}}},
		{"From with a sign", 21212, url.Values{"From": {"sh!ne"}}},
		{"From too long", 21212, url.Values{"From": {"a very long sender"}}},
		{"service malformed", 21705, url.Values{"MessagingServiceSid": {"MG1"}}},
		{"text too long", 21617, url.Values{"Body": {long}}},
		{"media by ftp", 21620, url.Values{"MediaUrl": {"ftp://example.com/a.jpg"}}},
		{"media without a host", 21620, url.Values{"MediaUrl": {"https:///a.jpg"}}},
		{"media as a list", 21620, url.Values{"MediaUrl": {`["https://example.com/a.jpg"]`}}},
		{"media empty", 21620, url.Values{"MediaUrl": {""}}},
		{"one medium bad", 21620, url.Values{"MediaUrl": {"https://example.com/a.jpg", "nonsense"}}},
		{"eleven media", 21623, url.Values{"MediaUrl": slices.Repeat([]string{"https://example.com/a.jpg"}, 11)}},
		{"callback malformed", 21609, url.Values{"StatusCallback": {"app.example.com/status"}}},
		{"callback with an underscore", 21609, url.Values{"StatusCallback": {"https://my_app.example.com/status"}}},
		{"callback to itself", 21609, url.Values{"StatusCallback": {"https://mms.example.com/webhooks/twilio?message=MM0123456789abcdef0123456789abcdef"}}},
		{"callback to itself, port", 21609, url.Values{"StatusCallback": {"https://mms.example.com:443/webhooks/twilio"}}},
		{"callback to itself, capitals", 21609, url.Values{"StatusCallback": {"HTTPS://MMS.Example.COM/webhooks/twilio"}}},
		{"callback to itself, dot", 21609, url.Values{"StatusCallback": {"https://mms.example.com./webhooks/twilio"}}},
		{"callback to itself, user", 21609, url.Values{"StatusCallback": {"https://app.example.com:x@mms.example.com/webhooks/twilio"}}},
		{"callback to itself, http", 21609, url.Values{"StatusCallback": {"http://mms.example.com/webhooks/twilio"}}},
		{"callback to itself, wide", 21609, url.Values{"StatusCallback": {"https://ｍｍｓ.example.com/webhooks/twilio"}}},
		{"callback to itself, escaped", 21609, url.Values{"StatusCallback": {"https://%6dms.example.com/webhooks/twilio"}}},
		{"validity zero", 20001, url.Values{"ValidityPeriod": {"0"}}},
		{"validity too long", 20001, url.Values{"ValidityPeriod": {"36001"}}},
		{"validity a word", 20001, url.Values{"ValidityPeriod": {"long"}}},
		{"To twice", 20001, url.Values{"To": {"+15558675310", "+15558675311"}}},
		{"content malformed", 20001, url.Values{"ContentSid": {"HX1"}}},
		{"not a boolean", 20001, url.Values{"SendAsMms": {"yes"}}},
		{"scheduled without a type", 35126, url.Values{"SendAt": {soon}, "MessagingServiceSid": {service}}},
		{"scheduled without a time", 35111, url.Values{"ScheduleType": {"fixed"}, "MessagingServiceSid": {service}}},
		{"scheduled without a service", 35118, url.Values{"ScheduleType": {"fixed"}, "SendAt": {soon}}},
		{"scheduled too early", 35114, url.Values{"ScheduleType": {"fixed"}, "SendAt": {inFuture(4 * time.Minute)}, "MessagingServiceSid": {service}}},
		{"scheduled in the past", 35114, url.Values{"ScheduleType": {"fixed"}, "SendAt": {inFuture(-time.Hour)}, "MessagingServiceSid": {service}}},
		{"scheduled too late", 35114, url.Values{"ScheduleType": {"fixed"}, "SendAt": {inFuture(36 * 24 * time.Hour)}, "MessagingServiceSid": {service}}},
		{"another schedule", 20001, url.Values{"ScheduleType": {"optimize"}, "SendAt": {soon}, "MessagingServiceSid": {service}}},
		{"date malformed", 20001, url.Values{"SendAt": {"tomorrow"}}},
	} {
		form := good()
		for name, values := range c.change {
			form[name] = values
			if len(values) == 0 {
				delete(form, name)
			}
		}
		for _, suffix := range []string{".json", ".xml", ""} {
			response, body := h.post(messages+suffix, form, nil)
			var e struct{ Code, Status int }
			if suffix == ".json" {
				if err := json.Unmarshal([]byte(body), &e); err != nil {
					t.Fatalf("%s: %v in %s", c.name, err, body)
				}
			} else {
				e.Code, e.Status = xmlError(t, body)
			}
			if response.StatusCode != 400 || e.Status != 400 || e.Code != c.code {
				t.Errorf("%s%s: answered %d %s, want 400/%d", c.name, suffix, response.StatusCode, body, c.code)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"anonymous":     {anonymous, 401},
		"reader":        {as("SK1", "reader"), 401},
		"other account": {as(other, token), 404},
		"JSON":          {func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400},
		"no type":       {func(r *http.Request) { r.Header.Del("Content-Type") }, 400},
		"endless":       {func(r *http.Request) { r.Body = io.NopCloser(endless{}) }, 413},
		"broken escape": {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("To=%zz")) }, 400},
		"not UTF-8": {func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("To=%2B15558675310&From=12345&Body=%ff"))
		}, 400},
		"another's number": {func(r *http.Request) { r.Method = "PUT" }, 405},
	} {
		if response, body := h.post(messages+".json", good(), c.change); response.StatusCode != c.status {
			t.Errorf("%s: answered %d %s, want %d", name, response.StatusCode, body, c.status)
		}
	}
	if state, err := h.streams.State(t.Context()); err != nil || state.Jobs != 0 {
		t.Errorf("%d jobs, %v", state.Jobs, err)
	}
	for entry, err := range h.store.Messages(t.Context(), store.MessageQuery{Account: h.account}) {
		if err != nil || entry.Message.SID != h.message {
			t.Errorf("message %s, %v", entry.Message.SID, err)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

func xmlError(t *testing.T, body string) (code, status int) {
	t.Helper()
	var e struct {
		RestException struct{ Code, Status int }
	}
	if err := xml.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return e.RestException.Code, e.RestException.Status
}

// messageKeys are the twenty properties of twilio_api_v2010.json with the patterns
// of their values as JSON.
var messageKeys = map[string]string{
	"sid": `^"(SM|MM)[0-9a-f]{32}"$`, "account_sid": `^"` + account + `"$`, "to": `^"\+15558675310"$`, "from": `^"\+15005550006"$`,
	"messaging_service_sid": `^null$`, "body": `^"hello"$`, "status": `^"queued"$`, "num_segments": `^"1"$`, "num_media": `^"1"$`,
	"direction": `^"outbound-api"$`, "api_version": `^"2010-04-01"$`, "price": `^null$`, "price_unit": `^"USD"$`,
	"error_code": `^null$`, "error_message": `^null$`, "date_sent": `^null$`,
	"date_created":     `^"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} \+0000"$`,
	"date_updated":     `^"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} \+0000"$`,
	"uri":              `^"/2010-04-01/Accounts/` + account + `/Messages/MM[0-9a-f]{32}\.json"$`,
	"subresource_uris": `^\{"media":"/2010-04-01/Accounts/` + account + `/Messages/MM[0-9a-f]{32}/Media\.json"\}$`,
}

// TestCreate: what is answered 201 is queued and recorded, and shown as the provider
// shows it.
func TestCreate(t *testing.T) {
	h := newHouse(t, "public")
	response, body := h.post(messages+".json", good(), nil)
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &m); err != nil || response.StatusCode != 201 {
		t.Fatalf("answered %s %s", response.Status, body)
	}
	if len(m) != len(messageKeys) {
		t.Errorf("keys %v, want %v", slices.Sorted(maps.Keys(m)), slices.Sorted(maps.Keys(messageKeys)))
	}
	for key, pattern := range messageKeys {
		if !regexp.MustCompile(pattern).Match(m[key]) {
			t.Errorf("%s: %s does not match %s", key, m[key], pattern)
		}
	}
	job, err := h.streams.Next(t.Context())
	if err != nil || job.Kind != stream.Outbound || fmt.Sprintf("%q", job.Message) != string(m["sid"]) {
		t.Fatalf("job %+v, %v", job, err)
	}
	want := good()
	want.Set("AccountSid", account)
	if form, err := job.Form(); err != nil || form.Encode() != want.Encode() {
		t.Errorf("job's form %v, %v", form, err)
	}
	record, err := h.store.Message(t.Context(), h.account, job.Message)
	if err != nil || record.Form.Encode() != want.Encode() || record.Outgoing == nil {
		t.Errorf("record %+v, %v", record, err)
	}
	response, again := h.call("GET", messages+"/"+job.Message.String()+".json", nil)
	if response.StatusCode != 200 || again != body {
		t.Errorf("GET: %s %s, want %s", response.Status, again, body)
	}
	response, list := h.call("GET", messages+"/"+job.Message.String()+"/Media.json", nil)
	if response.StatusCode != 200 || !strings.Contains(list, `"media_list":[]`) {
		t.Errorf("media: %s %s", response.Status, list)
	}
}

// TestCreateXML: without a suffix the answer is XML, its elements in the order of the
// provider's.
func TestCreateXML(t *testing.T) {
	h := newHouse(t, "public")
	form := url.Values{"To": {"+15558675310"}, "MessagingServiceSid": {"MG0123456789abcdef0123456789abcdef"}, "Body": {"hello"}}
	response, body := h.post(messages, form, nil)
	order := regexp.MustCompile(`^<\?xml version='1.0' encoding='UTF-8'\?>\n<TwilioResponse><Message><Sid>SM[0-9a-f]{32}</Sid><DateCreated>[^<]+</DateCreated>` +
		`<DateUpdated>[^<]+</DateUpdated><DateSent></DateSent><AccountSid>` + account + `</AccountSid><To>\+15558675310</To><From></From>` +
		`<MessagingServiceSid>MG0123456789abcdef0123456789abcdef</MessagingServiceSid><Body>hello</Body><Status>accepted</Status>` +
		`<NumSegments>1</NumSegments><NumMedia>0</NumMedia><Direction>outbound-api</Direction><ApiVersion>2010-04-01</ApiVersion><Price></Price>` +
		`<PriceUnit>USD</PriceUnit><ErrorCode></ErrorCode><ErrorMessage></ErrorMessage><Uri>/2010-04-01/Accounts/` + account + `/Messages/SM[0-9a-f]{32}</Uri>` +
		`<SubresourceUris><Media>/2010-04-01/Accounts/` + account + `/Messages/SM[0-9a-f]{32}/Media</Media></SubresourceUris></Message></TwilioResponse>$`)
	if response.StatusCode != 201 || !order.MatchString(body) {
		t.Errorf("answered %s %s", response.Status, body)
	}
}

// TestSegments: the parts are counted from the text, whatever the client says of them.
func TestSegments(t *testing.T) {
	h := newHouse(t, "public")
	for name, c := range map[string]struct {
		change url.Values
		want   string
	}{
		"one full part":          {url.Values{"Body": {strings.Repeat("a", 160)}}, "1"},
		"one more":               {url.Values{"Body": {strings.Repeat("a", 161)}}, "2"},
		"extension takes two":    {url.Values{"Body": {strings.Repeat("€", 80) + "a"}}, "2"},
		"UCS-2 full":             {url.Values{"Body": {strings.Repeat("ж", 70)}}, "1"},
		"UCS-2, surrogate pairs": {url.Values{"Body": {strings.Repeat("🎉", 36)}}, "2"},
		"as MMS":                 {url.Values{"Body": {strings.Repeat("a", 400)}, "SendAsMms": {"true"}}, "1"},
		"claimed":                {url.Values{"NumSegments": {"9"}}, "1"},
	} {
		form := good()
		delete(form, "MediaUrl")
		maps.Copy(form, c.change)
		var m struct {
			NumSegments string `json:"num_segments"`
		}
		response, body := h.post(messages+".json", form, nil)
		if err := json.Unmarshal([]byte(body), &m); err != nil || response.StatusCode != 201 || m.NumSegments != c.want {
			t.Errorf("%s: answered %s %s, want %s segments", name, response.Status, body, c.want)
		}
	}
}

// TestQueueAway: what cannot be queued is not sent, should it have been queued after
// all.
func TestQueueAway(t *testing.T) {
	bucket, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	conn := storetest.StartNATS(t)
	streams, err := stream.Open(t.Context(), conn, stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "public")
	records := store.New(bucket, []byte("secret"))
	h.origin = serveAPI(t, api.Options{
		Store: records, Streams: streams, Keys: rest.NewKeys(map[string][]string{account: {token}}, nil), Log: zerolog.Nop(),
	})
	conn.Close()
	if response, body := h.post(messages+".json", good(), nil); response.StatusCode != 503 {
		t.Errorf("answered %s %s", response.Status, body)
	}
	for entry, err := range records.Messages(t.Context(), store.MessageQuery{Account: h.account}) {
		t.Errorf("message %s, %v", entry.Message.SID, err)
	}
	keys := 0
	for o, err := range listAll(t, bucket, "message/") {
		if err != nil {
			t.Fatal(err)
		}
		keys++
		if account, sid, ok := store.ParseMessageKey(o); ok {
			if m, err := records.Message(t.Context(), account, sid); err != nil || m.Deleted.IsZero() || m.Form != nil {
				t.Errorf("record %+v, %v", m, err)
			}
		}
	}
	if keys != 1 {
		t.Errorf("%d records, want a tombstone", keys)
	}
}

func listAll(t *testing.T, b store.Bucket, prefix string) func(func(string, error) bool) {
	t.Helper()
	return func(yield func(string, error) bool) {
		objects, err := b.List(t.Context(), prefix, "", 1000)
		if err != nil {
			yield("", err)
			return
		}
		for _, o := range objects {
			if !yield(o.Key, nil) {
				return
			}
		}
	}
}

// TestRedactAndDelete: the text of a message goes by itself, and the message with all
// it had.
func TestRedactAndDelete(t *testing.T) {
	h := newHouse(t, "public")
	sdk := h.sdk(account, token)
	m, err := sdk.CreateMessage((&openapi.CreateMessageParams{}).SetTo("+15558675310").SetFrom("+15005550006").SetBody("hello").
		SetMediaUrl([]string{"https://example.com/a.jpg", "https://example.com/b.jpg"}))
	if err != nil || *m.NumMedia != "2" || *m.Status != "queued" {
		t.Fatalf("%+v, %v", m, err)
	}
	var e *client.TwilioRestError
	redact := (&openapi.UpdateMessageParams{}).SetBody("")
	if _, err := sdk.UpdateMessage(*m.Sid, redact); !errors.As(err, &e) || e.Status != 409 || e.Code != 20009 {
		t.Errorf("redacted on its way: %v", err)
	}
	sid, err := store.ParseMessageSID(*m.Sid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.UpdateMessage(t.Context(), h.account, sid, func(m *store.Message) error {
		m.Advance("failed")
		m.ErrorCode, m.ErrorMessage = 12300, "Invalid Content-Type"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	updated, err := sdk.UpdateMessage(*m.Sid, redact)
	if err != nil || *updated.Body != "" || *updated.Status != "failed" || *updated.ErrorCode != 12300 {
		t.Errorf("redacted: %+v, %v", updated, err)
	}
	if record, err := h.store.Message(t.Context(), h.account, sid); err != nil || record.Body+record.Form.Get("Body") != "" {
		t.Errorf("record %+v, %v", record, err)
	}
	for _, update := range []*openapi.UpdateMessageParams{(&openapi.UpdateMessageParams{}).SetStatus("canceled"), (&openapi.UpdateMessageParams{}).SetBody("other words"), {}} {
		if _, err := sdk.UpdateMessage(*m.Sid, update); !errors.As(err, &e) || e.Status != 400 {
			t.Errorf("update %+v: %v", update, err)
		}
	}
	if err := sdk.DeleteMessage(*m.Sid, nil); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := sdk.FetchMessage(*m.Sid, nil); !errors.As(err, &e) || e.Code != 20404 {
		t.Errorf("fetch of what was deleted: %v", err)
	}
	if err := sdk.DeleteMessage(*m.Sid, nil); !errors.As(err, &e) || e.Code != 20404 {
		t.Errorf("delete again: %v", err)
	}
	if _, err := h.streams.Next(t.Context()); err != nil { // that sends it
		t.Fatal(err)
	}
	job, err := h.streams.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if deletion, err := job.Deletion(); err != nil || job.Kind != stream.Delete || !deletion.Message || len(deletion.Media) != 2 {
		t.Errorf("%s job of %+v, %v", job.Kind, deletion, err)
	}
}

// TestSchedule: a message that is scheduled is answered so, and can be canceled as long as
// it is, which queues that its client is told. Doing it again changes nothing.
func TestSchedule(t *testing.T) {
	h := newHouse(t, "public")
	form := good()
	form.Set("MessagingServiceSid", "MG0123456789abcdef0123456789abcdef")
	form.Set("ScheduleType", "fixed")
	form.Set("SendAt", inFuture(time.Hour))
	var m struct{ SID, Status string }
	post := func(path string, form url.Values, change func(*http.Request), want int) (code int) {
		t.Helper()
		response, body := h.post(path, form, change)
		var e struct{ Code int }
		var answer any = &m
		if want >= 400 {
			answer = &e
		}
		if err := json.Unmarshal([]byte(body), answer); err != nil || response.StatusCode != want {
			t.Fatalf("%s: answered %s %s, %v; want %d", path, response.Status, body, err, want)
		}
		return e.Code
	}
	post(messages+".json", form, nil, 201)
	if m.Status != "scheduled" {
		t.Errorf("status %s", m.Status)
	}
	path, cancel := messages+"/"+m.SID+".json", url.Values{"Status": {"canceled"}}
	post(path, cancel, as("SK1", "reader"), 401)
	post(path, url.Values{"Status": {"sent"}}, nil, 400)
	for range 2 {
		if post(path, cancel, nil, 200); m.Status != "canceled" {
			t.Errorf("status %s", m.Status)
		}
	}
	for _, want := range []stream.Kind{stream.Outbound, stream.Replay} {
		if d, err := h.streams.Next(t.Context()); err != nil || d.Kind != want || d.Cancels() != (want == stream.Replay) {
			t.Errorf("job %+v, %v", d, err)
		}
	}
	if state, err := h.streams.State(t.Context()); err != nil || state.Jobs != 2 {
		t.Errorf("%d jobs, %v", state.Jobs, err)
	}
	post(messages+".json", good(), nil, 201) // at once
	if code := post(messages+"/"+m.SID+".json", cancel, nil, 400); code != 30409 {
		t.Errorf("a message that is not scheduled: code %d", code)
	}
}

// serveAPI serves an API until the test ends.
func serveAPI(t *testing.T, o api.Options) string {
	t.Helper()
	server := httptest.NewServer(api.New(o))
	t.Cleanup(server.Close)
	return server.URL
}

// FuzzMessage: whatever is posted is refused with a code of the provider's, or a
// message with all that sending it takes.
func FuzzMessage(f *testing.F) {
	f.Add(good().Encode())
	f.Add("To=%2B15558675310&MessagingServiceSid=MG0123456789abcdef0123456789abcdef&ContentSid=HX0123456789abcdef0123456789abcdef")
	f.Add("To=whatsapp%3A%2B15558675310&From=ACME&Body=%F0%9F%8E%89&MediaUrl=http://[::1]:80/x&ValidityPeriod=36000&SendAt=2026-01-02T15:04:05Z")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		err = api.CheckMessage(form)
		if e, ok := errors.AsType[*rest.Error](err); err != nil && (!ok || e.Status != 400 || e.Code < 20001) {
			t.Fatalf("%v", err)
		}
		if err == nil && (form.Get("To") == "" || form.Get("From")+form.Get("MessagingServiceSid") == "" || len(form["MediaUrl"]) > 10) {
			t.Fatalf("%q is taken", body)
		}
	})
}
