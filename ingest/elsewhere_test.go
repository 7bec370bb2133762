package ingest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// callback queues a status callback and takes it, whatever was queued before.
func (h *house) callback(own, sid, status string) *stream.Delivery {
	h.t.Helper()
	message, err := store.ParseMessageSID(own)
	if err != nil {
		h.t.Fatal(err)
	}
	form := url.Values{
		"AccountSid": {h.account.String()}, "MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {status}, "SmsStatus": {status},
	}
	job := stream.Job{Kind: stream.Status, Account: h.account, Message: message, ID: "st:" + own + status + time.Now().String(), Data: []byte(form.Encode())}
	if _, err := h.streams.PublishJob(h.t.Context(), job); err != nil {
		h.t.Fatal(err)
	}
	return h.take()
}

// TestElsewhere: of a message that was sent through the provider itself, and whose
// callbacks come early, late, out of order and twice, each medium is stored once.
func TestElsewhere(t *testing.T) {
	h := newHouse(t)
	w := h.callingWorker(dir(t))
	card := simulate.Media{Data: []byte("BEGIN:VCARD\nEND:VCARD\n"), ContentType: "text/vcard"}
	sent := h.twilio.Host(simulate.Message{From: "+15005550006", To: "+15558675310", Body: "text", Media: []simulate.Media{card, card}, Outbound: true, Late: 2}, time.Now())
	for _, status := range []string{"queued", "sending"} { // nothing is asked for yet
		h.try(w, h.callback(sent.MessageSID, sent.MessageSID, status))
	}
	if calls := h.twilio.Calls(simulate.FetchMessage); calls != 0 {
		t.Errorf("%d calls before it has left", calls)
	}
	for _, status := range []string{"delivered", "sent", "delivered", "read"} {
		h.try(w, h.callback(sent.MessageSID, sent.MessageSID, status))
	}
	if calls := h.twilio.Calls(simulate.FetchMessage); calls > 3 { // two tries met an empty list
		t.Errorf("it was asked for %d times", calls)
	}
	for i := range sent.MediaSIDs {
		message, media := ids(t, sent, i)
		if m, err := w.Store.Media(t.Context(), h.account, message, media); err != nil || m.Announced == 0 {
			t.Errorf("medium %d: %+v, %v", i, m, err)
		}
	}
	message, _ := ids(t, sent, 0)
	m := h.message(w, message)
	if m.Status != "read" || m.Direction != store.OutboundAPI || m.Outgoing != nil || m.DateSent.IsZero() {
		t.Errorf("record %+v", m)
	}
	types := h.eventTypes(sent.MessageSID)
	count := func(kind string) (n int) {
		for _, got := range types {
			if got == kind {
				n++
			}
		}
		return n
	}
	if count(stream.EventReceived) != 1 || count(stream.EventStored) != 2 || count(stream.EventStatus) != 5 {
		t.Errorf("events %v", types)
	}
}

// TestElsewhereWithout: messages without media, and those that are gone at the
// provider, do no harm.
func TestElsewhereWithout(t *testing.T) {
	h := newHouse(t)
	w := h.callingWorker(dir(t))
	text := h.twilio.Host(simulate.Message{From: "+15005550006", To: "+15558675310", Body: "text", Outbound: true}, time.Now())
	for _, status := range []string{"sent", "delivered"} {
		h.try(w, h.callback(text.MessageSID, text.MessageSID, status))
	}
	if calls := h.twilio.Calls(simulate.FetchMessage); calls != 1 {
		t.Errorf("it was asked for %d times", calls)
	}
	want := []string{stream.EventReceived, stream.EventStatus, stream.EventStatus}
	if got := h.eventTypes(text.MessageSID); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	const gone = "SM00000000000000000000000000000404"
	d := h.callback(gone, gone, "delivered")
	h.try(w, d)
	h.try(w, d)
	if got := h.eventTypes(gone); !slices.Equal(got, []string{stream.EventFailed, stream.EventStatus}) {
		t.Errorf("events %v", got)
	}
}

// TestSweepElsewhere fails every call of the bucket in turn, with and without a second
// worker at another callback of the same message in front of it.
func TestSweepElsewhere(t *testing.T) {
	h := newHouse(t)
	card := simulate.Media{Data: []byte("BEGIN:VCARD\nEND:VCARD\n"), ContentType: "text/vcard"}
	var sent simulate.Sent
	var first, second *stream.Delivery
	job := func(d **stream.Delivery) func(context.Context, store.Bucket) error {
		return func(ctx context.Context, b store.Bucket) error { return h.callingWorker(b).work(ctx, *d).err }
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			sent = h.twilio.Host(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{card}, Outbound: true}, time.Now())
			first = h.callback(sent.MessageSID, sent.MessageSID, "sent")
			second = h.callback(sent.MessageSID, sent.MessageSID, "delivered")
			return dir(t)
		},
		Job: job(&first), Other: job(&second),
		Check: func(t *testing.T, b store.Bucket) {
			message, media := ids(t, sent, 0)
			s := store.New(b, nil)
			m, err1 := s.Message(t.Context(), h.account, message)
			record, err2 := s.Media(t.Context(), h.account, message, media)
			if err1 != nil || err2 != nil || m.Status != "delivered" || record.Announced == 0 {
				t.Errorf("%+v, %v; %+v, %v", m, err1, record, err2)
			}
			types := h.eventTypes(sent.MessageSID)
			slices.Sort(types)
			if stored := slices.Compact(slices.Clone(types)); len(stored) != 3 {
				t.Errorf("events %v", types)
			}
		},
	})
}

// TestRelayedCallbacks: a callback that names a message here is of that one, before
// its sending is noted and after; one of a message that is gone does nothing, and one
// of the provider's own name for it is not taken for a message sent elsewhere.
func TestRelayedCallbacks(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	form := outgoingForm()
	form.Set("StatusCallback", "https://app.example.com/status")
	h.twilio.Script(quiet(simulate.Outcome{Answer: simulate.Reset}))
	sid := h.post(form)
	d := h.take()
	if result := w.work(t.Context(), d); result.verb != retry { // the answer is lost
		t.Fatalf("%+v", result)
	}
	upstreamSID := h.twilio.Accepted()[0].MessageSID
	h.try(w, h.callback(sid.String(), upstreamSID, "sent"))
	m := h.message(w, sid)
	if m.Outgoing.Upstream.String() != upstreamSID || !m.Outgoing.Intent.IsZero() || m.Status != "sent" || m.DateSent.IsZero() {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
	// The answer comes after the callback, for who has read the record before it.
	m.Outgoing.Upstream = store.MessageSID{}
	posted, err := store.ParseMessageSID(upstreamSID)
	if err == nil {
		err = w.left(t.Context(), m, posted, "queued")
	}
	if err != nil {
		t.Error(err)
	}
	told := h.take()
	if got, err := url.ParseQuery(string(told.Data)); err != nil || told.Kind != stream.Forward || told.Message != sid ||
		got.Get("MessageSid") != sid.String() || got.Get("SmsSid") != sid.String() || got.Get("MessageStatus") != "sent" {
		t.Errorf("the client is told %v by %+v", got, told.Job)
	}
	h.try(w, d)
	if len(h.twilio.Accepted()) != 1 {
		t.Errorf("%d accepted", len(h.twilio.Accepted()))
	}
	h.try(w, h.callback(upstreamSID, upstreamSID, "delivered"))
	if m := h.message(w, sid); m.Status != "delivered" || h.twilio.Calls(simulate.FetchMessage) != 0 {
		t.Errorf("%s after %d calls", m.Status, h.twilio.Calls(simulate.FetchMessage))
	}
	if _, err := w.Store.DeleteMessage(t.Context(), h.account, sid, time.Now()); err != nil {
		t.Fatal(err)
	}
	events := len(h.eventTypes(sid.String()))
	if told := h.take(); told.Kind != stream.Forward {
		t.Errorf("job %+v", told.Job)
	}
	h.try(w, h.callback(sid.String(), upstreamSID, "read"))
	h.try(w, h.callback("MM00000000000000000000000000000404", upstreamSID, "read"))
	if got := len(h.eventTypes(sid.String())); got != events {
		t.Errorf("%d events after it was deleted, want %d", got, events)
	}
}

// TestMistakenCallback: of two messages that are alike one was taken for the other. The
// callback that tells is heard, and comes to an end.
func TestMistakenCallback(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	h.twilio.Script(simulate.Outcome{Refuse: http.StatusTooManyRequests})
	sid := h.post(outgoingForm())
	if result := w.work(t.Context(), h.take()); result.verb != retry {
		t.Fatalf("%+v", result)
	}
	const taken, other = "MMa0000000000000000000000000000001", "MMa0000000000000000000000000000002"
	theirs, err1 := store.ParseMessageSID(taken)
	another, err2 := store.ParseMessageSID(other)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if _, err := w.Store.Claim(t.Context(), h.account, theirs, another); err != nil {
		t.Fatal(err)
	}
	h.try(w, h.callback(sid.String(), taken, "delivered"))
	if m := h.message(w, sid); m.Status != "delivered" || m.Outgoing.Upstream != (store.MessageSID{}) {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestCallbackQuery: the message that a URL names is taken from a signed query only,
// and must be one.
func TestCallbackQuery(t *testing.T) {
	h := newHouse(t)
	for query, want := range map[string]int{
		"?message=MM0123456789abcdef0123456789abcdef": http.StatusOK,
		"?message=nonsense":                           http.StatusBadRequest,
		"?message=ME0123456789abcdef0123456789abcdef": http.StatusBadRequest,
	} {
		h.twilio.SetWebhook(h.hook + query)
		sent, err := h.twilio.Send(t.Context(), simulate.Message{Outbound: true})
		if err != nil || sent.Status != want {
			t.Errorf("%s: answered %d, %v; want %d", query, sent.Status, err, want)
		}
	}
	if d := h.take(); d.Kind != stream.Status || d.Message.String() != "MM0123456789abcdef0123456789abcdef" {
		t.Errorf("job %+v", d.Job)
	}
	h.twilio.SetWebhook(h.hook + "?message=MM0123456789abcdef0123456789abcdef")
	if sent, err := h.twilio.Send(t.Context(), simulate.Message{}); err != nil || sent.Status != http.StatusBadRequest {
		t.Errorf("an inbound message: answered %d, %v", sent.Status, err)
	}
}
