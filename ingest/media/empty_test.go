package media_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// TestEmpty: a medium without a byte is tried again, stored when its host has it, and a
// failure when it never does. It does not hold up the other medium of its message.
func TestEmpty(t *testing.T) {
	h := ingesttest.New(t)
	var has atomic.Bool // the picture, by now
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/card":
			w.Header().Set("Content-Type", "text/x-vcard")
			_, _ = fmt.Fprint(w, card)
		case has.Load():
			_, _ = w.Write(ingesttest.Picture())
		default:
			w.Header().Set("Content-Type", "image/jpeg")
		}
	}))
	t.Cleanup(host.Close)
	h.Permit(host.URL)
	send := func(sid string) webhook.Webhook {
		form := url.Values{
			"AccountSid": {ingesttest.AccountSID}, "MessageSid": {sid}, "NumMedia": {"2"},
			"MediaUrl0": {host.URL + "/empty"}, "MediaContentType0": {"image/jpeg"}, "MediaUrl1": {host.URL + "/card"},
		}
		hook, err := webhook.Parse(form)
		if err != nil {
			t.Fatal(err)
		}
		return hook
	}
	const late, never = "MM00000000000000000000000000000001", "MM00000000000000000000000000000002"

	r := h.Rooms(storetest.OpenDir(t))
	hook := send(late)
	d := h.Deliver(hook.Job(r.Store))
	if err := r.Handle(t.Context(), d); err == nil {
		t.Error("an empty medium is not tried again")
	}
	stored, err := r.Store.ListMedia(t.Context(), hook.Account, hook.Message)
	if err != nil || len(stored) != 1 || stored[0].ContentType != "text/x-vcard" {
		t.Errorf("stored %+v, %v; want the card alone", stored, err)
	}
	has.Store(true)
	if err := r.Handle(t.Context(), d); err != nil {
		t.Error(err)
	}
	if got := h.EventTypes(late); !slices.Equal(got, []string{stream.EventReceived, stream.EventStored, stream.EventStored}) {
		t.Errorf("events of the late one %v", got)
	}

	if err := d.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	has.Store(false)
	h.Setup.GiveUp = time.Nanosecond
	r = h.Rooms(storetest.OpenDir(t))
	hook = send(never)
	if err := r.Handle(t.Context(), h.Deliver(hook.Job(r.Store))); err != nil {
		t.Error(err)
	}
	m, err := r.Store.Message(t.Context(), hook.Account, hook.Message)
	if err != nil || len(m.Failures) != 1 {
		t.Fatalf("failures %+v, %v", m.Failures, err)
	}
	for _, f := range m.Failures {
		if f.Reason != store.ReasonEmpty || f.Index != 0 || f.Announced == 0 {
			t.Errorf("failure %+v", f)
		}
	}
	if got := h.EventTypes(never); !slices.Contains(got, stream.EventFailed) || !slices.Contains(got, stream.EventStored) {
		t.Errorf("events of the one that never comes %v", got)
	}
}
