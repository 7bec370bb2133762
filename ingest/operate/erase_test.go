package operate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
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
	r, err := h.Rooms(b).Operator.Erase(ctx, store.AccountSID{}, number, dryRun, func(operate.Receipt) {})
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
	sweepErasure(t, true, func(ctx context.Context, o *operate.Operator, _ time.Time) (operate.Erased, error) {
		r, err := o.Erase(ctx, o.Accounts[0], erasedNumber, false, func(operate.Receipt) {})
		return r.Erased, err
	})
}

// TestSweepRetention does the same with what is older than a limit, and has it begun
// again before the Jobs are done that it has queued.
func TestSweepRetention(t *testing.T) {
	sweepErasure(t, false, func(ctx context.Context, o *operate.Operator, limit time.Time) (operate.Erased, error) {
		return o.EraseBefore(ctx, o.Accounts[0], limit, func(operate.Erased) {})
	})
}

// sweepErasure interrupts what erases two messages, that are older than limit and of
// erasedNumber, and leaves a third one.
func sweepErasure(t *testing.T, jobsFirst bool, erase func(ctx context.Context, o *operate.Operator, limit time.Time) (operate.Erased, error)) {
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
			_, err := erase(ctx, h.Rooms(b).Operator, limit)
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
			if again, err := erase(t.Context(), h.Rooms(b).Operator, limit); err != nil || again != (operate.Erased{}) {
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

// TestRetention: what is older than the limit goes, what is younger stays.
func TestRetention(t *testing.T) {
	h := ingesttest.New(t)
	bucket := dir(t)
	r := h.Rooms(bucket)
	h.Run(r)
	old := h.Send(simulate.Message{From: erasedNumber, To: erasedNumber, Media: jpeg()})
	h.AwaitStored(r, old)
	h.Eventually("the queue is empty", func() bool { return h.Queued() == 0 })
	limit := time.Now()
	young := h.Send(simulate.Message{From: otherNumber, To: otherNumber, Media: jpeg()})
	h.AwaitStored(r, young)
	erased, err := r.Operator.EraseBefore(t.Context(), h.Account, limit, func(operate.Erased) {})
	if err != nil || erased.Messages != 1 || erased.Media != 1 || erased.Events != 2 || erased.Bytes == 0 {
		t.Errorf("removed %+v, %v", erased, err)
	}
	h.NoTrace(t, bucket, erasedNumber, old.MessageSID)
	if record, err := r.Store.Media(t.Context(), ingesttest.IDs(t, young, 0)); err != nil || !record.Deleted.IsZero() {
		t.Errorf("the younger one: %+v, %v", record, err)
	}
	if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
}

// noMessage fails t if any message is found. Looking for them removes stale entries of the
// index, which have no more than SIDs, times and the other number.
func noMessage(t *testing.T, h *ingesttest.House, b store.Bucket) {
	t.Helper()
	for _, q := range []store.MessageQuery{{}, {Failed: true}, {From: otherNumber}, {To: otherNumber}} {
		q.Account = h.Account
		for _, err := range h.Rooms(b).Store.Messages(t.Context(), q) {
			t.Errorf("a message is left, %v", err)
		}
	}
}

// TestLateWorker erases a number in front of every call of a worker that stores a
// message of it or gives a medium up, has the worker run in front of every call of the
// erasure, and has the Job delivered once more: nothing comes back.
func TestLateWorker(t *testing.T) {
	h := ingesttest.New(t)
	for name, medium := range map[string]simulate.Media{"stored": ingesttest.JPEG, "failed": gone} {
		var sent simulate.Sent
		var d *stream.Delivery
		job := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
		erase := func(ctx context.Context, b store.Bucket) error {
			_, err := erase(ctx, h, b, erasedNumber, false)
			return err
		}
		scenario := storetest.Scenario{
			Secret: ingesttest.Secret,
			Open: func(t *testing.T) store.Bucket {
				h.Fresh()
				sent = h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: []simulate.Media{medium}})
				d = h.Take()
				return dir(t)
			},
			Check: func(t *testing.T, b store.Bucket) {
				noMessage(t, h, b)
				h.NoTrace(t, b, erasedNumber, sent.MessageSID)
				if err := h.Streams.RemoveJob(t.Context(), d.Sequence); err != nil { // it is in hand here
					t.Error(err)
				}
				if err := finish(t.Context(), h, b); err != nil {
					t.Error(err)
				}
				if err := job(t.Context(), b); err != nil {
					t.Error(err)
				}
				h.NoTrace(t, b, erasedNumber, sent.MessageSID)
			},
		}
		t.Run(name+", erased", func(t *testing.T) {
			s := scenario
			s.Job, s.Other = job, erase
			storetest.Sweep(t, s)
		})
		t.Run("erased, "+name, func(t *testing.T) {
			s := scenario
			s.Prepare, s.Job, s.Other = job, erase, job
			storetest.Sweep(t, s)
		})
	}
}

// TestErasedUpstream erases a number while the provider's copies of a message are
// deleted, and the other way round, when what is stored is good and when it is damaged.
// The feed keeps nothing of the message but that its medium was deleted.
func TestErasedUpstream(t *testing.T) {
	h := ingesttest.New(t)
	eraseIt := func(ctx context.Context, b store.Bucket) error {
		_, err := erase(ctx, h, b, erasedNumber, false)
		return err
	}
	deleteCopies := func(ctx context.Context, b store.Bucket) error {
		_, err := h.Rooms(b).Operator.DeleteUpstream(ctx, time.Now().Add(time.Hour), false, nil)
		return err
	}
	for name, c := range map[string]struct {
		damaged    bool
		job, other func(context.Context, store.Bucket) error
	}{
		"erased while the copy is deleted":       {false, deleteCopies, eraseIt},
		"erased while damage is found":           {true, deleteCopies, eraseIt},
		"the copy is deleted while it is erased": {false, eraseIt, deleteCopies},
		"damage is found while it is erased":     {true, eraseIt, deleteCopies},
	} {
		t.Run(name, func(t *testing.T) {
			for at, whole := 1, false; !whole; at++ {
				b := dir(t)
				sent := h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: []simulate.Media{ingesttest.Card}})
				if err := finish(t.Context(), h, b); err != nil {
					t.Fatal(err)
				}
				if c.damaged {
					flip(h, b, ingesttest.IDs(t, sent, 0))
				}
				faulty := &storetest.Faulty{Bucket: b, Before: func(call int) {
					if call == at {
						if err := c.other(t.Context(), b); err != nil {
							t.Errorf("call %d: the other: %v", at, err)
						}
					}
				}}
				err := c.job(t.Context(), faulty)
				whole = faulty.Calls() < at
				for _, job := range []func(context.Context, store.Bucket) error{c.job, eraseIt} {
					if again := job(t.Context(), b); again != nil {
						t.Errorf("call %d: %v, again %v", at, err, again)
					}
				}
				if err := finish(t.Context(), h, b); err != nil {
					t.Errorf("call %d: %v", at, err)
				}
				h.NoTrace(t, b, erasedNumber, sent.MessageSID)
				if orphans := storetest.Audit(t, b); len(orphans) > 0 {
					t.Errorf("call %d: blobs without a record: %v", at, orphans)
				}
			}
		})
	}
}

// TestErasedUpstreamHalfway has an erasure come as far as each of its calls of the bucket,
// in front of each call of a deletion of the provider's copies, and end after that; and the
// other way round. Each has read then what the other changes.
func TestErasedUpstreamHalfway(t *testing.T) {
	h := ingesttest.New(t)
	eraseIt := func(ctx context.Context, b store.Bucket) error {
		_, err := erase(ctx, h, b, erasedNumber, false)
		return err
	}
	deleteCopies := func(ctx context.Context, b store.Bucket) error {
		_, err := h.Rooms(b).Operator.DeleteUpstream(ctx, time.Now().Add(time.Hour), false, nil)
		return err
	}
	for name, jobs := range map[string][2]func(context.Context, store.Bucket) error{
		"half of the erasure": {deleteCopies, eraseIt}, "half of the deletion": {eraseIt, deleteCopies},
	} {
		t.Run(name, func(t *testing.T) {
			inner := 1 // calls of the inner job, known after the first run
			for at, whole := 1, false; !whole; at++ {
				for half := 1; half <= inner; half++ {
					b := dir(t)
					sent := h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: []simulate.Media{ingesttest.Card}})
					if err := finish(t.Context(), h, b); err != nil {
						t.Fatal(err)
					}
					calls, innerCalls := storetest.Interleave(t, b, jobs[0], jobs[1], at, half)
					whole, inner = calls < at, max(inner, innerCalls)
					for _, job := range append(jobs[:], eraseIt) {
						if err := job(t.Context(), b); err != nil {
							t.Errorf("call %d, half %d: %v", at, half, err)
						}
					}
					if err := finish(t.Context(), h, b); err != nil {
						t.Errorf("call %d, half %d: %v", at, half, err)
					}
					if h.NoTrace(t, b, erasedNumber, sent.MessageSID); t.Failed() {
						t.Fatalf("call %d, half %d", at, half)
					}
				}
			}
		})
	}
}

// TestEraseAfterDeath has a process die at every call of the bucket, before its effect and
// after it, while it works on a message or deletes the provider's copies. Nobody does that
// again before the number is erased, which finds what the process has announced and not
// noted.
func TestEraseAfterDeath(t *testing.T) {
	h := ingesttest.New(t)
	var d *stream.Delivery
	work := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
	deleteCopies := func(ctx context.Context, b store.Bucket) error {
		_, err := h.Rooms(b).Operator.DeleteUpstream(ctx, time.Now().Add(time.Hour), false, nil)
		return err
	}
	for name, c := range map[string]struct {
		medium  simulate.Media
		job     func(context.Context, store.Bucket) error // nil: the message's own
		damaged bool
	}{
		"stored":       {ingesttest.JPEG, nil, false},
		"failed":       {gone, nil, false},
		"copy deleted": {ingesttest.Card, deleteCopies, false},
		"damaged":      {ingesttest.Card, deleteCopies, true},
	} {
		t.Run(name, func(t *testing.T) {
			for at, whole := 1, false; !whole; at++ {
				for _, after := range []bool{false, true} {
					b := dir(t)
					sent := h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: []simulate.Media{c.medium}})
					job := c.job
					if job == nil {
						job, d = work, h.Take()
					} else if err := finish(t.Context(), h, b); err != nil {
						t.Fatal(err)
					}
					if c.damaged {
						flip(h, b, ingesttest.IDs(t, sent, 0))
					}
					dying := &storetest.Faulty{Bucket: b, At: at, After: after}
					err := job(t.Context(), dying)
					if whole = dying.Calls() < at; !whole && err == nil {
						t.Errorf("call %d fails, and the job returns no error", at)
					}
					if _, err := erase(t.Context(), h, b, erasedNumber, false); err != nil {
						t.Errorf("call %d: %v", at, err)
					}
					noMessage(t, h, b)
					h.NoTrace(t, b, erasedNumber, sent.MessageSID)
					if c.job == nil { // it is delivered once more
						if err := errors.Join(h.Streams.RemoveJob(t.Context(), d.Sequence), job(t.Context(), b)); err != nil {
							t.Errorf("call %d: %v", at, err)
						}
					}
					if err := finish(t.Context(), h, b); err != nil {
						t.Errorf("call %d: %v", at, err)
					}
					if h.NoTrace(t, b, erasedNumber, sent.MessageSID); t.Failed() {
						t.Fatalf("call %d, after its effect %v", at, after)
					}
				}
			}
		})
	}
}
