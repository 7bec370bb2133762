package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
)

// command runs a subcommand beside the service, as a person would, and returns its
// exit status and what it wrote.
func (p *program) command(args ...string) (status int, out, said string) {
	p.t.Helper()
	var stdout, stderr strings.Builder
	getenv := func(name string) (string, bool) {
		value, ok := p.env[name]
		return value, ok && name == "MMSPIPE_DATA"
	}
	status = run(p.t.Context(), args, getenv, stdio{strings.NewReader(""), &stdout, &stderr})
	return status, stdout.String(), stderr.String()
}

// want runs a subcommand and compares its exit status and a part of what it wrote.
func (p *program) want(status int, part string, args ...string) string {
	p.t.Helper()
	got, out, said := p.command(args...)
	if got != status || !strings.Contains(out+said, part) {
		p.t.Errorf("mmspipe %s: exit status %d, want %d with %q:\n%s%s", strings.Join(args, " "), got, status, part, out, said)
	}
	return out
}

// TestFailedAndReplay: what failed is listed, what is replayed is tried again, and
// is stored when its host has come round.
func TestFailedAndReplay(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		p.want(3, "nothing has failed", "failed")
		p.want(3, "no message is meant", "replay")
		picture := testImage(t, "small.jpg")
		sent := p.send(simulate.Message{From: "+15005550100", To: "+15005550199", Body: "secret words", Media: []simulate.Media{
			{Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.Gone}},
			{Data: picture, ContentType: "image/jpeg"},
		}})
		p.awaitEvents("mms.failed", 1)
		p.awaitMedium(sent, 1)

		var f operate.Failure
		if err := json.Unmarshal([]byte(p.want(0, `"reason":"status"`, "failed")), &f); err != nil {
			t.Fatal(err)
		}
		if f.Message.String() != sent.MessageSID || f.Media.String() != sent.MediaSIDs[0] || f.Status != http.StatusGone {
			t.Errorf("failure %+v", f)
		}
		p.want(3, "nothing has failed", "failed", "--reason=timeout")
		p.want(3, "nothing has failed", "failed", "--until=1h")
		p.want(0, sent.MediaSIDs[0], "failed", "--since=1h", "--account="+testAccount)
		known := p.want(0, "1 stored, 1 failed", "message", sent.MessageSID)
		if strings.Contains(known, "secret words") || strings.Contains(known, "+15005550100") {
			t.Errorf("text or number in\n%s", known)
		}
		p.want(0, "secret words", "message", "--private", sent.MessageSID)
		p.want(0, `"events": [`, "message", "--json", sent.MessageSID)

		p.want(0, "1 messages would be queued; nothing was done", "replay", "--dry-run", "--media="+sent.MediaSIDs[0])
		p.want(0, "1 messages queued", "replay")
		if _, body := p.awaitMedium(sent, 0); len(body) != len(picture) {
			t.Errorf("%d bytes", len(body))
		}
		p.eventually("nothing is failed any more", func() bool { status, _, _ := p.command("failed"); return status == 3 })
		p.want(0, "were queued before", "replay", "--all", "--since=1h", "--json=false")
		p.want(0, "2 mms.stored", "status")
		p.want(0, `"durability": {`, "status", "--json")
	})
}

// TestOperatorMistakes: each error is one line that says what to do.
func TestOperatorMistakes(t *testing.T) {
	p := startOn(t, backends[0])
	for _, c := range []struct {
		status int
		part   string
		args   []string
	}{
		{3, "the service does not know it", []string{"message", "MM" + strings.Repeat("0", 32)}},
		{1, "malformed", []string{"message", "MM1"}},
		{1, "refuses the key", []string{"status", "--key=SK1:wrong"}},
		{2, "--key is not", []string{"status", "--key=wrong"}},
		{1, "refuses the key", []string{"status", "--key=" + testAccount + ":" + testToken}}, // an account's token is not an operator's key
		{1, "start it with mmspipe serve", []string{"status", "--data=" + t.TempDir()}},
		{1, "does not answer", []string{"status", "--admin=127.0.0.1:1"}},
		{2, "is not a time", []string{"failed", "--since=yesterday"}},
		{2, "wants --message or --since", []string{"replay", "--all"}},
	} {
		status, out, said := p.command(c.args...)
		if status != c.status || !strings.Contains(said, c.part) || out != "" {
			t.Errorf("mmspipe %s: exit status %d, want %d with %q:\n%s%s", strings.Join(c.args, " "), status, c.status, c.part, out, said)
		}
	}
	response, err := http.Get(p.admin + "/operator/status")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: %s", response.Status)
	}
	p.stop()
	p.want(1, "start it with mmspipe serve", "status")
}
