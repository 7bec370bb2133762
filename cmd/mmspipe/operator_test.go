package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
)

// TestFailedAndReplay: what failed is listed, what is replayed is tried again, and
// is stored when its host has come round.
func TestFailedAndReplay(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := start(t, b)
		p.want(3, "nothing has failed", "failed")
		p.want(3, "there is no message to replay", "replay")
		picture := servicetest.Image(t, "small.jpg")
		sent := p.Send(simulate.Message{From: "+15005550100", To: "+15005550199", Body: "secret words", Media: []simulate.Media{
			{Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.Gone}},
			{Data: picture, ContentType: "image/jpeg"},
		}})
		p.AwaitEvents("mms.failed", 1)
		p.AwaitMedium(sent, 1)

		var f operate.Failure
		if err := json.Unmarshal([]byte(p.want(0, `"reason":"status"`, "failed")), &f); err != nil {
			t.Fatal(err)
		}
		if f.Message.String() != sent.MessageSID || f.Media.String() != sent.MediaSIDs[0] || f.Status != http.StatusGone {
			t.Errorf("failure %+v", f)
		}
		p.want(3, "nothing has failed", "failed", "--reason=timeout")
		p.want(3, "nothing has failed", "failed", "--until=1h")
		p.want(0, sent.MediaSIDs[0], "failed", "--since=1h", "--account="+servicetest.Account)
		known := p.want(0, "1 stored, 1 failed", "message", sent.MessageSID)
		if strings.Contains(known, "secret words") || strings.Contains(known, "+15005550100") {
			t.Errorf("text or number in\n%s", known)
		}
		p.want(0, "secret words", "message", "--private", sent.MessageSID)
		p.want(0, `"events": [`, "message", "--json", sent.MessageSID)

		p.want(0, "1 message would be queued; nothing was done", "replay", "--dry-run", "--media="+sent.MediaSIDs[0])
		p.want(0, "1 message queued", "replay")
		if _, body := p.AwaitMedium(sent, 0); len(body) != len(picture) {
			t.Errorf("%d bytes", len(body))
		}
		p.Eventually("nothing is failed any more", func() bool { status, _, _ := p.command("failed"); return status == 3 })
		p.want(0, "already in the queue", "replay", "--all", "--since=1h", "--json=false")
		p.want(0, "2 mms.stored", "status")
		p.want(0, `"durability": {`, "status", "--json")
	})
}

// TestOperatorMistakes: each error is one line that says what to do.
func TestOperatorMistakes(t *testing.T) {
	t.Parallel()
	p := start(t, servicetest.Embedded)
	for _, c := range []struct {
		status int
		part   string
		args   []string
	}{
		{3, "the service does not know it", []string{"message", "MM" + strings.Repeat("0", 32)}},
		{1, "malformed", []string{"message", "MM1"}},
		{1, "refuses the key", []string{"status", "--key=SK1:wrong"}},
		{2, "--key is not", []string{"status", "--key=wrong"}},
		{2, "--key-file: open /nowhere/key", []string{"status", "--key-file=/nowhere/key"}},
		{2, "both set", []string{"status", "--key-file=/nowhere/key", "--key=SK1:x"}},
		{1, "refuses the key", []string{"status", "--key=" + servicetest.Account + ":" + servicetest.Token}}, // an account's token is not an operator's key
		{1, "start it with mmspipe serve", []string{"status", "--data=" + t.TempDir()}},
		{1, "does not answer at 127.0.0.1:1: ", []string{"status", "--admin=127.0.0.1:1"}},
		{2, "is not a time", []string{"failed", "--since=yesterday"}},
		{2, "needs --message or --since", []string{"replay", "--all"}},
		{2, "--account: ", []string{"erase", "--number=+15005550123", "--account=AC1"}},
		{2, "for all accounts and times", []string{"reconcile", "--delete-upstream", "--account=" + servicetest.Account}},
		{2, "for all accounts and times", []string{"reconcile", "--delete-upstream", "--until=48h"}},
	} {
		status, out, said := p.command(c.args...)
		if status != c.status || !strings.Contains(said, c.part) || out != "" {
			t.Errorf("mmspipe %s: exit status %d, want %d with %q:\n%s%s", strings.Join(c.args, " "), status, c.status, c.part, out, said)
		}
	}
	secret, err := os.ReadFile(filepath.Join(p.Config.Data, operator.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(operator.KeySID+":"+string(secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.want(0, "durability", "status", "--data="+t.TempDir(), "--admin="+strings.TrimPrefix(p.Admin, "http://"), "--key-file="+file)
	response, err := http.Get(p.Admin + "/operator/status")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: %s", response.Status)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	p.want(1, "start it with mmspipe serve", "status")
}

// TestReconcileCommand: a webhook that never came is found and fetched, and with a
// second run there is nothing to do.
func TestReconcileCommand(t *testing.T) {
	t.Parallel()
	p := start(t, servicetest.Embedded)
	picture := servicetest.Image(t, "small.jpg")
	kept := p.Send(simulate.Message{Media: []simulate.Media{{Data: picture, ContentType: "image/jpeg"}}})
	p.AwaitMedium(kept, 0)
	lost := p.Twilio.Host(simulate.Message{Media: []simulate.Media{{Data: picture, ContentType: "image/jpeg"}}}, time.Now().Add(-time.Hour))

	p.want(2, "--since is missing", "reconcile")
	p.want(0, lost.MessageSID, "reconcile", "--since=2h")
	p.want(0, "0 messages queued", "reconcile", "--since=2h", "--fix", "--dry-run")
	p.want(0, "1 message queued", "reconcile", "--since=2h", "--fix")
	if _, body := p.AwaitMedium(lost, 0); len(body) != len(picture) {
		t.Errorf("%d bytes, want %d", len(body), len(picture))
	}
	p.Eventually("nothing is missing", func() bool {
		status, _, _ := p.command("reconcile", "--since=2h")
		return status == 3
	})
	// Nothing is a day old yet.
	p.want(3, "there is nothing to delete", "reconcile", "--delete-upstream", "--dry-run")
	p.want(0, "2 messages: 0 entries to be added, 0 to be removed", "reindex", "--dry-run")
	p.want(0, "2 messages: 0 entries added, 0 removed", "reindex")
}

// TestEraseCommand: an erasure prints a receipt, and leaves nothing to be found.
func TestEraseCommand(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := start(t, b)
		const number = "+15005550123"
		sent := p.Send(simulate.Message{From: number, To: "+15005550199", Media: []simulate.Media{{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}}})
		other := p.Send(simulate.Message{From: "+15005550124", To: "+15005550199", Media: []simulate.Media{{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}}})
		p.AwaitEvents("mms.stored", 2)
		p.Eventually("the queue is empty", func() bool { _, r := p.Readyz(); return r.Streams.Jobs == 0 })
		p.want(2, "--number", "erase")
		p.want(3, "nothing is kept of that number", "erase", "--number=+15005550999")
		p.want(1, "want one with a country code", "erase", "--number=12 34")
		p.want(0, "1 message, 1 medium", "erase", "--number=(500) 555-0123", "--dry-run")
		p.want(0, "1 message, 1 medium (80 KiB), 2 events and 0 waiting jobs would be removed", "erase", "--number="+number, "--dry-run")
		receipt := p.want(0, "1 message, 1 medium", "erase", "--number="+number)
		if strings.Contains(receipt, number) || !strings.Contains(receipt, "2 events and 0 waiting jobs removed") {
			t.Errorf("receipt %s", receipt)
		}
		p.want(3, "nothing is kept of that number", "erase", "--number="+number)
		p.want(0, "deleted", "message", sent.MessageSID)
		if response, _ := p.Get(servicetest.MediaPath(t, sent, 0)); response.StatusCode != http.StatusNotFound {
			t.Errorf("the medium is still served: %s", response.Status)
		}
		p.AwaitMedium(other, 0)
	})
}
