package operate_test

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

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

// TestErasedBesides erases a number while a worker announces what no record of its message
// implies: a status, and that a webhook was repeated with other content.
func TestErasedBesides(t *testing.T) {
	h := ingesttest.New(t)
	for name, change := range map[string]func(url.Values){
		"status":   func(form url.Values) { form.Set("MessageStatus", "read") },
		"conflict": func(form url.Values) { form.Set("Body", "another text") },
	} {
		var sent simulate.Sent
		var d *stream.Delivery
		storetest.Sweep(t, storetest.Scenario{
			Secret: ingesttest.Secret,
			Open: func(t *testing.T) store.Bucket {
				h.Fresh()
				sent = h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Body: "text"})
				return dir(t)
			},
			Prepare: func(ctx context.Context, b store.Bucket) error {
				if err := finish(ctx, h, b); err != nil {
					return err
				}
				form := maps.Clone(sent.Form)
				change(form)
				hook, err := webhook.Parse(form)
				if err == nil {
					d = h.Deliver(hook.Job(store.New(nil, ingesttest.Secret)))
				}
				return err
			},
			Job: func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) },
			Other: func(ctx context.Context, b store.Bucket) error {
				_, err := erase(ctx, h, b, erasedNumber, false)
				return err
			},
			Check: func(t *testing.T, b store.Bucket) {
				h.NoTrace(t, b, erasedNumber, sent.MessageSID)
				if err := errors.Join(h.Streams.RemoveJob(t.Context(), d.Sequence), finish(t.Context(), h, b)); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Log("while a worker announced: ", name)
				}
			},
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
		_, err := h.Rooms(b).Operations.Copies.Delete(ctx, time.Now().Add(time.Hour), false, nil)
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
				h.Fresh()
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
		_, err := h.Rooms(b).Operations.Copies.Delete(ctx, time.Now().Add(time.Hour), false, nil)
		return err
	}
	for name, jobs := range map[string][2]func(context.Context, store.Bucket) error{
		"half of the erasure": {deleteCopies, eraseIt}, "half of the deletion": {eraseIt, deleteCopies},
	} {
		t.Run(name, func(t *testing.T) {
			inner := 1 // calls of the inner job, known after the first run
			for at, whole := 1, false; !whole; at++ {
				for half := 1; half <= inner; half++ {
					h.Fresh()
					b := dir(t)
					sent := h.Send(simulate.Message{From: erasedNumber, To: otherNumber, Media: []simulate.Media{ingesttest.Card}})
					if err := finish(t.Context(), h, b); err != nil {
						t.Fatal(err)
					}
					calls, innerCalls := storetest.Interleave(t, b, jobs[0], jobs[1], at, half)
					whole, inner = calls < at, max(inner, innerCalls)
					// The Jobs of the erasure have not been done yet.
					if h.NoTrace(t, b, erasedNumber, sent.MessageSID); t.Failed() {
						t.Fatalf("call %d, half %d", at, half)
					}
					if err := finish(t.Context(), h, b); err != nil {
						t.Errorf("call %d, half %d: %v", at, half, err)
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
		_, err := h.Rooms(b).Operations.Copies.Delete(ctx, time.Now().Add(time.Hour), false, nil)
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
					h.Fresh()
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
