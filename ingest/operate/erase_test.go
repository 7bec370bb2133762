package operate_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
)

const (
	erasedNumber = "+15005550100"
	otherNumber  = "+15005550199"
)

// gone is a medium that cannot be had.
var gone = simulate.Media{Data: ingesttest.JPEG.Data, ContentType: ingesttest.JPEG.ContentType, Always: simulate.Gone}

func jpeg() []simulate.Media { return []simulate.Media{ingesttest.JPEG} }

// erase erases a number.
func erase(ctx context.Context, h *ingesttest.House, b store.Bucket, number string, dryRun bool) (operate.Erased, error) {
	r, err := h.Rooms(b).Operations.Eraser.Erase(ctx, store.AccountSID{}, number, dryRun, func(operate.Receipt) {})
	return r.Erased, err
}

// finish does all Jobs that are queued. None may be in hand.
func finish(ctx context.Context, h *ingesttest.House, b store.Bucket) error {
	for h.Queued() > 0 {
		d := h.Take()
		if err := h.Attempt(d)(ctx, b); err != nil {
			return err
		}
		if err := d.Ack(ctx); err != nil {
			return err
		}
	}
	return nil
}

// TestSweepErase interrupts the erasure of a number at every call of the bucket.
// The Jobs that it has queued by then are done, and it is begun again. Afterwards nothing
// of it is left, and everything of another number.
func TestSweepErase(t *testing.T) {
	sweepErasure(t, true, func(ctx context.Context, e *operate.Eraser, _ time.Time) (operate.Erased, error) {
		r, err := e.Erase(ctx, e.Accounts[0], erasedNumber, false, func(operate.Receipt) {})
		return r.Erased, err
	})
}

// TestSweepRetention does the same with what is older than a limit, and has it begun
// again before the Jobs are done that it has queued.
func TestSweepRetention(t *testing.T) {
	sweepErasure(t, false, func(ctx context.Context, e *operate.Eraser, limit time.Time) (operate.Erased, error) {
		return e.EraseBefore(ctx, e.Accounts[0], limit, func(operate.Erased) {})
	})
}

// sweepErasure interrupts what erases two messages, that are older than limit and of
// erasedNumber, and leaves a third one.
func sweepErasure(t *testing.T, jobsFirst bool, erase func(ctx context.Context, e *operate.Eraser, limit time.Time) (operate.Erased, error)) {
	h := ingesttest.New(t)
	var from, to, other simulate.Sent
	var limit time.Time
	var others map[string]string // objects of the message that stays
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			from = h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: append(jpeg(), gone)})
			to = h.Send(simulate.Message{From: otherNumber, To: erasedNumber, Body: "to"})
			limit = time.Now()
			other = h.Send(simulate.Message{From: otherNumber, To: otherNumber, Media: jpeg()})
			return dir(t)
		},
		Prepare: func(ctx context.Context, b store.Bucket) error {
			if err := finish(ctx, h, b); err != nil {
				return err
			}
			others = ingesttest.Objects(t, b)
			maps.DeleteFunc(others, func(key, _ string) bool { return !strings.Contains(key, other.MessageSID) })
			return nil
		},
		Job: func(ctx context.Context, b store.Bucket) error {
			if jobsFirst {
				if err := finish(ctx, h, b); err != nil {
					return err
				}
			}
			_, err := erase(ctx, h.Rooms(b).Operations.Eraser, limit)
			return err
		},
		Check: func(t *testing.T, b store.Bucket) {
			h.NoTrace(t, b, erasedNumber, from.MessageSID, to.MessageSID)
			if err := finish(t.Context(), h, b); err != nil {
				t.Error(err)
			}
			h.NoTrace(t, b, erasedNumber, from.MessageSID, to.MessageSID)
			left := ingesttest.Objects(t, b)
			for key, data := range others {
				if left[key] != data {
					t.Errorf("%s of another number was changed", key)
				}
			}
			if got := h.EventTypes(other.MessageSID); len(got) != 2 {
				t.Errorf("events of another number: %v", got)
			}
			if again, err := erase(t.Context(), h.Rooms(b).Operations.Eraser, limit); err != nil || again != (operate.Erased{}) {
				t.Errorf("a second erasure removes %+v, %v", again, err)
			}
		},
	})
}

// TestEraseWaiting: what still waits in the queue is erased too, and neither a
// worker that has a Job in hand nor a repeat of the webhook brings it back.
func TestEraseWaiting(t *testing.T) {
	h := ingesttest.New(t)
	bucket := dir(t)
	inHand := h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: jpeg()})
	d := h.Take()
	waiting := h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: jpeg()})
	other := h.Send(simulate.Message{From: otherNumber, To: otherNumber, Media: jpeg()})

	dry, err := erase(t.Context(), h, bucket, erasedNumber, true)
	if err != nil || dry.Jobs != 2 {
		t.Fatalf("a dry run counts %+v, %v", dry, err)
	}
	erased, err := erase(t.Context(), h, bucket, erasedNumber, false)
	if err != nil || erased.Jobs != 2 {
		t.Fatalf("erased %+v, %v", erased, err)
	}
	if err := h.Attempt(d)(t.Context(), bucket); err != nil {
		t.Errorf("the job in hand: %v", err)
	}
	r := h.Rooms(bucket)
	h.Run(r)
	h.AwaitStored(r, other)
	for _, sent := range []simulate.Sent{inHand, waiting} {
		if _, err := h.Twilio.Repeat(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
	}
	h.Eventually("the queue is empty", func() bool { return h.Queued() == 0 })
	h.NoTrace(t, bucket, erasedNumber, inHand.MessageSID, waiting.MessageSID)
}

// TestEraseDryRun: a dry run counts what the erasure then removes, each message once, be
// it from a number to itself.
func TestEraseDryRun(t *testing.T) {
	h := ingesttest.New(t)
	bucket := dir(t)
	for _, m := range []simulate.Message{
		{From: erasedNumber, To: erasedNumber, Media: append(jpeg(), ingesttest.Card)},
		{From: erasedNumber, To: otherNumber, Media: []simulate.Media{ingesttest.Card, gone}},
		{From: otherNumber, To: erasedNumber, Body: "to"},
		{From: otherNumber, To: otherNumber, Media: jpeg()},
	} {
		h.Send(m)
	}
	if err := finish(t.Context(), h, bucket); err != nil {
		t.Fatal(err)
	}
	blobs := int64(0)
	for message, err := range h.Rooms(bucket).Store.Messages(t.Context(), store.MessageQuery{Account: h.Account}) {
		if err != nil {
			t.Fatal(err)
		}
		if m := message.Message; m.From == erasedNumber || m.To == erasedNumber {
			for key, data := range ingesttest.Objects(t, bucket) {
				if _, name, ok := store.ParseMediaKey(key); ok && name != "" && strings.Contains(key, m.SID.String()) {
					blobs += int64(len(data))
				}
			}
		}
	}
	before := ingesttest.Objects(t, bucket)
	want := operate.Erased{Messages: 3, Media: 3, Bytes: blobs, Events: 3 + 3 + 1}
	dry, err := erase(t.Context(), h, bucket, erasedNumber, true)
	if err != nil || dry != want {
		t.Errorf("a dry run counts %+v, %v; want %+v", dry, err, want)
	}
	if !maps.Equal(before, ingesttest.Objects(t, bucket)) || h.Queued() != 0 {
		t.Errorf("a dry run changes something; %d jobs", h.Queued())
	}
	if erased, err := erase(t.Context(), h, bucket, erasedNumber, false); err != nil || erased != want {
		t.Errorf("erased %+v, %v; want %+v", erased, err, want)
	}
}

// TestEraseCost: what an erasure costs depends on what it finds.
func TestEraseCost(t *testing.T) {
	h := ingesttest.New(t)
	bucket := dir(t)
	s := h.Rooms(bucket).Store
	create := func(n int, from string) {
		message, err := store.ParseMessageSID(fmt.Sprintf("SM%032x", n))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-time.Duration(n) * time.Minute).UTC()
		m := store.Message{Account: h.Account, SID: message, From: from, To: otherNumber, DateCreated: at, DateUpdated: at}
		m.Form = map[string][]string{"AccountSid": {ingesttest.AccountSID}, "MessageSid": {message.String()}, "From": {from}, "To": {otherNumber}}
		if _, _, err := s.CreateMessage(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	calls := func() int {
		counted := &storetest.Faulty{Bucket: bucket}
		if _, err := erase(t.Context(), h, counted, erasedNumber, false); err != nil {
			t.Fatal(err)
		}
		return counted.Calls()
	}
	create(1, erasedNumber)
	alone := calls()
	for n := range 500 {
		create(1000+n, fmt.Sprint("+1415555", 1000+n))
	}
	create(2, erasedNumber)
	if among := calls(); among > alone {
		t.Errorf("%d calls of the bucket among 500 other messages, %d without", among, alone)
	}
}

// TestRetention: what is older than the limit goes, what is younger stays, and so does what
// is still to be sent.
func TestRetention(t *testing.T) {
	h := ingesttest.New(t)
	bucket := dir(t)
	r := h.Rooms(bucket)
	h.Run(r)
	old := h.Send(simulate.Message{From: erasedNumber, To: erasedNumber, Media: jpeg()})
	h.AwaitStored(r, old)
	h.Eventually("the queue is empty", func() bool { return h.Queued() == 0 })
	planned := store.NewOutgoing(h.Account, store.NewMessageSID(false), url.Values{
		"To": {otherNumber}, "SendAt": {time.Now().Add(time.Hour).Format(time.RFC3339)},
	}, time.Now())
	if _, _, err := r.Store.CreateMessage(t.Context(), planned); err != nil {
		t.Fatal(err)
	}
	limit := time.Now()
	young := h.Send(simulate.Message{From: otherNumber, To: otherNumber, Media: jpeg()})
	h.AwaitStored(r, young)
	erased, err := r.Operations.Eraser.EraseBefore(t.Context(), h.Account, limit, func(operate.Erased) {})
	if err != nil || erased.Messages != 1 || erased.Media != 1 || erased.Events != 2 || erased.Bytes == 0 {
		t.Errorf("removed %+v, %v", erased, err)
	}
	h.NoTrace(t, bucket, erasedNumber, old.MessageSID)
	if record, err := r.Store.Media(t.Context(), ingesttest.IDs(t, young, 0)); err != nil || !record.Deleted.IsZero() {
		t.Errorf("the younger one: %+v, %v", record, err)
	}
	if m, err := r.Store.Message(t.Context(), h.Account, planned.SID); err != nil || !m.Deleted.IsZero() {
		t.Errorf("the one that is scheduled: %+v, %v", m, err)
	}
	if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
}
