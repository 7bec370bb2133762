package webhook_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/webhook"
	"mmspipe/store"
)

const (
	account = "AC0123456789abcdef0123456789abcdef"
	message = "MM0123456789abcdef0123456789abcdef"
)

func TestParse(t *testing.T) {
	valid := "AccountSid=" + account + "&MessageSid=" + message + "&From=%2B1&To=%2B2"
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
		{"no message", "AccountSid=" + account, 0, "", "MessageSid"},
		{"no account", "MessageSid=" + message, 0, "", "AccountSid"},
		{"repeated SID", valid + "&MessageSid=" + message, 0, "", "repeated"},
		{"NumMedia is no number", valid + "&NumMedia=x", 0, "", "NumMedia"},
		{"NumMedia is negative", valid + "&NumMedia=-1", 0, "", "NumMedia"},
		{"NumMedia is absurd", valid + "&NumMedia=1000000000", 0, "", "NumMedia"},
	} {
		t.Run(c.name, func(t *testing.T) {
			hook, err := parse(t, c.form)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one about %s", err, c.err)
				}
				return
			}
			if err != nil || hook.NumMedia != c.media || hook.Status != c.status {
				t.Errorf("%d media, status %q, %v; want %d, %q", hook.NumMedia, hook.Status, err, c.media, c.status)
			}
		})
	}
}

// parse parses an encoded form.
func parse(t *testing.T, form string) (webhook.Webhook, error) {
	t.Helper()
	values, err := url.ParseQuery(form)
	if err != nil {
		t.Fatal(err)
	}
	return webhook.Parse(values)
}

// TestSameMessage: a retry and a fallback call are the same message, anything else that
// differs makes another.
func TestSameMessage(t *testing.T) {
	base := "AccountSid=" + account + "&MessageSid=" + message + "&From=1&To=2&Body=x&NumMedia=1&MediaUrl0=a"
	s := store.New(nil, []byte("secret"))
	token := func(form string) string {
		hook, err := parse(t, form)
		if err != nil {
			t.Fatal(err)
		}
		return hook.Job(s).Token()
	}
	for _, same := range []string{base + "&ErrorCode=11200&ErrorUrl=b", base + "&New=parameter"} {
		if token(same) != token(base) {
			t.Errorf("%s is another message", same)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "From=1", "From=3", 1), strings.Replace(base, "Body=x", "Body=y", 1),
		strings.Replace(base, "MediaUrl0=a", "MediaUrl0=b", 1), strings.Replace(base, "From=1&To=2", "From=12&To=", 1),
		strings.Replace(base, "NumMedia=1", "NumMedia=2", 1),
	} {
		if token(other) == token(base) {
			t.Errorf("%s is the same message", other)
		}
	}
}

// FuzzParse: whatever the form, there is an error or a webhook that is the same once it
// has been through the queue, and that has no more media than the form could name.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../testdata/webhooks/*.form")
	if err != nil || len(files) == 0 {
		f.Fatalf("no webhooks to begin with: %v", err)
	}
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	f.Add("AccountSid=" + account + "&MessageSid=" + message + "&NumMedia=2&MediaUrl0=a")
	s := store.New(nil, []byte("secret"))
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		hook, err := webhook.Parse(form)
		if err != nil {
			return
		}
		job := hook.Job(s)
		again, err := webhook.ParseJob(job)
		if err != nil || again.Job(s).Token() != job.Token() || again.NumMedia != hook.NumMedia || again.Status != hook.Status {
			t.Fatalf("it says something else in its job: %+v, %v; want %+v", again, err, hook)
		}
		if most := 1000 + len(form); hook.NumMedia > most {
			t.Fatalf("%d media of %d parameters", hook.NumMedia, len(form))
		}
		if differs := again.Differences(hook.Record(time.Time{})); len(differs) > 0 {
			t.Fatalf("it differs from its own record in %v", differs)
		}
	})
}
