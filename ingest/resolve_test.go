package ingest

import (
	"crypto/rand"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// stranger is a message at the provider that is like a posted one but for its text,
// and was not sent from here.
func (h *house) stranger(w *Worker, text string) store.MessageSID {
	h.t.Helper()
	form := outgoingForm()
	form.Del("AccountSid")
	form.Set("Body", text)
	h.twilio.Script(quiet(simulate.Outcome{}))
	m, err := w.API.Create(h.t.Context(), h.account, form)
	if err != nil {
		h.t.Fatal(err)
	}
	return m.SID
}

// unanswered posts a message whose call is answered 500, and returns its Job.
func (h *house) unanswered(w *Worker, text string, o simulate.Outcome) (store.MessageSID, *stream.Delivery) {
	h.t.Helper()
	h.twilio.Script(o)
	form := outgoingForm()
	form.Set("Body", text)
	sid := h.post(form)
	d := h.take()
	if result := w.work(h.t.Context(), d); result.verb != retry {
		h.t.Fatalf("%+v", result)
	}
	return sid, d
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
			h := newHouse(t)
			w := h.relay(dir(t))
			sid, d := h.unanswered(w, c.text, simulate.Outcome{Refuse: 500})
			stranger := h.stranger(w, c.listed)
			h.try(w, d)
			if m := h.message(w, sid); (m.Outgoing.Upstream == stranger) != c.adopted {
				t.Errorf("%s, %+v", m.Status, m.Outgoing)
			}
		})
	}
}

// TestResolveLater: what was made after the call had ended is another message, however
// alike.
func TestResolveLater(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	sid, d := h.unanswered(w, "text", simulate.Outcome{Refuse: 500})
	_, err := w.Store.UpdateMessage(t.Context(), h.account, sid, func(m *store.Message) error {
		m.Outgoing.Intent = m.Outgoing.Intent.Add(-time.Hour)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.stranger(w, "text")
	h.try(w, d)
	if m := h.message(w, sid); m.Outgoing.Upstream != (store.MessageSID{}) || m.Status != "failed" {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestResolveClaimed: the claim of a worker that ended before it wrote the record says
// which message it is, whatever else is like it.
func TestResolveClaimed(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	sid, d := h.unanswered(w, "text", quiet(simulate.Outcome{Answer: simulate.ServerError}))
	own, err := store.ParseMessageSID(h.twilio.Accepted()[0].MessageSID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store.Claim(t.Context(), h.account, own, sid); err != nil {
		t.Fatal(err)
	}
	h.stranger(w, "text")
	h.try(w, d)
	if m := h.message(w, sid); m.Outgoing.Upstream != own {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestSendAgainTwice: one Job sends a message again once, also if it is delivered again
// after it has given the message up.
func TestSendAgainTwice(t *testing.T) {
	h := newHouse(t)
	w := h.relay(dir(t))
	sid, d := h.unanswered(w, "text", simulate.Outcome{Refuse: 500})
	h.try(w, d)
	job := stream.Job{Kind: stream.Replay, Account: h.account, Message: sid, ID: "again:" + rand.Text(), Data: []byte(stream.SendAgain)}
	if _, err := h.streams.PublishJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	d = h.take()
	h.twilio.Script(simulate.Outcome{Refuse: 500}, quiet(simulate.Outcome{}))
	for range 2 {
		h.try(w, d)
		if n := h.twilio.Calls(simulate.CreateMessage); n != 2 {
			t.Errorf("posted %d times in all", n)
		}
	}
}
