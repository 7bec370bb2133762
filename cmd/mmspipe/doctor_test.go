package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
)

// TestDoctorHook: whatever keeps a signature from matching is named.
func TestDoctorHook(t *testing.T) {
	form := url.Values{"AccountSid": {servicetest.Account}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}, "Body": {"hi"}}
	const configured = "https://mms.example.com"
	for _, c := range []struct {
		name             string
		token, signedFor string
		path, host       string
		header, body     string
		status           int
		says             string
	}{
		{name: "right", says: "matches token 1"},
		{name: "second token", token: "second", says: "matches token 2"},
		{name: "with a port", signedFor: configured + ":443/webhooks/twilio", says: "matches token 1"},
		{name: "another origin", signedFor: "https://sms.example.org/webhooks/twilio", host: "sms.example.org", status: 1, says: "set MMSPIPE_PUBLIC_URL=https://sms.example.org"},
		{name: "behind a proxy", signedFor: "https://sms.example.org/webhooks/twilio", host: "10.0.0.7:8080", header: "X-Forwarded-Host: sms.example.org\n", status: 1, says: "set MMSPIPE_PUBLIC_URL=https://sms.example.org"},
		{name: "a slash more", signedFor: configured + "/webhooks/twilio/", status: 1, says: "changes the path or the query"},
		{name: "a query more", path: "/webhooks/twilio?utm=1", status: 1, says: "changes the path or the query"},
		{name: "another token", token: "unknown", status: 1, says: "the token was changed at Twilio: set MMSPIPE_ACCOUNTS=" + servicetest.Account + ":TOKEN"},
		{name: "another body", body: form.Encode() + "&x=1", status: 1, says: "something between changes the parameters"},
		{name: "another account", body: strings.Replace(form.Encode(), servicetest.Account, "AC"+strings.Repeat("1", 32), 1), status: 1, says: "is not in MMSPIPE_ACCOUNTS: add AC" + strings.Repeat("1", 32) + ":TOKEN"},
		{name: "not a webhook", body: "hello", status: 1, says: "no AccountSid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			or := func(s, otherwise string) string {
				if s == "" {
					return otherwise
				}
				return s
			}
			signed := signature.Sign(or(c.token, "first"), or(c.signedFor, configured+"/webhooks/twilio"), form)
			file := filepath.Join(t.TempDir(), "webhook.txt")
			text := fmt.Sprintf("POST %s HTTP/1.1\nHost: %s\nContent-Type: application/x-www-form-urlencoded\n%sX-Twilio-Signature: %s\n\n%s\n",
				or(c.path, "/webhooks/twilio"), or(c.host, "mms.example.com"), c.header, signed, or(c.body, form.Encode()))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			status, out, said := command(t, nil, "doctor", "--accounts="+servicetest.Account+":first:second", "--public-url="+configured, file)
			if status != c.status || !strings.Contains(out+said, c.says) {
				t.Errorf("exit status %d, want %d with %q: %s%s", status, c.status, c.says, out, said)
			}
			if strings.Contains(out+said, signed) || strings.Contains(out+said, "first") {
				t.Errorf("a secret is in %s%s", out, said)
			}
		})
	}
}

// TestDoctor: a set-up that is right has nothing that fails, and what is wrong is
// named with what to do.
func TestDoctor(t *testing.T) {
	t.Parallel()
	p := start(t, servicetest.Embedded)
	right := []string{"doctor", "--accounts=" + servicetest.Account + ":" + servicetest.Token, "--public-url=" + p.Public, "--upstream=" + p.Twilio.Origin()}
	p.Twilio.SetNumbers(simulate.Number{PhoneNumber: "+15005550006", SMSURL: p.Public + "/webhooks/twilio" + service.RetryFragment})
	out := p.want(0, "webhook", right...)
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "ok") {
			t.Errorf("%s", line)
		}
	}
	p.Twilio.SetNumbers(
		simulate.Number{PhoneNumber: "+15005550006", SMSURL: "https://elsewhere.example.com/sms"},
		simulate.Number{PhoneNumber: "+15005550007", SMSURL: p.Public + "/webhooks/twilio"},
	)
	out = p.want(1, "2 checks failed", right...)
	for _, part := range []string{"Twilio calls \"https://elsewhere.example.com/sms\"", "append " + service.RetryFragment} {
		if !strings.Contains(out, part) {
			t.Errorf("want %q in\n%s", part, out)
		}
	}
	p.want(1, "FAIL  account", append(right, "--accounts="+servicetest.Account+":wrong")...)
	p.want(1, "FAIL  public URL", append(right, "--public-url=http://127.0.0.1:1")...)
	p.want(1, "FAIL  upstream", append(right, "--upstream=http://127.0.0.1:1")...)
	p.want(2, "no account is set", "doctor")
	// As all commands, it finds the service through the data directory, or is told.
	elsewhere := append(right, "--data="+t.TempDir())
	p.want(1, "FAIL  service      no service uses", elsewhere...)
	p.want(1, "FAIL  service      no operator's key", append(elsewhere, "--admin="+strings.TrimPrefix(p.Admin, "http://"))...)
	p.want(1, "FAIL  service      127.0.0.1:", append(right, "--admin="+strings.TrimPrefix(p.Public, "http://"))...)
	p.want(1, "the service does not answer at 127.0.0.1:1", append(right, "--admin=127.0.0.1:1")...)
	p.want(1, "is not an HTTP request", append(right, os.DevNull)...)
}
