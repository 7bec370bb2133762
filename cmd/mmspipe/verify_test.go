package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/verify"
	"mmspipe/store"
)

// TestVerifyCommand: damage is found and told in words that agree, with an exit status for
// scripts, and is mended while the service works.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	p := start(t, servicetest.Embedded)
	picture := servicetest.Image(t, "small.jpg")
	sent := p.Send(simulate.Message{From: "+15005550100", To: "+15005550199", Media: []simulate.Media{{Data: picture, ContentType: "image/jpeg"}}})
	p.AwaitEvents("mms.stored", 1)
	p.Eventually("the queue is empty", func() bool { _, r := p.Readyz(); return r.Streams != nil && r.Streams.Jobs == 0 })
	p.want(0, "nothing is damaged", "verify")
	p.want(0, "1 message, 1 medium (", "verify")
	p.want(0, "and 2 events verified", "verify", "--fix")

	// overwrite damages an object while the service is stopped: the directory is its own.
	overwrite := func(key, content string) {
		t.Helper()
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		defer p.Start()
		bucket := servicetest.OpenDir(t, p.Config.Data)
		defer bucket.Close()
		if _, err := bucket.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), store.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	overwrite("message/"+servicetest.Account+"/"+sent.MessageSID+".json", `{"accountSid":`)
	out := p.want(1, "1 thing is damaged or missing; mmspipe verify --fix mends", "verify")
	if !strings.Contains(out, sent.MessageSID) || !strings.Contains(out, "record") || !strings.Contains(out, "left") {
		t.Errorf("verify prints\n%s", out)
	}
	if response, body := p.Get("/2010-04-01/Accounts/" + servicetest.Account + "/Messages.json"); response.StatusCode != http.StatusOK {
		t.Errorf("the list: %s %s", response.Status, body)
	}
	p.want(1, "mmspipe verify --fix", "message", sent.MessageSID)
	p.want(0, "1 thing was damaged or missing: 1 mended, 0 queued to be made again, 0 in quarantine, 0 left", "verify", "--fix")
	p.want(0, "1 stored, 0 failed", "message", sent.MessageSID)

	overwrite("media/"+servicetest.Account+"/"+sent.MessageSID+"/"+sent.MediaSIDs[0]+"/original", "short")
	overwrite("media/"+servicetest.Account+"/"+sent.MessageSID+"/"+sent.MediaSIDs[0]+"/us", "short")
	var r verify.Verified
	if _, out, _ := p.command("verify", "--fix", "--json"); json.Unmarshal([]byte(out), &r) != nil || r.Damaged != 2 || r.Queued != 2 || len(r.List) != 2 || r.List[0].What != "original" {
		t.Errorf("verify prints %s", out)
	}
	p.Eventually("nothing is failed any more", func() bool { status, _, _ := p.command("failed"); return status == 3 })
	p.want(0, "nothing is damaged", "verify")
	if _, body := p.AwaitMedium(sent, 0); len(body) != len(picture) {
		t.Errorf("%d bytes, want %d", len(body), len(picture))
	}
}
