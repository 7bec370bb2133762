package ingest

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testAccount = "AC0123456789abcdef0123456789abcdef"
	testMessage = "MM0123456789abcdef0123456789abcdef"
)

func TestParseWebhook(t *testing.T) {
	valid := "AccountSid=" + testAccount + "&MessageSid=" + testMessage + "&From=%2B1&To=%2B2"
	for _, c := range []struct {
		name, form string
		media      int
		status     string
		err        string // part of the error, "" if there is none
	}{
		{"text", valid + "&NumMedia=0&Body=hi", 0, "", ""},
		{"no NumMedia", valid, 0, "", ""},
		{"referral media are not the message's", valid + "&NumMedia=0&ReferralNumMedia=1&ReferralMediaUrl=x", 0, "", ""},
		{"one medium", valid + "&NumMedia=1&MediaUrl0=http%3A%2F%2Fa&MediaContentType0=image%2Fpng", 1, "", ""},
		{"media without NumMedia", valid + "&MediaUrl0=http%3A%2F%2Fa&MediaUrl1=b", 2, "", ""},
		{"a URL is missing", valid + "&NumMedia=3&MediaUrl0=a&MediaUrl2=c", 3, "", ""},
		{"eleven", valid + "&NumMedia=11&MediaUrl0=a", 11, "", ""},
		{"status callback", valid + "&MessageStatus=delivered", 0, "delivered", ""},
		{"partial delivery", valid + "&MessageStatus=partially_delivered", 0, "partially_delivered", ""},
		{"hostile status", valid + "&MessageStatus=sent%0D%0AX:%20y", 0, "", "MessageStatus"},
		{"fallback call", valid + "&ErrorCode=11200&ErrorUrl=http%3A%2F%2Fa", 0, "", ""},
		{"no message", "AccountSid=" + testAccount, 0, "", "MessageSid"},
		{"no account", "MessageSid=" + testMessage, 0, "", "AccountSid"},
		{"repeated SID", valid + "&MessageSid=" + testMessage, 0, "", "repeated"},
		{"NumMedia is no number", valid + "&NumMedia=x", 0, "", "NumMedia"},
		{"NumMedia is negative", valid + "&NumMedia=-1", 0, "", "NumMedia"},
		{"NumMedia is absurd", valid + "&NumMedia=1000000000", 0, "", "NumMedia"},
	} {
		t.Run(c.name, func(t *testing.T) {
			form, err := url.ParseQuery(c.form)
			if err != nil {
				t.Fatal(err)
			}
			h, err := parseWebhook(form)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one about %s", err, c.err)
				}
				return
			}
			if err != nil || len(h.media) != c.media || h.status != c.status {
				t.Errorf("%d media, status %q, %v; want %d, %q", len(h.media), h.status, err, c.media, c.status)
			}
		})
	}
}

// TestFingerprint: a retry and a fallback call are the same message, anything
// else that differs makes another.
func TestFingerprint(t *testing.T) {
	base := "AccountSid=" + testAccount + "&MessageSid=" + testMessage + "&From=1&To=2&Body=x&NumMedia=1&MediaUrl0=a"
	id := func(form string) string {
		values, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		h, err := parseWebhook(values)
		if err != nil {
			t.Fatal(err)
		}
		return h.jobID()
	}
	for _, same := range []string{base + "&ErrorCode=11200&ErrorUrl=b", base + "&New=parameter"} {
		if id(same) != id(base) {
			t.Errorf("%s is another message", same)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "From=1", "From=3", 1), strings.Replace(base, "Body=x", "Body=y", 1),
		strings.Replace(base, "MediaUrl0=a", "MediaUrl0=b", 1), strings.Replace(base, "From=1&To=2", "From=12&To=", 1),
		strings.Replace(base, "NumMedia=1", "NumMedia=2", 1),
	} {
		if id(other) == id(base) {
			t.Errorf("%s is the same message", other)
		}
	}
}

func FuzzParseWebhook(f *testing.F) {
	files, _ := filepath.Glob("../testdata/webhooks/*")
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	f.Add("AccountSid=" + testAccount + "&MessageSid=" + testMessage + "&NumMedia=2&MediaUrl0=a")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		h, err := parseWebhook(form)
		if err != nil {
			return
		}
		// A Job carries the form encoded again: it must mean the same.
		again, err := url.ParseQuery(form.Encode())
		if err != nil {
			t.Fatal(err)
		}
		h2, err := parseWebhook(again)
		if err != nil || h2.jobID() != h.jobID() || len(h2.media) != len(h.media) {
			t.Fatalf("the form means something else when it is encoded again: %v", err)
		}
		if len(h.media) > maxMedia+len(form) {
			t.Fatalf("%d media of %d parameters", len(h.media), len(form))
		}
	})
}
