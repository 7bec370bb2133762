package outbound_test

import (
	"context"
	"encoding/json"
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

// scheduled is a message that is to be sent at a time.
func scheduled(at time.Time, media ...string) url.Values {
	form := told()
	form["MediaUrl"] = media
	form.Set("MessagingServiceSid", "MG0123456789abcdef0123456789abcdef")
	form.Set("ScheduleType", "fixed")
	form.Set("SendAt", at.UTC().Format(time.RFC3339Nano))
	return form
}

// TestScheduled: a message with a SendAt is prepared at once, and is sent when
// it is time, for the provider to send at once.
func TestScheduled(t *testing.T) {
	h := sending(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": jpeg(ingesttest.Noise(1, 200, 200))})
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(quiet(simulate.Outcome{}))
	at := time.Now().Add(3 * time.Second)
	sid := h.Post(scheduled(at, host.URL+"/a.jpg"))
	h.Run(r)
	h.Eventually("it is stored", func() bool { return slices.Contains(h.EventTypes(sid.String()), stream.EventStored) })
	h.Eventually("it is sent", func() bool { return slices.Contains(h.EventTypes(sid.String()), stream.EventSent) })
	if now := time.Now(); now.Before(at) {
		t.Errorf("sent %v too early", at.Sub(now))
	}
	accepted := h.Twilio.Accepted()
	if len(accepted) != 1 || accepted[0].Form.Has("SendAt") || accepted[0].Form.Has("ScheduleType") || !accepted[0].Form.Has("MessagingServiceSid") {
		t.Errorf("accepted %+v", accepted)
	}
	for _, e := range h.Events(sid.String()) {
		var event struct{ Time time.Time }
		if err := json.Unmarshal([]byte(e.JSON), &event); err != nil {
			t.Fatal(err)
		}
		if early := event.Time.Before(at); early != slices.Contains([]string{stream.EventReceived, stream.EventStored}, e.Type) {
			t.Errorf("%s at %v, to be sent at %v", e.Type, event.Time, at)
		}
	}
}

// TestScheduledWaits: until it is time nothing of a message leaves, be it worked on again.
// Once it is canceled nothing does at all, and its client is told once.
func TestScheduledWaits(t *testing.T) {
	h := sending(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": jpeg(ingesttest.Noise(1, 200, 200))})
	r := h.Rooms(storetest.OpenDir(t))
	sid := h.Post(scheduled(time.Now().Add(time.Hour), host.URL+"/a.jpg"))
	d := h.Take()
	for range 2 {
		if err := r.Handle(t.Context(), d); err == nil {
			t.Fatal("the job of a message that is scheduled is done")
		}
	}
	h.Queue(stream.NewReplay(h.Account, sid, "again"))
	h.Next(r)
	wantEvents(t, h, sid, stream.EventReceived, stream.EventStored)
	if m := h.Message(r, sid); m.Status != "scheduled" || len(h.Twilio.Accepted()) != 0 {
		t.Errorf("%s, %d accepted", m.Status, len(h.Twilio.Accepted()))
	}
	cancel := h.Deliver(stream.NewCancel(h.Account, sid))
	for range 2 {
		h.Done(r, cancel)
	}
	if m := h.Message(r, sid); m.Status != "canceled" {
		t.Errorf("%s", m.Status)
	}
	wantTold(h, sid, "canceled")
	h.Done(r, d)
	wantEvents(t, h, sid, stream.EventReceived, stream.EventStored, stream.EventStatus)
	if n := len(h.Twilio.Accepted()); n != 0 {
		t.Errorf("%d accepted", n)
	}
	// What has been sent is not canceled.
	h.Twilio.Script(quiet(simulate.Outcome{}))
	sent := h.Post(told())
	h.Next(r)
	h.Done(r, h.Deliver(stream.NewCancel(h.Account, sent)))
	if m := h.Message(r, sent); m.Status == "canceled" {
		t.Error("a message that was sent is canceled")
	}
}

// TestSweepCancel fails every call of the bucket in turn while a message is canceled, with
// and without the API doing the same in front of it. Afterwards it is canceled, and that
// is told once.
func TestSweepCancel(t *testing.T) {
	h := sending(t)
	var m store.Message
	var d *stream.Delivery
	cancel := func(ctx context.Context, b store.Bucket) error {
		_, err := store.New(b, ingesttest.Secret).CancelMessage(ctx, h.Account, m.SID, time.Now().UTC())
		return err
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			m = store.NewOutgoing(h.Account, store.NewMessageSID(false), scheduled(time.Now().Add(time.Hour)), time.Now().UTC())
			d = h.Deliver(stream.NewCancel(h.Account, m.SID))
			return storetest.OpenDir(t)
		},
		Prepare: func(ctx context.Context, b store.Bucket) error {
			_, _, err := store.New(b, ingesttest.Secret).CreateMessage(ctx, m)
			return err
		},
		Job: func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }, Other: cancel,
		Check: func(t *testing.T, b store.Bucket) {
			stored, err := store.New(b, nil).Message(t.Context(), h.Account, m.SID)
			if err != nil || stored.Status != "canceled" {
				t.Errorf("%s, %v", stored.Status, err)
			}
			statuses := slices.DeleteFunc(h.EventTypes(m.SID.String()), func(kind string) bool { return kind != stream.EventStatus })
			if len(statuses) != 1 {
				t.Errorf("%d status events", len(statuses))
			}
		},
	})
}
