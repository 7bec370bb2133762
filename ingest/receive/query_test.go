package receive_test

import (
	"net/http"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// TestCallbackQuery: a signed callback is about the message that its URL names only if the
// URL was made here for that message. Any other with a key is refused, and one without a
// key is about the message that the provider names: the same token signs what is posted to
// the URLs of clients, and theirs may lead here.
func TestCallbackQuery(t *testing.T) {
	h := ingesttest.New(t)
	named := store.NewMessageSID(true)
	made := h.URL(webhook.CallbackURL(h.URL("http://"+h.URL(h.Webhook).Host), store.New(nil, ingesttest.Secret), h.Account, named))
	made.Fragment = ""
	query := made.Query()
	with := func(name, value string) string {
		changed := h.URL(made.String())
		q := changed.Query()
		q.Set(name, value)
		changed.RawQuery = q.Encode()
		return changed.String()
	}
	const itself = "" // what the provider calls it
	for _, c := range []struct {
		address string
		want    int
		about   string
	}{
		{made.String(), http.StatusOK, named.String()},
		{with("message", "nonsense"), http.StatusBadRequest, itself},
		{with("message", "ME0123456789abcdef0123456789abcdef"), http.StatusBadRequest, itself},
		{with("message", store.NewMessageSID(true).String()), http.StatusBadRequest, itself},
		{with("key", ""), http.StatusBadRequest, itself},
		{h.Webhook + "?key=" + query.Get("key"), http.StatusBadRequest, itself},
		{h.Webhook + "?message=" + named.String(), http.StatusOK, itself},
		{h.Webhook + "?message=nonsense", http.StatusOK, itself},
	} {
		h.Twilio.SetWebhook(c.address)
		sent, err := h.Twilio.Send(t.Context(), simulate.Message{Outbound: true})
		if err != nil || sent.Status != c.want {
			t.Errorf("%s: answered %d, %v; want %d", c.address, sent.Status, err, c.want)
			continue
		}
		if sent.Status != http.StatusOK {
			continue
		}
		if c.about == itself {
			c.about = sent.MessageSID
		}
		d := h.Take()
		if d.Kind != stream.Status || d.Message.String() != c.about {
			t.Errorf("%s: %s job of %s, want one of %s", c.address, d.Kind, d.Message, c.about)
		}
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.Twilio.SetWebhook(made.String())
	if sent, err := h.Twilio.Send(t.Context(), simulate.Message{}); err != nil || sent.Status != http.StatusBadRequest {
		t.Errorf("an inbound message: answered %d, %v", sent.Status, err)
	}
	if n := h.Queued(); n != 0 {
		t.Errorf("%d jobs are queued", n)
	}
}
