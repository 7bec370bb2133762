package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

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

// TestReconcileCommand: a webhook that never came is found and fetched, and with a
// second run there is nothing to do.
func TestReconcileCommand(t *testing.T) {
	p := startOn(t, backends[0])
	picture := testImage(t, "small.jpg")
	kept := p.send(simulate.Message{Media: []simulate.Media{{Data: picture, ContentType: "image/jpeg"}}})
	p.awaitMedium(kept, 0)
	lost := p.twilio.Host(simulate.Message{Media: []simulate.Media{{Data: picture, ContentType: "image/jpeg"}}}, time.Now().Add(-time.Hour))

	p.want(2, "--since is wanted", "reconcile")
	p.want(0, lost.MessageSID, "reconcile", "--since=2h")
	p.want(0, "0 queued", "reconcile", "--since=2h", "--fix", "--dry-run")
	p.want(0, "1 queued", "reconcile", "--since=2h", "--fix")
	if _, body := p.awaitMedium(lost, 0); len(body) != len(picture) {
		t.Errorf("%d bytes, want %d", len(body), len(picture))
	}
	p.eventually("nothing is missing", func() bool {
		status, _, _ := p.command("reconcile", "--since=2h")
		return status == 3
	})
	// Nothing is a day old yet.
	p.want(3, "nothing is to be deleted", "reconcile", "--delete-upstream", "--dry-run")
	p.want(0, "2 messages: 0 entries to be added, 0 to be removed", "reindex", "--dry-run")
	p.want(0, "2 messages: 0 entries added, 0 removed", "reindex")
}

// TestEraseCommand: an erasure prints a receipt, and leaves nothing to be found.
func TestEraseCommand(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		const number = "+15005550123"
		sent := p.send(simulate.Message{From: number, To: "+15005550199", Media: []simulate.Media{{Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"}}})
		other := p.send(simulate.Message{From: "+15005550124", To: "+15005550199", Media: []simulate.Media{{Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"}}})
		p.awaitEvents("mms.stored", 2)
		p.eventually("the queue is empty", func() bool { _, r := p.readyz(); return r.Streams.Jobs == 0 })
		p.want(2, "--number", "erase")
		p.want(3, "nothing is kept of that number", "erase", "--number=+15005550999")
		p.want(0, "1 messages, 1 media (0 B), 0 events and 0 waiting jobs would be removed", "erase", "--number="+number, "--dry-run")
		receipt := p.want(0, "1 messages, 1 media", "erase", "--number="+number)
		if strings.Contains(receipt, number) || !strings.Contains(receipt, "2 events and 0 waiting jobs removed") {
			t.Errorf("receipt %s", receipt)
		}
		p.want(3, "nothing is kept of that number", "erase", "--number="+number)
		p.want(0, "deleted", "message", sent.MessageSID)
		if response, _ := p.get(mediaPath(t, sent, 0)); response.StatusCode != http.StatusNotFound {
			t.Errorf("the medium is still served: %s", response.Status)
		}
		p.awaitMedium(other, 0)
	})
}
