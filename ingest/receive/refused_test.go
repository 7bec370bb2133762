package receive_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/receive"
	"mmspipe/ingest/signature"
	"mmspipe/store"

	"github.com/rs/zerolog"
)

// TestRefusalsAreLogged: each cause has one line in a minute, which says what was
// checked, who called and what to do, and nothing that is secret or private.
func TestRefusalsAreLogged(t *testing.T) {
	account, err := store.ParseAccountSID(ingesttest.AccountSID)
	if err != nil {
		t.Fatal(err)
	}
	const private = "words that are nobody else's"
	form := url.Values{"AccountSid": {ingesttest.AccountSID}, "Body": {private}, "From": {"+15005550123"}}
	stranger := url.Values{"AccountSid": {"AC" + strings.Repeat("9", 32)}, "Body": {private}}
	forged := signature.Sign("another", "https://mms.example.com/webhooks/twilio", form)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		receiver := receive.New(receive.Options{
			PublicURL: &url.URL{Scheme: "https", Host: "mms.example.com"}, Accounts: ingest.Accounts{account: {ingesttest.Token}},
			Store: store.New(nil, ingesttest.Secret), Log: zerolog.New(&log),
		})
		send := func(r *http.Request, want int) {
			t.Helper()
			r.RemoteAddr = "192.0.2.7:4711"
			r.Header.Set("X-Forwarded-Host", "sms.example.org")
			w := httptest.NewRecorder()
			receiver.ServeHTTP(w, r)
			if w.Code != want || strings.Contains(w.Body.String(), "account") {
				t.Errorf("answered %d %q", w.Code, w.Body)
			}
		}
		lines := func() (all []map[string]any) {
			for line := range bytes.Lines(log.Bytes()) {
				var fields map[string]any
				if err := json.Unmarshal(line, &fields); err != nil {
					t.Fatal(err)
				}
				all = append(all, fields)
			}
			return all
		}
		for range 3 {
			send(request("", form, "", "another", 1), http.StatusForbidden)
			send(request(http.MethodGet, form, "", "another", 1), http.StatusForbidden)
			send(request("", form, "", "", 0), http.StatusForbidden)
			send(request("", stranger, "", "", 1), http.StatusForbidden)
		}
		causes := map[string]map[string]any{}
		for _, line := range lines() {
			cause, _ := line["cause"].(string)
			if causes[cause] != nil {
				t.Errorf("%q is logged twice", cause)
			}
			causes[cause] = line
			if !strings.Contains(line["hint"].(string), "mmspipe doctor") || line["caller"] != "192.0.2.7" || line["forwardedHost"] != "sms.example.org" || line["host"] != "10.0.0.7:8080" {
				t.Errorf("line %v", line)
			}
		}
		for _, cause := range []string{
			"it has no X-Twilio-Signature, or more than one", "its account is not in MMSPIPE_ACCOUNTS",
			"no token of its account has signed this URL with these parameters",
		} {
			if causes[cause] == nil {
				t.Errorf("%q is not logged", cause)
			}
		}
		const checked = "https://mms.example.com/webhooks/twilio"
		if line := causes["no token of its account has signed this URL with these parameters"]; line["url"] != checked || line["signed"] != checked+" and the names and values of AccountSid, Body, From" {
			t.Errorf("line %v", line)
		}

		log.Reset()
		time.Sleep(time.Minute) // of the bubble's clock
		send(request(http.MethodGet, form, "", "another", 1), http.StatusForbidden)
		all := lines()
		if len(all) != 1 || all[0]["moreSinceLastLine"] != 5.0 || all[0]["url"] != checked+"?AccountSid=…&Body=…&From=…" {
			t.Errorf("a minute later: %v", all)
		}
		for _, secret := range []string{private, url.QueryEscape(private), "15005550123", forged, ingesttest.Token} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
	})
}
