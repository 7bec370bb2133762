package inbound_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// openDir is an Open of a [storetest.Scenario] that has nothing to do before.
func openDir(t *testing.T) store.Bucket { return storetest.OpenDir(t) }

// TestSweepInbound fails every call of the bucket in turn, with and without a
// second worker at the same Job in front of it. Afterwards the message is stored
// and announced, each fact once.
func TestSweepInbound(t *testing.T) {
	h := ingesttest.New(t)
	var sent simulate.Sent
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			sent = h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG}})
			d = h.Take()
			return openDir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			record, err := store.New(b, nil).Media(t.Context(), ingesttest.IDs(t, sent, 0))
			if err != nil || record.Announced == 0 || len(record.Variants) != 2 {
				t.Errorf("record %+v, %v", record, err)
			}
			if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventStored}) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestSweepFailure does the same with a medium that cannot be had.
func TestSweepFailure(t *testing.T) {
	h := ingesttest.New(t)
	var sent simulate.Sent
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.Attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			gone := ingesttest.JPEG
			gone.Always = simulate.Gone
			h.Fresh()
			sent = h.Send(simulate.Message{Media: []simulate.Media{gone}})
			d = h.Take()
			return openDir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			key := ingesttest.IDs(t, sent, 0)
			record, err := store.New(b, nil).Message(t.Context(), key.Account, key.Message)
			if f := record.Failures[key.Media]; err != nil || f.Announced == 0 || f.Reason != "status" || f.Status != http.StatusGone {
				t.Errorf("failures %+v, %v", record.Failures, err)
			}
			if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventFailed}) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestSweepDelete deletes a medium while a worker stores it: the delete Job is
// done in front of every call of the worker, which then finds the tombstone, and
// the worker in front of every call of the delete Job.
func TestSweepDelete(t *testing.T) {
	h := ingesttest.New(t)
	var sent simulate.Sent
	var inbound, deletion *stream.Delivery
	open := func(t *testing.T) store.Bucket {
		h.Fresh()
		sent = h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG}})
		inbound = h.Take()
		deletion = h.Deliver(stream.NewDeleteMedia(ingesttest.IDs(t, sent, 0)))
		return openDir(t)
	}
	keep := func(ctx context.Context, b store.Bucket) error { return h.Attempt(inbound)(ctx, b) }
	remove := func(ctx context.Context, b store.Bucket) error { return h.Attempt(deletion)(ctx, b) }
	check := func(t *testing.T, b store.Bucket) {
		record, err := store.New(b, nil).Media(t.Context(), ingesttest.IDs(t, sent, 0))
		if err != nil || record.Deleted.IsZero() || record.SHA256 != "" {
			t.Errorf("record %+v, %v; want a bare tombstone", record, err)
		}
		want := []string{stream.EventReceived, stream.EventStored, stream.EventDeleted}
		if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	t.Run("delete", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: ingesttest.Secret, Prepare: keep, Job: remove, Other: keep, Check: check})
	})
	t.Run("delete after the tombstone", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: ingesttest.Secret, Prepare: func(ctx context.Context, b store.Bucket) error {
			if err := keep(ctx, b); err != nil {
				return err
			}
			_, err := store.New(b, nil).UpdateMedia(ctx, ingesttest.IDs(t, sent, 0), func(m *store.Media) error {
				m.Deleted = time.Now()
				return nil
			})
			return err
		}, Job: remove, Other: keep, Check: check})
	})
	t.Run("late worker", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: ingesttest.Secret, Prepare: func(ctx context.Context, b store.Bucket) error {
			return errors.Join(keep(ctx, b), remove(ctx, b))
		}, Job: keep, Other: remove, Check: check})
	})
}

// TestConflict: a MessageSid that is repeated with other content is reported, and
// the first stays.
func TestConflict(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(openDir(t))
	h.Run(r)
	const sid = "SM00000000000000000000000000000001"
	h.Send(simulate.Message{SID: sid, From: "+1", To: "+2", Body: "first"})
	h.Eventually("the first is received", func() bool { return len(h.EventTypes(sid)) == 1 })
	h.Send(simulate.Message{SID: sid, From: "+1", To: "+2", Body: "second"})
	h.Eventually("the second is reported", func() bool { return len(h.EventTypes(sid)) == 2 })
	message, err := store.ParseMessageSID(sid)
	if err != nil {
		t.Fatal(err)
	}
	record, err := r.Store.Message(t.Context(), h.Account, message)
	if err != nil || record.Body != "first" {
		t.Errorf("body %q, %v; want the first", record.Body, err)
	}
	if got := h.EventTypes(sid); got[1] != stream.EventFailed {
		t.Errorf("events %v", got)
	}
}
