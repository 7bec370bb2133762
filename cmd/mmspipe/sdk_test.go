package main

import (
	"os"
	"os/exec"
	"testing"

	"mmspipe/ingest/simulate"
)

// TestTwilioNode runs Twilio's own client for Node against the service.
func TestTwilioNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("../../testdata/sdk/node_modules/twilio")
	}
	if err != nil {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatalf("%v, and MMSPIPE_TEST_NO_SKIP=1 forbids to leave it out: npm ci --prefix testdata/sdk", err)
		}
		t.Skipf("NOT TESTED with Twilio's client for Node: %v: npm ci --prefix testdata/sdk", err)
	}
	p := startOn(t, backends[0])
	var media []simulate.Media
	for range 5 {
		media = append(media, simulate.Media{Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"})
	}
	sent := p.send(simulate.Message{Media: media})
	p.awaitEvents("mms.stored", 5)
	client := exec.CommandContext(t.Context(), node, "../../testdata/sdk/media.mjs")
	client.Env = append(os.Environ(), "ORIGIN="+p.public, "ACCOUNT="+testAccount, "TOKEN="+testToken, "MESSAGE="+sent.MessageSID)
	if output, err := client.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	p.awaitEvents("mms.deleted", 1)
}
