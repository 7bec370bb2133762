package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

const (
	erasedNumber = "+15005550100"
	otherNumber  = "+15005550199"
)

func (h *house) eraser(b store.Bucket) *Eraser {
	return &Eraser{Store: store.New(b, []byte("secret")), Streams: h.streams, Upstream: h.parse(h.twilio.Origin())}
}

// objects reads all of a bucket.
func objects(t *testing.T, b store.Bucket) map[string]string {
	t.Helper()
	all := map[string]string{}
	for after := ""; ; {
		page, err := b.List(t.Context(), "", after, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page {
			r, _, err := b.Get(t.Context(), o.Key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			all[o.Key], after = string(data), o.Key
		}
		if len(page) < 100 {
			return all
		}
	}
}

// feed reads all events of the account.
func (h *house) feed(t *testing.T) string {
	t.Helper()
	entries, err := h.streams.Events(t.Context(), stream.Query{Account: h.account}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, e := range entries {
		all.Write(e.JSON)
	}
	return all.String()
}

// noTrace fails if anything of a number is left, or of the messages of that
// number more than SIDs, dates and the deletion of their media.
func (h *house) noTrace(t *testing.T, b store.Bucket, number string, messages ...simulate.Sent) {
	t.Helper()
	hash := store.New(b, []byte("secret")).HashNumber(number)
	for key, data := range objects(t, b) {
		if strings.Contains(key+data, number) || strings.Contains(key+data, hash) {
			t.Errorf("the number is in %s: %s", key, data)
		}
		for _, sent := range messages {
			if strings.Contains(key, sent.MessageSID) && (!strings.HasSuffix(key, ".json") || strings.HasPrefix(key, "index/")) {
				t.Errorf("%s is left", key)
			}
		}
	}
	feed := h.feed(t)
	if strings.Contains(feed, hash) || strings.Contains(feed, number) {
		t.Error("the number is in the feed")
	}
	for _, sent := range messages {
		for _, kind := range h.eventTypes(sent.MessageSID) {
			if kind != stream.EventDeleted {
				t.Errorf("event %s of message %s is left", kind, sent.MessageSID)
			}
		}
	}
}

// TestSweepErase interrupts the erasure of a number at every call of the bucket.
// Afterwards nothing of it is left, and everything of another number.
func TestSweepErase(t *testing.T) {
	sweepErasure(t, func(ctx context.Context, e *Eraser, account store.AccountSID, _ time.Time) (Erased, error) {
		return e.Number(ctx, account, erasedNumber, false, func(Erased) {})
	})
}

// TestSweepRetention does the same with what is older than a limit.
func TestSweepRetention(t *testing.T) {
	sweepErasure(t, func(ctx context.Context, e *Eraser, account store.AccountSID, limit time.Time) (Erased, error) {
		return e.Before(ctx, account, limit, false, func(Erased) {})
	})
}

// sweepErasure interrupts what erases two messages, that are older than limit and of
// erasedNumber, and leaves a third one.
func sweepErasure(t *testing.T, erase func(ctx context.Context, e *Eraser, account store.AccountSID, limit time.Time) (Erased, error)) {
	h := newHouse(t)
	var from, to, other simulate.Sent
	var limit time.Time
	var others map[string]string // objects of the message that stays
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			media := []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}
			gone := append(media, simulate.Media{Data: picture(), ContentType: "image/jpeg", Always: simulate.Gone})
			from = h.send(simulate.Message{From: erasedNumber, To: otherNumber, Media: gone})
			to = h.send(simulate.Message{From: otherNumber, To: erasedNumber, Body: "to"})
			limit = time.Now()
			other = h.send(simulate.Message{From: otherNumber, To: otherNumber, Media: media})
			return dir(t)
		},
		Prepare: func(ctx context.Context, b store.Bucket) error {
			for range 3 {
				d := h.take()
				if err := h.attempt(d)(ctx, b); err != nil {
					return err
				}
				if err := d.Ack(ctx); err != nil {
					return err
				}
			}
			others = objects(t, b)
			maps.DeleteFunc(others, func(key, _ string) bool { return !strings.Contains(key, other.MessageSID) })
			return nil
		},
		Job: func(ctx context.Context, b store.Bucket) error {
			_, err := erase(ctx, h.eraser(b), h.account, limit)
			return err
		},
		Check: func(t *testing.T, b store.Bucket) {
			h.noTrace(t, b, erasedNumber, from, to)
			left := objects(t, b)
			for key, data := range others {
				if left[key] != data {
					t.Errorf("%s of another number was changed", key)
				}
			}
			if got := h.eventTypes(other.MessageSID); len(got) != 2 {
				t.Errorf("events of another number: %v", got)
			}
			if again, err := erase(t.Context(), h.eraser(b), h.account, limit); err != nil || again != (Erased{}) {
				t.Errorf("a second erasure removes %+v, %v", again, err)
			}
		},
	})
}

// TestEraseWaiting: what still waits in the queue is erased too, and neither a
// worker that has a Job in hand nor a repeat of the webhook brings it back.
func TestEraseWaiting(t *testing.T) {
	h := newHouse(t)
	bucket := dir(t)
	media := []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}
	inHand := h.send(simulate.Message{From: erasedNumber, To: otherNumber, Media: media})
	d := h.take()
	waiting := h.send(simulate.Message{From: erasedNumber, To: otherNumber, Media: media})
	other := h.send(simulate.Message{From: otherNumber, To: otherNumber, Media: media})

	dry, err := h.eraser(bucket).Number(t.Context(), h.account, erasedNumber, true, func(Erased) {})
	if err != nil || dry.Jobs != 2 {
		t.Fatalf("a dry run counts %+v, %v", dry, err)
	}
	erased, err := h.eraser(bucket).Number(t.Context(), h.account, erasedNumber, false, func(Erased) {})
	if err != nil || erased.Jobs != 2 {
		t.Fatalf("erased %+v, %v", erased, err)
	}
	if result := h.worker(bucket).work(t.Context(), d); result.verb != done {
		t.Errorf("the job in hand: %+v", result)
	}
	w := h.worker(bucket)
	h.run(w)
	h.awaitStored(w, other)
	for _, sent := range []simulate.Sent{inHand, waiting} {
		if _, err := h.twilio.Repeat(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
	}
	h.eventually("the queue is empty", func() bool {
		state, err := h.streams.State(t.Context())
		return err == nil && state.Jobs == 0
	})
	h.noTrace(t, bucket, erasedNumber, inHand, waiting)
}

// TestEraseCost: what an erasure costs depends on what it finds.
func TestEraseCost(t *testing.T) {
	h := newHouse(t)
	bucket := dir(t)
	s := store.New(bucket, []byte("secret"))
	create := func(n int, from string) {
		message, err := store.ParseMessageSID(fmt.Sprintf("SM%032x", n))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-time.Duration(n) * time.Minute).UTC()
		m := store.Message{Account: h.account, SID: message, From: from, To: otherNumber, DateCreated: at, DateUpdated: at}
		m.Form = map[string][]string{"AccountSid": {testAccount}, "MessageSid": {message.String()}, "From": {from}, "To": {otherNumber}}
		if _, _, err := s.CreateMessage(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	calls := func() int {
		counted := &storetest.Faulty{Bucket: bucket}
		if _, err := h.eraser(counted).Number(t.Context(), h.account, erasedNumber, false, func(Erased) {}); err != nil {
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
	h := newHouse(t)
	bucket := dir(t)
	media := []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}
	w := h.worker(bucket)
	h.run(w)
	old := h.send(simulate.Message{From: erasedNumber, To: erasedNumber, Media: media})
	h.awaitStored(w, old)
	h.eventually("the queue is empty", func() bool {
		state, err := h.streams.State(t.Context())
		return err == nil && state.Jobs == 0
	})
	limit := time.Now()
	young := h.send(simulate.Message{From: otherNumber, To: otherNumber, Media: media})
	h.awaitStored(w, young)
	erased, err := h.eraser(bucket).Before(t.Context(), h.account, limit, false, func(Erased) {})
	if err != nil || erased.Messages != 1 || erased.Media != 1 || erased.Events != 2 || erased.Bytes == 0 {
		t.Errorf("removed %+v, %v", erased, err)
	}
	h.noTrace(t, bucket, erasedNumber, old)
	message, medium := ids(t, young, 0)
	if record, err := w.Store.Media(t.Context(), h.account, message, medium); err != nil || !record.Deleted.IsZero() {
		t.Errorf("the younger one: %+v, %v", record, err)
	}
	if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
}

// TestLateWorker erases a number in front of every call of a worker that stores a
// message of it, and has the Job delivered once more: nothing comes back.
func TestLateWorker(t *testing.T) {
	h := newHouse(t)
	for name, fault := range map[string]simulate.Fault{"stored": "", "failed": simulate.Gone} {
		var sent simulate.Sent
		var d *stream.Delivery
		job := func(ctx context.Context, b store.Bucket) error {
			if err := h.attempt(d)(ctx, b); !errors.Is(err, errDeleted) {
				return err
			}
			return nil
		}
		t.Run(name, func(t *testing.T) {
			storetest.Sweep(t, storetest.Scenario{
				Secret: []byte("secret"),
				Open: func(t *testing.T) store.Bucket {
					sent = h.send(simulate.Message{From: "+14017122661", Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg", Always: fault}}})
					d = h.take()
					return dir(t)
				},
				Job: job,
				Other: func(ctx context.Context, b store.Bucket) error {
					_, err := h.eraser(b).Number(ctx, h.account, "+14017122661", false, func(Erased) {})
					return err
				},
				Check: func(t *testing.T, b store.Bucket) {
					for _, err := range h.eraser(b).Store.Messages(t.Context(), store.MessageQuery{Account: h.account, Failed: true}) {
						t.Errorf("a message is left, %v", err) // the walk removes stale entries
					}
					h.noTrace(t, b, "+14017122661", sent)
				},
			})
		})
	}
}
