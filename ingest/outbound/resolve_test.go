package outbound_test

import (
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// stranger is a message at the provider that is like a posted one but for its text, and
// was not sent from here.
func stranger(h *ingesttest.House, r *ingesttest.Rooms, text string) store.MessageSID {
	h.Helper()
	form := ingesttest.Form()
	form.Set("Body", text)
	m, err := r.API.Create(h.Context(), h.Account, form)
	if err != nil {
		h.Fatal(err)
	}
	return m.SID
}

// unanswered posts a message whose call is not answered with its SID, and returns its
// Job.
func unanswered(t *testing.T, h *ingesttest.House, r *ingesttest.Rooms, text string, o simulate.Outcome) *stream.Delivery {
	t.Helper()
	h.Twilio.Script(o)
	form := ingesttest.Form()
	form.Set("Body", text)
	h.Post(form)
	d := h.Take()
	wantRetry(t, r, d)
	return d
}

// TestResolveText: a message with another text is not the one that was posted.
func TestResolveText(t *testing.T) {
	for _, c := range []struct {
		text, listed string
		adopted      bool
	}{
		{"ok", "ok", true},
		{"ok", "not ok", false},
		{"", "some text", false},
	} {
		t.Run(c.text+"|"+c.listed, func(t *testing.T) {
			h := sending(t)
			r := h.Rooms(storetest.OpenDir(t))
			d := unanswered(t, h, r, c.text, simulate.Outcome{Refuse: 500})
			h.Twilio.Script(quiet(simulate.Outcome{}))
			other := stranger(h, r, c.listed)
			h.Done(r, d)
			if m := h.Message(r, d.Message); (m.Outgoing.Upstream == other) != c.adopted {
				t.Errorf("%s, %+v", m.Status, m.Outgoing)
			}
		})
	}
}

// TestResolveLater: what was made after the call had ended is another message, however
// alike.
func TestResolveLater(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	d := unanswered(t, h, r, "text", simulate.Outcome{Refuse: 500})
	_, err := r.Store.UpdateMessage(t.Context(), h.Account, d.Message, func(m *store.Message) error {
		m.Outgoing.Intent = m.Outgoing.Intent.Add(-time.Hour)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Twilio.Script(quiet(simulate.Outcome{}))
	stranger(h, r, "text")
	h.Done(r, d)
	if m := h.Message(r, d.Message); !m.Outgoing.Upstream.IsZero() || m.Status != "failed" {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestResolveClaimed: the claim of a worker that ended before it wrote the record says
// which message it is, whatever else is like it.
func TestResolveClaimed(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	d := unanswered(t, h, r, "text", quiet(simulate.Outcome{Answer: simulate.ServerError}))
	own, err := store.ParseMessageSID(h.Twilio.Accepted()[0].MessageSID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Store.Claim(t.Context(), h.Account, own, d.Message); err != nil {
		t.Fatal(err)
	}
	h.Twilio.Script(quiet(simulate.Outcome{}))
	stranger(h, r, "text")
	h.Done(r, d)
	if m := h.Message(r, d.Message); m.Outgoing.Upstream != own {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestSendAgainTwice: one Job sends a message again once, also if it is delivered again
// after it has given the message up.
func TestSendAgainTwice(t *testing.T) {
	h := sending(t)
	r := h.Rooms(storetest.OpenDir(t))
	d := unanswered(t, h, r, "text", simulate.Outcome{Refuse: 500})
	h.Done(r, d)
	sendAgain(h, d.Message)
	again := h.Take()
	h.Twilio.Script(simulate.Outcome{Refuse: 500}, quiet(simulate.Outcome{}))
	for range 2 {
		h.Done(r, again)
		if n := h.Twilio.Calls(simulate.CreateMessage); n != 2 {
			t.Errorf("posted %d times in all", n)
		}
	}
}
