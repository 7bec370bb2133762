package outbound_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// told is the form of a message without media whose client wants to be told.
func told() url.Values {
	form := ingesttest.Form()
	form.Set("StatusCallback", "https://app.example.com/status")
	return form
}

// messageSID parses a SID.
func messageSID(t *testing.T, text string) store.MessageSID {
	t.Helper()
	sid, err := store.ParseMessageSID(text)
	if err != nil {
		t.Fatal(err)
	}
	return sid
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
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(simulate.Outcome{Answer: simulate.Reset, Callbacks: []string{}})
	h.Post(told())
	d := h.Take()
	sid := d.Message
	if err := r.Handle(t.Context(), d); err == nil { // the answer is lost
		t.Fatal("a message without an answer is done")
	}
	upstream := messageSID(t, h.Twilio.Accepted()[0].MessageSID)
	callback(h, r, sid, upstream, "sent")
	m := h.Message(r, sid)
	if m.Outgoing.Upstream != upstream || !m.Outgoing.Intent.IsZero() || m.Status != "sent" || m.DateSent.IsZero() {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
	wantTold(h, sid, "sent")
	h.Done(r, d)
	if len(h.Twilio.Accepted()) != 1 {
		t.Errorf("%d accepted", len(h.Twilio.Accepted()))
	}
	callback(h, r, upstream, upstream, "delivered")
	if m := h.Message(r, sid); m.Status != "delivered" || h.Twilio.Calls(simulate.FetchMessage) != 0 {
		t.Errorf("%s after %d calls", m.Status, h.Twilio.Calls(simulate.FetchMessage))
	}
	wantTold(h, sid, "delivered")
	if _, err := r.Store.DeleteMessage(t.Context(), h.Account, sid, time.Now()); err != nil {
		t.Fatal(err)
	}
	// Only the ready event goes with the text that is in it.
	left := slices.DeleteFunc(h.EventTypes(sid.String()), func(kind string) bool { return kind == stream.EventReady })
	callback(h, r, sid, upstream, "read")
	callback(h, r, messageSID(t, "MM00000000000000000000000000000404"), upstream, "read")
	wantEvents(t, h, sid, left...)
}

// TestCallbackToItself: nothing is signed for this service's own webhook, should a record
// have it as the StatusCallback of its client.
func TestCallbackToItself(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(quiet(simulate.Outcome{}))
	form := told()
	form.Set("StatusCallback", h.Webhook+"?message=MM00000000000000000000000000000404")
	sid := h.Post(form)
	h.Next(r)
	callback(h, r, sid, h.Message(r, sid).Outgoing.Upstream, "delivered")
	if m := h.Message(r, sid); m.Status != "delivered" || h.Queued() != 0 {
		t.Errorf("%s, %d jobs are queued", m.Status, h.Queued())
	}
}

// TestCallbackBeforeAnswer: the callback of a message is worked on before the provider's
// answer comes, which is then known already: it is sent once, and nothing moves backwards.
func TestCallbackBeforeAnswer(t *testing.T) {
	h := sending(t)
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
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(simulate.Outcome{Callbacks: []string{}})
	h.Post(told())
	d := h.Take()
	sent := make(chan error)
	go func() { sent <- r.Handle(t.Context(), d) }()
	<-accepted
	upstream := messageSID(t, h.Twilio.Accepted()[0].MessageSID)
	callback(h, r, d.Message, upstream, "delivered")
	close(answer)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	m := h.Message(r, d.Message)
	if m.Outgoing.Upstream != upstream || !m.Outgoing.Intent.IsZero() || m.Status != "delivered" || m.DateSent.IsZero() || m.Outgoing.Failure != nil {
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
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(simulate.Outcome{Refuse: http.StatusTooManyRequests})
	h.Post(told())
	d := h.Take()
	if err := r.Handle(t.Context(), d); err == nil {
		t.Fatal("a message that was not taken is done")
	}
	taken, another := messageSID(t, "MMa0000000000000000000000000000001"), messageSID(t, "MMa0000000000000000000000000000002")
	if _, err := r.Store.Claim(t.Context(), h.Account, taken, another); err != nil {
		t.Fatal(err)
	}
	callback(h, r, d.Message, taken, "delivered")
	if m := h.Message(r, d.Message); m.Status != "delivered" || !m.Outgoing.Upstream.IsZero() {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}
