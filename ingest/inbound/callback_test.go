package inbound_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// relayed are handlers that hand outgoing messages to the provider.
func relayed(t *testing.T, h *ingesttest.House) *ingesttest.Rooms {
	t.Helper()
	h.Setup.Relay, h.Setup.Settle = true, time.Nanosecond
	h.Setup.PublicURL = h.URL(h.Webhook).JoinPath("/../..")
	return h.Rooms(storetest.OpenDir(t))
}

// posted is the Job of a message that a client posts.
func posted(h *ingesttest.House) *stream.Delivery {
	h.Helper()
	form := url.Values{
		"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {"the text"}, "StatusCallback": {"https://app.example.com/status"},
	}
	return h.Deliver(stream.NewOutbound(store.NewOutgoing(h.Account, store.NewMessageSID(false), form, time.Now().UTC())))
}

// wantTold takes the Job that tells the client a status of its message.
func wantTold(h *ingesttest.House, sid store.MessageSID, status string) {
	h.Helper()
	told := h.Take()
	form, err := told.Form()
	if err != nil || told.Kind != stream.Forward || told.Message != sid ||
		form.Get("MessageSid") != sid.String() || form.Get("SmsSid") != sid.String() || form.Get("MessageStatus") != status {
		h.Errorf("the client is told %v by %s of %s, %v", form, told.Kind, told.Message, err)
	}
}

// TestRelayedCallbacks: a callback that names a message here is of that one, before
// its sending is noted and after; one of a message that is gone does nothing, and one
// of the provider's own name for it is not taken for a message sent elsewhere.
func TestRelayedCallbacks(t *testing.T) {
	h := ingesttest.New(t)
	r := relayed(t, h)
	h.Twilio.Script(simulate.Outcome{Answer: simulate.Reset, Callbacks: []string{}})
	d := posted(h)
	sid := d.Message
	if err := r.Handle(t.Context(), d); err == nil { // the answer is lost
		t.Fatal("a message without an answer is done")
	}
	upstream := h.Twilio.Accepted()[0].MessageSID
	ack(h, r, callback(h, sid.String(), upstream, "sent"))
	m := message(h, r, sid)
	if m.Outgoing.Upstream.String() != upstream || !m.Outgoing.Intent.IsZero() || m.Status != "sent" || m.DateSent.IsZero() {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
	wantTold(h, sid, "sent")
	try(h, r, d)
	if len(h.Twilio.Accepted()) != 1 {
		t.Errorf("%d accepted", len(h.Twilio.Accepted()))
	}
	try(h, r, callback(h, upstream, upstream, "delivered"))
	if m := message(h, r, sid); m.Status != "delivered" || h.Twilio.Calls(simulate.FetchMessage) != 0 {
		t.Errorf("%s after %d calls", m.Status, h.Twilio.Calls(simulate.FetchMessage))
	}
	wantTold(h, sid, "delivered")
	if _, err := r.Store.DeleteMessage(t.Context(), h.Account, sid, time.Now()); err != nil {
		t.Fatal(err)
	}
	events := len(h.EventTypes(sid.String()))
	try(h, r, callback(h, sid.String(), upstream, "read"))
	try(h, r, callback(h, "MM00000000000000000000000000000404", upstream, "read"))
	if got := len(h.EventTypes(sid.String())); got != events {
		t.Errorf("%d events after it was deleted, want %d", got, events)
	}
}

// TestCallbackBeforeAnswer: the callback of a message is worked on before the provider's
// answer comes, which is then known already: it is sent once, and nothing moves backwards.
func TestCallbackBeforeAnswer(t *testing.T) {
	h := ingesttest.New(t)
	proxy := httputil.NewSingleHostReverseProxy(h.URL(h.Twilio.Origin()))
	accepted, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		held := httptest.NewRecorder()
		proxy.ServeHTTP(held, q)
		close(accepted)
		<-answer
		maps.Copy(w.Header(), held.Header())
		w.WriteHeader(held.Code)
		_, _ = w.Write(held.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	h.Setup.Upstream = h.URL(server.URL)
	r := relayed(t, h)
	h.Twilio.Script(simulate.Outcome{Callbacks: []string{}})
	d := posted(h)
	sent := make(chan error)
	go func() { sent <- r.Handle(t.Context(), d) }()
	<-accepted
	upstream := h.Twilio.Accepted()[0].MessageSID
	try(h, r, callback(h, d.Message.String(), upstream, "delivered"))
	close(answer)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	m := message(h, r, d.Message)
	if m.Outgoing.Upstream.String() != upstream || !m.Outgoing.Intent.IsZero() || m.Status != "delivered" || m.DateSent.IsZero() || m.Outgoing.Failure != nil {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
	var sents int
	for _, kind := range h.EventTypes(d.Message.String()) {
		if kind == stream.EventSent {
			sents++
		}
	}
	if sents != 1 || len(h.Twilio.Accepted()) != 1 {
		t.Errorf("%d sent events, %d accepted", sents, len(h.Twilio.Accepted()))
	}
}

// TestMistakenCallback: of two messages that are alike one was taken for the other. The
// callback that tells is heard, and comes to an end.
func TestMistakenCallback(t *testing.T) {
	h := ingesttest.New(t)
	r := relayed(t, h)
	h.Twilio.Script(simulate.Outcome{Refuse: http.StatusTooManyRequests})
	d := posted(h)
	if err := r.Handle(t.Context(), d); err == nil {
		t.Fatal("a message that was not taken is done")
	}
	const taken = "MMa0000000000000000000000000000001"
	theirs, err1 := store.ParseMessageSID(taken)
	another, err2 := store.ParseMessageSID("MMa0000000000000000000000000000002")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Store.Claim(t.Context(), h.Account, theirs, another); err != nil {
		t.Fatal(err)
	}
	try(h, r, callback(h, d.Message.String(), taken, "delivered"))
	if m := message(h, r, d.Message); m.Status != "delivered" || !m.Outgoing.Upstream.IsZero() {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}
