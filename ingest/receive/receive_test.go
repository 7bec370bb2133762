package receive_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"mmspipe/ingest"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/receive"
	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const emptyTwiML = `<?xml version="1.0" encoding="UTF-8"?><Response/>`

// TestAnswers: each kind of webhook has its answer, and only what is answered 200 is
// queued.
func TestAnswers(t *testing.T) {
	h := ingesttest.New(t)
	full := false
	receiver := receive.New(receive.Options{
		PublicURL: h.URL("https://mms.example.com"), Accounts: h.Setup.Accounts, Streams: h.Streams,
		Store: store.New(nil, ingesttest.Secret), Log: zerolog.Nop(), Full: func() bool { return full },
	})
	valid := url.Values{"AccountSid": {ingesttest.AccountSID}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"}, "Body": {"hello"}}
	with := func(name string, values ...string) url.Values {
		form := url.Values{name: values}
		for other, v := range valid {
			if other != name {
				form[other] = v
			}
		}
		return form
	}
	for _, c := range []struct {
		name       string
		method     string // POST if empty
		form       url.Values
		kind       string // content type; that of a form if empty
		token      string // the account's if empty
		signatures int
		full       bool
		want       int
	}{
		{name: "signed", form: valid, signatures: 1, want: http.StatusOK},
		{name: "GET", method: http.MethodGet, form: with("Body", "by GET"), signatures: 1, want: http.StatusOK},
		{name: "with a charset", form: with("Body", "charset"), kind: "application/x-www-form-urlencoded; charset=UTF-8", signatures: 1, want: http.StatusOK},
		{name: "no signature", form: valid, signatures: 0, want: http.StatusForbidden},
		{name: "two signatures", form: valid, signatures: 2, want: http.StatusForbidden},
		{name: "another token", form: valid, token: "another", signatures: 1, want: http.StatusForbidden},
		{name: "another account", form: with("AccountSid", "AC00000000000000000000000000000000"), signatures: 1, want: http.StatusForbidden},
		{name: "two accounts", form: with("AccountSid", ingesttest.AccountSID, "AC00000000000000000000000000000000"), signatures: 1, want: http.StatusForbidden},
		{name: "no account", form: with("AccountSid"), signatures: 1, want: http.StatusForbidden},
		{name: "PUT", method: http.MethodPut, form: valid, signatures: 1, want: http.StatusMethodNotAllowed},
		{name: "no form", form: valid, kind: "text/plain", signatures: 1, want: http.StatusBadRequest},
		{name: "no message", form: with("MessageSid", "nonsense"), signatures: 1, want: http.StatusBadRequest},
		{name: "as large as may be", form: with("Body", strings.Repeat("x", 255<<10)), signatures: 1, want: http.StatusOK},
		{name: "too large", form: with("Body", strings.Repeat("x", 256<<10)), signatures: 1, want: http.StatusRequestEntityTooLarge},
		{name: "no room", form: with("Body", "no room"), signatures: 1, full: true, want: http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			full = c.full
			queued := h.Queued()
			response := httptest.NewRecorder()
			receiver.ServeHTTP(response, request(c.method, c.form, c.kind, c.token, c.signatures))
			if response.Code != c.want {
				t.Errorf("answered %d %q, want %d", response.Code, response.Body, c.want)
			}
			if c.want == http.StatusOK && (response.Body.String() != emptyTwiML || response.Header().Get("Content-Type") != "text/xml") {
				t.Errorf("answered %q of %s", response.Body, response.Header().Get("Content-Type"))
			}
			if taken := h.Queued() - queued; (taken == 1) != (c.want == http.StatusOK) {
				t.Errorf("%d jobs are queued after an answer %d", taken, c.want)
			}
		})
	}
}

// request is a webhook at mms.example.com.
func request(method string, form url.Values, contentType, token string, signatures int) *http.Request {
	if method == "" {
		method = http.MethodPost
	}
	if contentType == "" {
		contentType = "application/x-www-form-urlencoded"
	}
	if token == "" {
		token = ingesttest.Token
	}
	target, signed, body := "https://mms.example.com/webhooks/twilio", form, io.Reader(strings.NewReader(form.Encode()))
	if method == http.MethodGet {
		target, signed, body = target+"?"+form.Encode(), nil, nil
	}
	r := httptest.NewRequest(method, target, body)
	r.Host = "10.0.0.7:8080" // behind a proxy: it is not what is signed
	r.Header.Set("Content-Type", contentType)
	for range signatures {
		r.Header.Add("X-Twilio-Signature", signature.Sign(token, target, signed))
	}
	return r
}

// TestRepeat: a retry and a fallback call of a webhook are taken and queued once.
func TestRepeat(t *testing.T) {
	h := ingesttest.New(t)
	sent := h.Send(simulate.Message{Body: "hello"})
	for _, again := range []func() (simulate.Sent, error){
		func() (simulate.Sent, error) { return h.Twilio.Repeat(t.Context(), sent) },
		func() (simulate.Sent, error) { return h.Twilio.Fallback(t.Context(), sent) },
	} {
		if got, err := again(); err != nil || got.Status != http.StatusOK || got.Body != emptyTwiML {
			t.Errorf("a repeat is answered %d %q, %v", got.Status, got.Body, err)
		}
	}
	if n := h.Queued(); n != 1 {
		t.Errorf("%d jobs are queued", n)
	}
	d := h.Take()
	form, err := d.Form()
	if err != nil || d.Kind != stream.Inbound || d.Message.String() != sent.MessageSID || form.Encode() != sent.Form.Encode() {
		t.Errorf("%s job of %s: %v, %v", d.Kind, d.Message, form, err)
	}
}

// TestQueueAway: a webhook that cannot be queued is answered so that it is sent again.
func TestQueueAway(t *testing.T) {
	conn := storetest.StartNATS(t)
	streams, err := stream.Open(t.Context(), conn, stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	account, err := store.ParseAccountSID(ingesttest.AccountSID)
	if err != nil {
		t.Fatal(err)
	}
	receiver := receive.New(receive.Options{
		PublicURL: &url.URL{Scheme: "https", Host: "mms.example.com"}, Accounts: ingest.Accounts{account: {ingesttest.Token}},
		Streams: streams, Store: store.New(nil, ingesttest.Secret), Log: zerolog.Nop(),
	})
	response := httptest.NewRecorder()
	form := url.Values{"AccountSid": {ingesttest.AccountSID}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}}
	receiver.ServeHTTP(response, request("", form, "", "", 1))
	if response.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d %q", response.Code, response.Body)
	}
}
