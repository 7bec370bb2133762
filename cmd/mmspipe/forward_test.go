package main

import (
	"net/http"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
)

// TestForwardCommands: a webhook that the application does not take is listed, and
// taken when it is replayed.
func TestForwardCommands(t *testing.T) {
	t.Parallel()
	app := servicetest.NewApplication(t)
	app.Answer(http.StatusServiceUnavailable)
	p := start(t, servicetest.Embedded, "--forward="+app.URL(), "--fetch-allow="+servicetest.Allow(t, app.URL()), "--give-up=1ns")
	sent := p.Send(simulate.Message{Body: "hello"})
	p.AwaitEvents("mms.failed", 1)
	p.want(0, `"forward":"received"`, "failed", "--reason=forward")
	p.want(0, "forward received  failed: post to 127.0.0.1: answered 503, after 1 try,", "message", sent.MessageSID)
	app.Answer(http.StatusNoContent)
	p.want(0, "1 message queued", "replay")
	p.Eventually("nothing is failed any more", func() bool { status, _, _ := p.command("failed"); return status == 3 })
	p.want(0, "taken with 204", "message", sent.MessageSID)
}
