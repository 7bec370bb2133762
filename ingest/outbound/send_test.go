package outbound_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// sending is a house whose rooms send to the simulated Twilio, which calls back there.
// They do not wait before they ask what became of a message.
func sending(t *testing.T) *ingesttest.House {
	t.Helper()
	h := ingesttest.New(t)
	h.Setup.Relay, h.Setup.Settle = true, time.Nanosecond
	h.Setup.PublicURL = h.URL(h.Webhook).JoinPath("/../..")
	return h
}

// quiet is an outcome without callbacks.
func quiet(o simulate.Outcome) simulate.Outcome {
	o.Callbacks = []string{}
	return o
}

// wantRetry handles a Job that is to be tried again.
func wantRetry(t *testing.T, r *ingesttest.Rooms, d *stream.Delivery) error {
	t.Helper()
	err := r.Handle(t.Context(), d)
	if err == nil || errors.Is(err, store.ErrDeleted) {
		t.Fatalf("%v; want another try", err)
	}
	return err
}

// TestSend: whatever becomes of a request, a message is never at the provider twice,
// and says what is known of it.
func TestSend(t *testing.T) {
	for _, c := range []struct {
		name     string
		script   []simulate.Outcome
		away     bool // the provider is not reached by the first try
		accepted int
		status   string
		code     int
	}{
		{name: "201", script: []simulate.Outcome{quiet(simulate.Outcome{})}, accepted: 1, status: "queued"},
		{name: "429 then 201", script: []simulate.Outcome{{Refuse: 429}, quiet(simulate.Outcome{})}, accepted: 1, status: "queued"},
		{name: "400 with a code", script: []simulate.Outcome{{Refuse: 400, Code: 21610}}, status: "failed", code: 21610},
		{name: "500", script: []simulate.Outcome{{Refuse: 500}}, status: "failed", code: unknownOutcome},
		{name: "500 after accepting", script: []simulate.Outcome{quiet(simulate.Outcome{Answer: simulate.ServerError})}, accepted: 1, status: "queued"},
		{name: "reset after accepting", script: []simulate.Outcome{quiet(simulate.Outcome{Answer: simulate.Reset})}, accepted: 1, status: "queued"},
		{name: "refused connection", script: []simulate.Outcome{quiet(simulate.Outcome{})}, away: true, accepted: 1, status: "queued"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := sending(t)
			h.Twilio.Script(c.script...)
			b := storetest.OpenDir(t)
			r := h.Rooms(b)
			sid := h.Post(ingesttest.Form())
			d := h.Take()
			if c.away {
				first := h.Rooms(b)
				first.Sender.API = upstream.New(h.URL("http://127.0.0.1:1"), h.Setup.Accounts)
				wantRetry(t, first, d)
			}
			h.Done(r, d)
			m, accepted := h.Message(r, sid), h.Twilio.Accepted()
			if len(accepted) != c.accepted || m.Status != c.status || m.ErrorCode != c.code {
				t.Fatalf("%d accepted; status %s, code %d", len(accepted), m.Status, m.ErrorCode)
			}
			types := h.EventTypes(sid.String())
			if c.accepted == 1 && (m.Outgoing.Upstream.String() != accepted[0].MessageSID || !m.Outgoing.Intent.IsZero() || !slices.Contains(types, stream.EventSent)) {
				t.Errorf("%+v, events %v", m.Outgoing, types)
			}
			if c.accepted == 0 && (m.Outgoing.Failure == nil || !slices.Contains(types, stream.EventFailed)) {
				t.Errorf("%+v, events %v", m.Outgoing, types)
			}
			h.Done(r, d)
			if len(h.Twilio.Accepted()) != c.accepted {
				t.Error("done again, it is sent again")
			}
		})
	}
}

// callback has a status callback worked on: of a message here, under the provider's SID.
func callback(h *ingesttest.House, r *ingesttest.Rooms, about, sid store.MessageSID, status string) {
	h.Helper()
	form := url.Values{
		"AccountSid": {h.Account.String()}, "MessageSid": {sid.String()}, "SmsSid": {sid.String()},
		"MessageStatus": {status}, "SmsStatus": {status},
	}
	h.Queue(stream.NewStatus(h.Account, about, status, form))
	h.Next(r)
}

// TestSendAlike: of several messages that are alike nobody can say which one is there.
// A callback tells.
func TestSendAlike(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	lost := quiet(simulate.Outcome{Answer: simulate.ServerError})
	h.Twilio.Script(lost, lost)
	var sids, posted []store.MessageSID
	var jobs []*stream.Delivery
	for range 2 {
		sids = append(sids, h.Post(ingesttest.Form()))
		d := h.Take()
		jobs = append(jobs, d)
		if err := wantRetry(t, r, d); !errors.As(err, new(*ingest.Later)) {
			t.Fatal(err)
		}
	}
	h.Done(r, jobs[0])
	m, accepted := h.Message(r, sids[0]), h.Twilio.Accepted()
	if len(accepted) != 2 || m.Status != "failed" || m.Outgoing.Failure.Reason != store.ReasonUnknown || m.Outgoing.Intent.IsZero() {
		t.Fatalf("%d accepted; %s, %+v", len(accepted), m.Status, m.Outgoing)
	}
	for _, a := range accepted {
		sid, err := store.ParseMessageSID(a.MessageSID)
		if err != nil {
			t.Fatal(err)
		}
		posted = append(posted, sid)
	}
	callback(h, r, sids[0], posted[0], "delivered")
	callback(h, r, sids[0], posted[0], "sent")
	m = h.Message(r, sids[0])
	if m.Status != "delivered" || m.Outgoing.Failure != nil || m.Outgoing.Upstream != posted[0] || m.ErrorCode != 0 {
		t.Errorf("after the callbacks: %s, code %d, %+v", m.Status, m.ErrorCode, m.Outgoing)
	}
	callback(h, r, posted[0], posted[0], "delivered") // once more, by an address that does not name the message
	callback(h, r, posted[0], posted[0], "read")
	if m := h.Message(r, sids[0]); m.Status != "read" {
		t.Errorf("after a callback that does not name the message: %s", m.Status)
	}
	h.Done(r, jobs[1]) // only one is left that may be it
	if m := h.Message(r, sids[1]); m.Outgoing.Upstream != posted[1] {
		t.Errorf("the other one: %s, %+v", m.Status, m.Outgoing)
	}
}

// TestSendCallbacks: callbacks come through the webhook's address that names the
// message.
func TestSendCallbacks(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(simulate.Outcome{Callbacks: []string{"delivered", "sent", "delivered"}})
	sid := h.Post(ingesttest.Form())
	h.Run(r)
	h.Eventually("the message is delivered", func() bool {
		m, err := r.Store.Message(t.Context(), h.Account, sid)
		return err == nil && m.Status == "delivered" && m.Outgoing.Sent != 0
	})
	if len(h.Twilio.Accepted()) != 1 {
		t.Errorf("%d accepted", len(h.Twilio.Accepted()))
	}
}

// TestSweepSend fails every call of the bucket in turn, with and without a second
// worker at the same Job in front of it. The message is never at the provider twice.
func TestSweepSend(t *testing.T) {
	h := sending(t)
	var sid store.MessageSID
	var d *stream.Delivery
	before := 0
	job := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			before = len(h.Twilio.Accepted())
			h.Twilio.Script(quiet(simulate.Outcome{}))
			form := ingesttest.Form()
			form.Set("Body", t.Name()) // no other run's message is like it
			sid = h.Post(form)
			d = h.Take()
			return storetest.OpenDir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			m, err := store.New(b, nil).Message(t.Context(), h.Account, sid)
			if err != nil {
				t.Fatal(err)
			}
			accepted := len(h.Twilio.Accepted()) - before
			unknown := m.Outgoing.Failure != nil && m.Outgoing.Failure.Reason == store.ReasonUnknown
			if accepted > 1 || accepted == 1 && m.Outgoing.Upstream.IsZero() || accepted == 0 && !unknown {
				t.Errorf("%d accepted; %s, %+v", accepted, m.Status, m.Outgoing)
			}
		},
	})
}

// sendAgain wants a message sent again.
func sendAgain(h *ingesttest.House, sid store.MessageSID) {
	h.Helper()
	h.Queue(stream.NewSendAgain(h.Account, sid, rand.Text()))
}

// TestSendVerified: a message that became ready when it was not to be relayed, and was
// sent by somebody else, is not sent because it is verified.
func TestSendVerified(t *testing.T) {
	h := sending(t)
	b := storetest.OpenDir(t)
	h.Setup.Relay = false
	sid := h.Post(ingesttest.Form())
	h.Next(h.Rooms(b))
	h.Setup.Relay = true
	r := h.Rooms(b)
	h.Queue(stream.NewReplay(h.Account, sid, rand.Text()))
	h.Next(r)
	if m := h.Message(r, sid); len(h.Twilio.Accepted()) != 0 || m.Status != "queued" || m.Outgoing.Ready == 0 {
		t.Errorf("%d accepted; %s, %+v", len(h.Twilio.Accepted()), m.Status, m.Outgoing)
	}
}

// TestSendExpired: what could not be posted while it was valid fails, and is sent when
// somebody wants it nevertheless.
func TestSendExpired(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	form := ingesttest.Form()
	form.Set("ValidityPeriod", "1")
	h.Twilio.Script(simulate.Outcome{Refuse: 429}, quiet(simulate.Outcome{}))
	sid := h.Post(form)
	d := h.Take()
	d.Queued = time.Now().UTC() // its second begins now, however busy the machine is
	wantRetry(t, r, d)
	created := h.Message(r, sid).DateCreated
	h.Eventually("its time is over", func() bool { return time.Since(created) > time.Second })
	h.Done(r, d)
	if m := h.Message(r, sid); m.Status != "failed" || m.ErrorCode != expired {
		t.Errorf("%s, code %d", m.Status, m.ErrorCode)
	}
	sendAgain(h, sid)
	h.Next(r)
	accepted := h.Twilio.Accepted()
	if len(accepted) != 1 || accepted[0].Form.Get("ValidityPeriod") != "1" {
		t.Errorf("accepted %+v", accepted)
	}
}

// TestSendAgain: what may be at the provider is sent again only if that is asked for,
// and then once.
func TestSendAgain(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	h.Twilio.Script(simulate.Outcome{Refuse: 500}, quiet(simulate.Outcome{}))
	sid := h.Post(ingesttest.Form())
	h.Next(r)
	for _, c := range []struct {
		job      stream.Job
		accepted int
		status   string
	}{
		{stream.NewReplay(h.Account, sid, rand.Text()), 0, "failed"},
		{stream.NewSendAgain(h.Account, sid, rand.Text()), 1, "queued"},
		{stream.NewSendAgain(h.Account, sid, rand.Text()), 1, "queued"},
	} {
		h.Queue(c.job)
		h.Next(r)
		if m := h.Message(r, sid); len(h.Twilio.Accepted()) != c.accepted || m.Status != c.status {
			t.Errorf("after a replay that sends again %v: %d accepted; %s, %+v", c.job.SendsAgain(), len(h.Twilio.Accepted()), m.Status, m.Outgoing)
		}
	}
}

// TestSweepSendAgain fails every call of the bucket while a message is sent again, and
// deletes it in front of every call. It is at the provider once at most, and whatever
// happens the Job comes to an end.
func TestSweepSendAgain(t *testing.T) {
	h := sending(t)
	var sid store.MessageSID
	var again *stream.Delivery
	accepted, posted := 0, 0
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			accepted, posted = len(h.Twilio.Accepted()), h.Twilio.Calls(simulate.CreateMessage)
			h.Twilio.Script(simulate.Outcome{Refuse: 500}, quiet(simulate.Outcome{}))
			form := ingesttest.Form()
			form.Set("Body", t.Name()) // no other run's message is like it
			b := storetest.OpenDir(t)
			sid = h.Post(form)
			h.Next(h.Rooms(b))
			sendAgain(h, sid)
			again = h.Take()
			return b
		},
		Job: func(ctx context.Context, b store.Bucket) error { return h.Attempt(again)(ctx, b) },
		Other: func(ctx context.Context, b store.Bucket) error {
			_, err := store.New(b, ingesttest.Secret).DeleteMessage(ctx, h.Account, sid, time.Now().UTC())
			return err
		},
		Check: func(t *testing.T, b store.Bucket) {
			m := h.Message(h.Rooms(b), sid)
			n, calls := len(h.Twilio.Accepted())-accepted, h.Twilio.Calls(simulate.CreateMessage)-posted
			if m.Deleted.IsZero() || n > 1 || calls < 1 || calls > 2 {
				t.Errorf("%d accepted of %d posts; %+v", n, calls, m)
			}
			if calls == 1 { // use up what was in store for the second post
				stranger(h, h.Rooms(b), "nothing")
			}
		},
	})
}
