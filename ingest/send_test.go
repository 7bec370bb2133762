package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// relay is a worker that sends to the simulated Twilio, which calls back here.
func (h *house) relay(b store.Bucket) *Worker {
	w := h.callingWorker(b)
	w.Relay, w.settle = true, time.Nanosecond
	w.PublicURL = h.parse(h.hook).JoinPath("/../..")
	return w
}

// try does a Job until nothing is to be tried again.
func (h *house) try(w *Worker, d *stream.Delivery) {
	h.t.Helper()
	for range 8 {
		result := w.work(h.t.Context(), d)
		if result.verb == done {
			return
		}
		h.t.Logf("tried again for: %v", result.err)
	}
	h.t.Fatal("the job is not done after eight tries")
}

// quiet is an outcome without callbacks.
func quiet(o simulate.Outcome) simulate.Outcome {
	o.Callbacks = []string{}
	return o
}

// TestSend: whatever becomes of a request, a message is never at the provider twice,
// and says what is known of it.
func TestSend(t *testing.T) {
	away := func(w *Worker, h *house) { w.API = upstream.New(h.parse("http://127.0.0.1:1"), w.Accounts) }
	for _, c := range []struct {
		name     string
		script   []simulate.Outcome
		first    func(*Worker, *house) // of the first try only
		accepted int
		status   string
		code     int
	}{
		{name: "201", script: []simulate.Outcome{quiet(simulate.Outcome{})}, accepted: 1, status: "queued"},
		{name: "429 then 201", script: []simulate.Outcome{{Refuse: 429}, quiet(simulate.Outcome{})}, accepted: 1, status: "queued"},
		{name: "400 with a code", script: []simulate.Outcome{{Refuse: 400, Code: 21610}}, status: "failed", code: 21610},
		{name: "500", script: []simulate.Outcome{{Refuse: 500}}, status: "failed", code: codeUnknown},
		{name: "500 after accepting", script: []simulate.Outcome{quiet(simulate.Outcome{Answer: simulate.ServerError})}, accepted: 1, status: "queued"},
		{name: "reset after accepting", script: []simulate.Outcome{quiet(simulate.Outcome{Answer: simulate.Reset})}, accepted: 1, status: "queued"},
		{name: "refused connection", script: []simulate.Outcome{quiet(simulate.Outcome{})}, first: away, accepted: 1, status: "queued"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.twilio.Script(c.script...)
			w := h.relay(dir(t))
			sid := h.post(outgoingForm())
			d := h.take()
			if c.first != nil {
				first := h.relay(nil)
				first.Store = w.Store
				c.first(first, h)
				if result := first.work(t.Context(), d); result.verb != retry {
					t.Fatalf("first try: %+v", result)
				}
			}
			h.try(w, d)
			m, accepted := h.message(w, sid), h.twilio.Accepted()
			if len(accepted) != c.accepted || m.Status != c.status || m.ErrorCode != c.code {
				t.Fatalf("%d accepted; status %s, code %d", len(accepted), m.Status, m.ErrorCode)
			}
			types := h.eventTypes(sid.String())
			if c.accepted == 1 && (m.Outgoing.Upstream.String() != accepted[0].MessageSID || !m.Outgoing.Intent.IsZero() || !slices.Contains(types, stream.EventSent)) {
				t.Errorf("%+v, events %v", m.Outgoing, types)
			}
			if c.accepted == 0 && (m.Outgoing.Failure == nil || !slices.Contains(types, stream.EventFailed)) {
				t.Errorf("%+v, events %v", m.Outgoing, types)
			}
			h.try(w, d)
			if len(h.twilio.Accepted()) != c.accepted {
				t.Error("done again, it is sent again")
			}
		})
	}
}

// TestSendAlike: of several messages that are alike nobody can say which one is there.
// A callback tells.
func TestSendAlike(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	lost := quiet(simulate.Outcome{Answer: simulate.ServerError})
	h.twilio.Script(lost, lost)
	var sids []store.MessageSID
	var jobs []*stream.Delivery
	for range 2 {
		sids = append(sids, h.post(outgoingForm()))
		jobs = append(jobs, h.take())
		var wait *delayed
		if result := w.work(t.Context(), jobs[len(jobs)-1]); !errors.As(result.err, &wait) {
			t.Fatalf("%+v", result)
		}
	}
	h.try(w, jobs[0])
	m := h.message(w, sids[0])
	if len(h.twilio.Accepted()) != 2 || m.Status != "failed" || m.Outgoing.Failure.Reason != reasonUnknown || m.Outgoing.Intent.IsZero() {
		t.Fatalf("%d accepted; %s, %+v", len(h.twilio.Accepted()), m.Status, m.Outgoing)
	}
	sid := h.twilio.Accepted()[0].MessageSID
	form := statusForm(m, "delivered", 0, "")
	form.Set("MessageSid", sid)
	form.Set("SmsSid", sid)
	for _, status := range []string{"delivered", "sent", "delivered"} {
		form.Set("MessageStatus", status)
		d := *jobs[0]
		d.Kind, d.Data = stream.Status, []byte(form.Encode())
		h.try(w, &d)
	}
	m = h.message(w, sids[0])
	if m.Status != "delivered" || m.Outgoing.Failure != nil || m.Outgoing.Upstream.String() != sid || m.ErrorCode != 0 {
		t.Errorf("after the callback: %s, code %d, %+v", m.Status, m.ErrorCode, m.Outgoing)
	}
	form.Set("MessageStatus", "read") // of an address that does not name the message
	d := *jobs[0]
	d.Kind, d.Message, d.Data = stream.Status, m.Outgoing.Upstream, []byte(form.Encode())
	h.try(w, &d)
	if m := h.message(w, sids[0]); m.Status != "read" {
		t.Errorf("after a callback that does not name the message: %s", m.Status)
	}
	h.try(w, jobs[1]) // only one is left that may be it
	if m := h.message(w, sids[1]); m.Outgoing.Upstream.String() != h.twilio.Accepted()[1].MessageSID {
		t.Errorf("the other one: %s, %+v", m.Status, m.Outgoing)
	}
}

// TestSendCallbacks: callbacks come through the webhook's address that names the
// message.
func TestSendCallbacks(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	h.twilio.Script(simulate.Outcome{Callbacks: []string{"delivered", "sent", "delivered"}})
	sid := h.post(outgoingForm())
	h.run(w)
	h.eventually("the message is delivered", func() bool {
		m, err := w.Store.Message(t.Context(), h.account, sid)
		return err == nil && m.Status == "delivered" && m.Outgoing.Sent != 0
	})
	if len(h.twilio.Accepted()) != 1 {
		t.Errorf("%d accepted", len(h.twilio.Accepted()))
	}
}

// TestSweepSend fails every call of the bucket in turn, with and without a second
// worker at the same Job in front of it. The message is never at the provider twice.
func TestSweepSend(t *testing.T) {
	h := newHouse(t)
	var sid store.MessageSID
	var d *stream.Delivery
	before := 0
	job := func(ctx context.Context, b store.Bucket) error {
		result := h.relay(b).work(ctx, d)
		return result.err
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			before = len(h.twilio.Accepted())
			h.twilio.Script(quiet(simulate.Outcome{}))
			form := outgoingForm()
			form.Set("Body", t.Name()) // no other run's message is like it
			sid = h.post(form)
			d = h.take()
			return dir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			m, err := store.New(b, nil).Message(t.Context(), h.account, sid)
			if err != nil {
				t.Fatal(err)
			}
			accepted := len(h.twilio.Accepted()) - before
			unknown := m.Outgoing.Failure != nil && m.Outgoing.Failure.Reason == reasonUnknown
			if accepted > 1 || accepted == 1 && m.Outgoing.Upstream == (store.MessageSID{}) || accepted == 0 && !unknown {
				t.Errorf("%d accepted; %s, %+v", accepted, m.Status, m.Outgoing)
			}
		},
	})
}

// TestSendVerified: a message that became ready when it was not to be relayed, and was
// sent by somebody else, is not sent because it is verified.
func TestSendVerified(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	w.Relay = false
	sid := h.post(outgoingForm())
	h.try(w, h.take())
	w.Relay = true
	job := stream.Job{Kind: stream.Replay, Account: h.account, Message: sid, ID: "verify:" + rand.Text()}
	if _, err := h.streams.PublishJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	h.work1(w)
	if m := h.message(w, sid); len(h.twilio.Accepted()) != 0 || m.Status != "queued" || m.Outgoing.Ready == 0 {
		t.Errorf("%d accepted; %s, %+v", len(h.twilio.Accepted()), m.Status, m.Outgoing)
	}
}

// TestSendExpired: what could not be posted while it was valid fails, and is sent when
// somebody wants it nevertheless.
func TestSendExpired(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	form := outgoingForm()
	form.Set("ValidityPeriod", "1")
	h.twilio.Script(simulate.Outcome{Refuse: 429}, quiet(simulate.Outcome{}))
	sid := h.post(form)
	d := h.take()
	if result := w.work(t.Context(), d); result.verb != retry {
		t.Fatalf("%+v", result)
	}
	created := h.message(w, sid).DateCreated
	h.eventually("its time is over", func() bool { return time.Since(created) > time.Second })
	h.try(w, d)
	if m := h.message(w, sid); m.Status != "failed" || m.ErrorCode != codeExpired {
		t.Errorf("%s, code %d", m.Status, m.ErrorCode)
	}
	job := stream.Job{Kind: stream.Replay, Account: h.account, Message: sid, ID: "again:" + rand.Text(), Data: []byte(stream.SendAgain)}
	if _, err := h.streams.PublishJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	h.work1(w)
	accepted := h.twilio.Accepted()
	if len(accepted) != 1 || accepted[0].Form.Get("ValidityPeriod") != "1" {
		t.Errorf("accepted %+v", accepted)
	}
}

// TestSendAgain: what may be at the provider is sent again only if that is asked for,
// and then once.
func TestSendAgain(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	h.twilio.Script(simulate.Outcome{Refuse: 500}, quiet(simulate.Outcome{}))
	sid := h.post(outgoingForm())
	h.try(w, h.take())
	for _, c := range []struct {
		data     string
		accepted int
		status   string
	}{{"", 0, "failed"}, {stream.SendAgain, 1, "queued"}, {stream.SendAgain, 1, "queued"}} {
		job := stream.Job{Kind: stream.Replay, Account: h.account, Message: sid, ID: "again:" + rand.Text(), Data: []byte(c.data)}
		if _, err := h.streams.PublishJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		h.work1(w)
		if m := h.message(w, sid); len(h.twilio.Accepted()) != c.accepted || m.Status != c.status {
			t.Errorf("after a replay with %q: %d accepted; %s, %+v", c.data, len(h.twilio.Accepted()), m.Status, m.Outgoing)
		}
	}
}
