package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// runNode runs a script of Twilio's own client for Node against a program.
func runNode(t *testing.T, p *program, script string, env ...string) {
	t.Helper()
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
	client := exec.CommandContext(t.Context(), node, "../../testdata/sdk/"+script)
	client.Env = append(os.Environ(), append(env, "ORIGIN="+p.public, "ACCOUNT="+testAccount, "TOKEN="+testToken)...)
	if output, err := client.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestTwilioNode reads and deletes media.
func TestTwilioNode(t *testing.T) {
	p := startOn(t, backends[0])
	var media []simulate.Media
	for range 5 {
		media = append(media, simulate.Media{Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"})
	}
	sent := p.send(simulate.Message{Media: media})
	p.awaitEvents("mms.stored", 5)
	runNode(t, p, "media.mjs", "MESSAGE="+sent.MessageSID)
	p.awaitEvents("mms.deleted", 1)
}

// TestTwilioNodeMessages sends, reads and deletes messages.
func TestTwilioNodeMessages(t *testing.T) {
	host := httptest.NewServer(http.FileServer(http.Dir("../../testdata/images")))
	t.Cleanup(host.Close)
	embedded := backends[0]
	p := startOn(t, backend{embedded.name, func(t *testing.T) (map[string]string, func() store.Bucket) {
		env, open := embedded.prepare(t)
		env["MMSPIPE_RELAY"] = "true"
		env["MMSPIPE_FETCH_ALLOW"] = "127.0.0.1/32:" + host.URL[strings.LastIndexByte(host.URL, ':')+1:]
		return env, open
	}})
	runNode(t, p, "messages.mjs", "MEDIA_URL="+host.URL+"/photo.jpg")
	p.awaitEvents("mms.sent", 3)
	p.awaitEvents("mms.deleted", 1)
}
