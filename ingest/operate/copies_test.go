package operate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
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

// flip changes one bit of a stored original.
func flip(h *ingesttest.House, b store.Bucket, medium store.MediaKey) {
	h.Helper()
	ctx := h.Context()
	key := h.Rooms(b).Store.BlobKey(medium, store.Original)
	r, _, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		h.Fatal(err)
	}
	data, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		h.Fatal(err)
	}
	data[3] ^= 1
	if _, err := b.Put(ctx, key, bytes.NewReader(data), int64(len(data)), store.Condition{}); err != nil {
		h.Fatal(err)
	}
}

// TestDeleteUpstream: copies of what is good are deleted once, others stay.
func TestDeleteUpstream(t *testing.T) {
	h, b := ingesttest.New(t), dir(t)
	c := h.Rooms(b).Operations.Copies
	now := time.Now()
	before := now.Add(-24 * time.Hour)
	good, _ := kept(h, b, before.Add(-time.Hour), 2)
	gone, _ := kept(h, b, before.Add(-2*time.Hour), 1)
	deleteUpstream(h, gone.MediaURLs...)
	bad, badMessage := kept(h, b, before.Add(-3*time.Hour), 1)
	flip(h, b, ingesttest.IDs(t, bad, 0))
	kept(h, b, before.Add(time.Minute), 1) // young
	kept(h, b, before.Add(-4*time.Hour), 0)
	unannounced, _ := kept(h, b, before.Add(-5*time.Hour), 1)
	change(h, b, ingesttest.IDs(t, unannounced, 0), func(m *store.Media) { m.Announced = 0 })
	deleted, _ := kept(h, b, before.Add(-6*time.Hour), 1)
	change(h, b, ingesttest.IDs(t, deleted, 0), func(m *store.Media) { m.Deleted = now })
	foreign := h.Twilio.Host(simulate.Message{Media: []simulate.Media{ingesttest.Card}}, before.Add(-7*time.Hour))
	foreign.Form.Set("MediaUrl0", strings.Replace(foreign.MediaURLs[0], "http://", "https://", 1))
	if _, err := keep(h, c.Store, foreign, before.Add(-7*time.Hour), 1); err != nil {
		t.Fatal(err)
	}

	want := operate.DeletedUpstream{Messages: 7, Media: 3, Damaged: 1, Left: 1, DryRun: true}
	if r, err := c.Delete(t.Context(), before, true, nil); err != nil || r != want {
		t.Errorf("dry run: %+v, %v, want %+v", r, err, want)
	}
	theirs := slices.Clone(gone.MediaSIDs)
	if got := h.Twilio.Deleted(); !slices.Equal(got, theirs) {
		t.Errorf("the dry run deleted %v", got)
	}
	want.Gone, want.DryRun = 1, false
	if r, err := c.Delete(t.Context(), before, false, nil); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	theirs = append(theirs, good.MediaSIDs...)
	if got := h.Twilio.Deleted(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(theirs))) {
		t.Errorf("deleted %v, want %v", got, theirs)
	}
	if n := eventsOf(h, stream.EventUpstreamDeleted); n != 3 {
		t.Errorf("%d events", n)
	}
	record, err := c.Store.Message(t.Context(), h.Account, badMessage.SID)
	failure := record.Failures[ingesttest.IDs(t, bad, 0).Media]
	if err != nil || failure.Reason != store.ReasonDamaged || failure.Announced == 0 || eventsOf(h, stream.EventFailed) != 1 {
		t.Errorf("failures %+v, %v, %d events", record.Failures, err, eventsOf(h, stream.EventFailed))
	}

	// Again, and a week later, from the beginning.
	if r, err := c.Delete(t.Context(), before, false, nil); err != nil || r != (operate.DeletedUpstream{}) {
		t.Errorf("again: %+v, %v", r, err)
	}
	calls := h.Twilio.Calls(simulate.DeleteMedia)
	if r, err := c.Delete(t.Context(), before.Add(30*time.Second), false, nil); err != nil || r != (operate.DeletedUpstream{}) {
		t.Errorf("again, later: %+v, %v", r, err)
	}
	if h.Twilio.Calls(simulate.DeleteMedia) != calls {
		t.Error("a copy was deleted twice")
	}

	// A replay mends the damaged original from the copy, which may go then.
	h.Queue(stream.NewReplay(h.Account, badMessage.SID, "test"))
	h.WorkAll(h.Rooms(b))
	r, err := c.Delete(t.Context(), before.Add(7*24*time.Hour), false, nil)
	if err != nil || r.Media != 2 || r.Damaged != 0 || r.Left != 1 { // the young one is old now
		t.Errorf("a week later: %+v, %v", r, err)
	}
	if got := h.Twilio.Deleted(); !slices.Contains(got, bad.MediaSIDs[0]) {
		t.Errorf("the copy of what was mended is still there: %v", got)
	}
}

// change changes the record of a medium.
func change(h *ingesttest.House, b store.Bucket, medium store.MediaKey, change func(*store.Media)) {
	h.Helper()
	_, err := h.Rooms(b).Store.UpdateMedia(h.Context(), medium, func(m *store.Media) error { change(m); return nil })
	if err != nil {
		h.Fatal(err)
	}
}

// TestSweepDeleteUpstream fails every call of the bucket in turn, with and without
// another process that does the same. Afterwards the copies are deleted, and each is
// announced once.
func TestSweepDeleteUpstream(t *testing.T) {
	h := ingesttest.New(t)
	before := time.Now().Add(-24 * time.Hour)
	var media []store.MediaKey
	var deleted, events int
	job := func(ctx context.Context, b store.Bucket) error {
		_, err := h.Rooms(b).Operations.Copies.Delete(ctx, before, false, nil)
		return err
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: ingesttest.Secret,
		Open: func(t *testing.T) store.Bucket {
			h.Fresh()
			deleted, events = len(h.Twilio.Deleted()), eventsOf(h, stream.EventUpstreamDeleted)
			return dir(t)
		},
		Prepare: func(_ context.Context, b store.Bucket) error {
			media = nil
			for range 2 {
				sent, _ := kept(h, b, before.Add(-time.Hour), 1)
				media = append(media, ingesttest.IDs(t, sent, 0))
			}
			return nil
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			for _, key := range media {
				record, err := h.Rooms(b).Store.Media(t.Context(), key)
				if err != nil || record.UpstreamDeleted.IsZero() || record.UpstreamAnnounced == 0 {
					t.Errorf("record %+v, %v", record, err)
				}
			}
			if n := len(h.Twilio.Deleted()) - deleted; n != 2 {
				t.Errorf("%d copies are deleted", n)
			}
			if n := eventsOf(h, stream.EventUpstreamDeleted) - events; n != 2 {
				t.Errorf("%d events", n)
			}
		},
	})
}

// TestSweepDamaged fails every call of the bucket in turn while an original is
// found damaged. The copy upstream stays, and the failure is announced once.
func TestSweepDamaged(t *testing.T) {
	h := ingesttest.New(t)
	before := time.Now().Add(-24 * time.Hour)
	for at, whole := 1, false; !whole; at++ {
		for _, after := range []bool{false, true} {
			b := dir(t)
			sent, m := kept(h, b, before.Add(-time.Hour), 1)
			flip(h, b, ingesttest.IDs(t, sent, 0))
			failures := eventsOf(h, stream.EventFailed)
			faulty := &storetest.Faulty{Bucket: b, At: at, After: after}
			_, err := h.Rooms(faulty).Operations.Copies.Delete(t.Context(), before, false, nil)
			whole = faulty.Calls() < at
			if !whole && !errors.Is(err, storetest.ErrFault) {
				t.Errorf("call %d fails, and the deletion returns %v", at, err)
			}
			for range 2 {
				if _, err := h.Rooms(b).Operations.Copies.Delete(t.Context(), before, false, nil); err != nil {
					t.Error(err)
				}
			}
			record, err := h.Rooms(b).Store.Message(t.Context(), h.Account, m.SID)
			failure := record.Failures[ingesttest.IDs(t, sent, 0).Media]
			if n := eventsOf(h, stream.EventFailed) - failures; err != nil || failure.Reason != store.ReasonDamaged || failure.Announced == 0 || n != 1 {
				t.Errorf("call %d: failure %+v, %v, %d events", at, failure, err, n)
			}
		}
	}
	if got := h.Twilio.Deleted(); len(got) != 0 {
		t.Errorf("copies of damaged media were deleted: %v", got)
	}
}
