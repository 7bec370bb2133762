package operate_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// TestFailuresOfAll: media, webhooks that were not taken and an outgoing message are
// all listed as failures, and each is replayed as what it is; an outgoing message is
// never sent again because of all.
func TestFailuresOfAll(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(dir(t))
	message := sid(store.ParseMessageSID("MM00000000000000000000000000000001"))
	media := sid(store.ParseMediaSID("ME00000000000000000000000000000001"))
	form := func(status string) url.Values {
		return url.Values{"AccountSid": {ingesttest.AccountSID}, "MessageSid": {message.String()}, "MessageStatus": {status}}
	}
	failure := func(reason string) store.Failure { return store.Failure{Reason: reason, Attempts: 1, Date: time.Now()} }
	sent, forward, medium := failure("unknown"), failure("forward"), failure("status")
	if _, _, err := r.Store.CreateMessage(t.Context(), store.Message{
		Account: h.Account, SID: message, Direction: store.OutboundAPI, Form: url.Values{"To": {"+1"}}, DateCreated: time.Now(),
		Failures: map[store.MediaSID]store.Failure{media: medium},
		Forwards: map[string]store.Forward{
			"delivered": {Failure: &forward, Form: form("delivered")}, "sent": {Status: 200},
		},
		Outgoing: &store.Outgoing{Failure: &sent},
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    operate.Query
		all  bool
		of   []string // failures that are listed
		jobs []string // that are queued, as drain tells them
	}{
		{"every", operate.Query{}, false, []string{media.String(), "forward delivered", "message"}, []string{"forward delivered", "replay send"}},
		{"medium", operate.Query{Media: media}, false, []string{media.String()}, []string{"replay "}},
		{"webhook", operate.Query{Reason: "forward"}, false, []string{"forward delivered"}, []string{"forward delivered"}},
		{"message", operate.Query{Reason: "unknown"}, false, []string{"message"}, []string{"replay send"}},
		{"other", operate.Query{Reason: "timeout"}, false, nil, nil},
		{"all", operate.Query{Since: time.Now().Add(-time.Hour)}, true, []string{media.String(), "forward delivered", "message"}, []string{"forward delivered", "replay "}},
	} {
		var of []string
		for f, err := range r.Operations.Failures.List(t.Context(), c.q) {
			if err != nil {
				t.Fatal(err)
			}
			of = append(of, f.Of())
		}
		replayed, err := r.Operations.Failures.Replay(t.Context(), c.q, c.all, false, c.name, func(operate.Replayed) {})
		if err != nil || replayed.Queued != min(len(c.jobs), 1) {
			t.Errorf("%s: %+v, %v", c.name, replayed, err)
		}
		if got := drain(h); !slices.Equal(of, c.of) || !slices.Equal(got, c.jobs) {
			t.Errorf("%s: failures %v, want %v; jobs %v, want %v", c.name, of, c.of, got, c.jobs)
		}
	}
	known, err := r.Operations.Inspector.Message(t.Context(), message, false)
	if err != nil || known.Message.Forwards["delivered"].Form != nil || known.Message.Forwards["delivered"].Failure == nil {
		t.Errorf("message %+v, %v", known.Message, err)
	}
}

// drain takes all Jobs off the queue. Each is told by its kind, and by what else it asks
// for or the status of its webhook.
func drain(h *ingesttest.House) []string {
	h.Helper()
	var jobs []string
	for h.Queued() > 0 {
		d := h.Take()
		if err := d.Ack(h.Context()); err != nil {
			h.Fatal(err)
		}
		what := ""
		switch {
		case d.SendsAgain():
			what = "send"
		case d.AsksUpstream():
			what = "upstream"
		case d.Kind == stream.Forward:
			form, err := d.Form()
			if err != nil {
				h.Fatal(err)
			}
			what = form.Get("MessageStatus")
		}
		jobs = append(jobs, string(d.Kind)+" "+what)
	}
	return jobs
}
