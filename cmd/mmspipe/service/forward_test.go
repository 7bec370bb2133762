package service_test

import (
	"net/http"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
)

// TestForwardReply: in reply mode the application's TwiML answers Twilio.
func TestForwardReply(t *testing.T) {
	t.Parallel()
	app := servicetest.NewApplication(t)
	p := servicetest.Start(t, servicetest.Embedded, "--forward="+app.URL(), "--forward-mode=reply", "--fetch-allow="+servicetest.Allow(t, app.URL()))
	sent, err := p.Twilio.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}}})
	if err != nil || sent.Body != servicetest.TwiML {
		t.Fatalf("answer %q, %v", sent.Body, err)
	}
	if response, _ := p.Get(servicetest.MediaPath(t, sent, 0)); response.StatusCode != http.StatusOK {
		t.Errorf("the medium is not waited for: %s", response.Status)
	}
}
