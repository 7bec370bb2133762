package inbound_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// callback queues a status callback and takes it. It is about a message here, whatever
// the provider calls it.
func callback(h *ingesttest.House, own, sid, status string) *stream.Delivery {
	h.Helper()
	about, err1 := store.ParseMessageSID(own)
	hook, err2 := webhook.Parse(url.Values{
		"AccountSid": {ingesttest.AccountSID}, "MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {status}, "SmsStatus": {status},
	})
	if err := errors.Join(err1, err2); err != nil {
		h.Fatal(err)
	}
	return h.Deliver(hook.StatusJob(about))
}

// try handles a Job until nothing is to be tried again.
func try(h *ingesttest.House, r *ingesttest.Rooms, d *stream.Delivery) {
	h.Helper()
	for range 8 {
		err := r.Handle(h.Context(), d)
		if err == nil || errors.Is(err, store.ErrDeleted) {
			return
		}
		h.Logf("tried again for: %v", err)
	}
	h.Fatal("the job is not done after eight tries")
}

// ack tries a Job and takes it from the queue: another one of its order is next.
func ack(h *ingesttest.House, r *ingesttest.Rooms, d *stream.Delivery) {
	h.Helper()
	try(h, r, d)
	if err := d.Ack(h.Context()); err != nil {
		h.Fatal(err)
	}
}

// message is a record.
func message(h *ingesttest.House, r *ingesttest.Rooms, sid store.MessageSID) store.Message {
	h.Helper()
	m, err := r.Store.Message(h.Context(), h.Account, sid)
	if err != nil {
		h.Fatal(err)
	}
	return m
}

// TestElsewhere: of a message that was sent through the provider itself, and whose
// callbacks come early, late, out of order and twice, each medium is stored once.
func TestElsewhere(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(openDir(t))
	media := []simulate.Media{ingesttest.Card, ingesttest.Card}
	sent := h.Twilio.Host(simulate.Message{From: "+15005550006", To: "+15558675310", Body: "text", Media: media, Outbound: true, Late: 2}, time.Now())
	for _, status := range []string{"queued", "sending"} { // nothing is asked for yet
		ack(h, r, callback(h, sent.MessageSID, sent.MessageSID, status))
	}
	if calls := h.Twilio.Calls(simulate.FetchMessage); calls != 0 {
		t.Errorf("%d calls before it has left", calls)
	}
	var delivered *stream.Delivery
	for _, status := range []string{"delivered", "again", "sent", "read"} {
		if status == "again" { // the queue takes it once, and may deliver it twice
			ack(h, r, delivered)
			continue
		}
		d := callback(h, sent.MessageSID, sent.MessageSID, status)
		if status == "delivered" {
			delivered = d
			try(h, r, d)
			continue
		}
		ack(h, r, d)
	}
	if calls := h.Twilio.Calls(simulate.FetchMessage); calls > 3 { // two tries met an empty list
		t.Errorf("it was asked for %d times", calls)
	}
	for i := range sent.MediaSIDs {
		if m, err := r.Store.Media(t.Context(), ingesttest.IDs(t, sent, i)); err != nil || m.Announced == 0 {
			t.Errorf("medium %d: %+v, %v", i, m, err)
		}
	}
	m := message(h, r, ingesttest.IDs(t, sent, 0).Message)
	if m.Status != "read" || m.Direction != store.OutboundAPI || m.Outgoing != nil || m.DateSent.IsZero() {
		t.Errorf("record %+v", m)
	}
	types := h.EventTypes(sent.MessageSID)
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
	h := ingesttest.New(t)
	r := h.Rooms(openDir(t))
	text := h.Twilio.Host(simulate.Message{From: "+15005550006", To: "+15558675310", Body: "text", Outbound: true}, time.Now())
	for _, status := range []string{"sent", "delivered"} {
		ack(h, r, callback(h, text.MessageSID, text.MessageSID, status))
	}
	if calls := h.Twilio.Calls(simulate.FetchMessage); calls != 1 {
		t.Errorf("it was asked for %d times", calls)
	}
	want := []string{stream.EventReceived, stream.EventStatus, stream.EventStatus}
	if got := h.EventTypes(text.MessageSID); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	const gone = "SM00000000000000000000000000000404"
	d := callback(h, gone, gone, "delivered")
	try(h, r, d)
	try(h, r, d)
	if got := h.EventTypes(gone); !slices.Equal(got, []string{stream.EventFailed, stream.EventStatus}) {
		t.Errorf("events %v", got)
	}
}

// TestSweepElsewhere fails every call of the bucket in turn, with and without a second
// worker at the same callback in front of it. Another callback of the message waits until
// that is done.
func TestSweepElsewhere(t *testing.T) {
	h := ingesttest.New(t)
	var sent simulate.Sent
	var first, second *stream.Delivery
	job := func(d **stream.Delivery) func(context.Context, store.Bucket) error {
		return func(ctx context.Context, b store.Bucket) error { return h.Attempt(*d)(ctx, b) }
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			sent = h.Twilio.Host(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{ingesttest.Card}, Outbound: true}, time.Now())
			first = callback(h, sent.MessageSID, sent.MessageSID, "sent")
			second = callback(h, sent.MessageSID, sent.MessageSID, "delivered")
			return openDir(t)
		},
		Job: job(&first), Other: job(&first),
		Check: func(t *testing.T, b store.Bucket) {
			if err := job(&second)(t.Context(), b); err == nil {
				t.Error("the second callback is not behind the first")
			}
			if err := first.Ack(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := job(&second)(t.Context(), b); err != nil {
				t.Error(err)
			}
			key := ingesttest.IDs(t, sent, 0)
			s := store.New(b, nil)
			m, err1 := s.Message(t.Context(), key.Account, key.Message)
			record, err2 := s.Media(t.Context(), key)
			if err1 != nil || err2 != nil || m.Status != "delivered" || record.Announced == 0 {
				t.Errorf("%+v, %v; %+v, %v", m, err1, record, err2)
			}
			types := h.EventTypes(sent.MessageSID)
			slices.Sort(types)
			if want := []string{stream.EventReceived, stream.EventStatus, stream.EventStatus, stream.EventStored}; !slices.Equal(types, want) {
				t.Errorf("events %v, want %v", types, want)
			}
		},
	})
}
