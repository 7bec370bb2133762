package receive_test

import (
	"net/http"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store/stream"
)

// TestCallbackQuery: the message that a URL names is taken from a signed query only,
// and must be one.
func TestCallbackQuery(t *testing.T) {
	h := ingesttest.New(t)
	const named = "MM0123456789abcdef0123456789abcdef"
	for query, want := range map[string]int{
		"?message=" + named:                           http.StatusOK,
		"?message=nonsense":                           http.StatusBadRequest,
		"?message=ME0123456789abcdef0123456789abcdef": http.StatusBadRequest,
	} {
		h.Twilio.SetWebhook(h.Webhook + query)
		sent, err := h.Twilio.Send(t.Context(), simulate.Message{Outbound: true})
		if err != nil || sent.Status != want {
			t.Errorf("%s: answered %d, %v; want %d", query, sent.Status, err, want)
		}
	}
	if d := h.Take(); d.Kind != stream.Status || d.Message.String() != named {
		t.Errorf("job %s of %s", d.Kind, d.Message)
	}
	h.Twilio.SetWebhook(h.Webhook + "?message=" + named)
	if sent, err := h.Twilio.Send(t.Context(), simulate.Message{}); err != nil || sent.Status != http.StatusBadRequest {
		t.Errorf("an inbound message: answered %d, %v", sent.Status, err)
	}
}
