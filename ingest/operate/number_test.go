package operate_test

import (
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// TestEraseAsWritten: a number is found however it is written when it is to be erased, and
// however a client wrote it: in the store, in the queue, in each channel.
func TestEraseAsWritten(t *testing.T) {
	h := ingesttest.New(t)
	for _, c := range []struct{ written, kept string }{
		{"+1 555 867 5310", "+15558675310"},
		{"(555) 867-5310", "+15558675310"},
		{"whatsapp:+1 555 867 5310", "whatsapp:+15558675310"},
		{"12345", "12345"},
		{"+15558675310", "+1 (555) 867-5310"},
		{"555.867.5310", "555 867 5310"},
	} {
		bucket := dir(t)
		h.Send(simulate.Message{From: c.kept, To: otherNumber, Body: "kept"})
		if err := finish(t.Context(), h, bucket); err != nil {
			t.Fatal(err)
		}
		h.Send(simulate.Message{From: otherNumber, To: c.kept, Body: "waiting"})
		h.Send(simulate.Message{From: "+15558675311", To: otherNumber, Body: "of another"})
		e := h.Rooms(bucket).Operations.Eraser
		for _, dry := range []bool{true, false} {
			r, err := e.Erase(t.Context(), h.Account, c.written, dry, func(operate.Receipt) {})
			if err != nil || r.Messages != 1 || r.Jobs != 1 || r.NumberHash != e.Store.HashNumber(c.kept) {
				t.Errorf("%s as %s, dry %v: %+v, %v", c.kept, c.written, dry, r, err)
			}
		}
		h.Fresh()
	}
	e := h.Rooms(dir(t)).Operations.Eraser
	for _, s := range []string{"", "12", "867 53", "whatsapp:ann"} {
		if _, err := e.Erase(t.Context(), store.AccountSID{}, s, false, func(operate.Receipt) {}); err == nil {
			t.Errorf("%q is erased", s)
		}
	}
}
