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

	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// kept hosts a message with media upstream and keeps it here.
func (h *house) kept(b store.Bucket, at time.Time, media int) (simulate.Sent, store.Message) {
	h.t.Helper()
	sent := h.twilio.Host(simulate.Message{Media: slices.Repeat([]simulate.Media{card}, media)}, at)
	m, err := h.keep(store.New(b, secret), sent, at, media)
	if err != nil {
		h.t.Fatal(err)
	}
	return sent, m
}

// events counts the events of a type.
func (h *house) events(kind string) int {
	h.t.Helper()
	entries, err := h.streams.Events(h.t.Context(), stream.Query{Types: []string{kind}}, 10_000)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(entries)
}

// flip changes one bit of a stored original.
func (h *house) flip(b store.Bucket, m store.Message, media string) {
	h.t.Helper()
	ctx := h.t.Context()
	key := store.New(b, secret).BlobKey(account, m.SID, sid(store.ParseMediaSID(media)), store.Original)
	r, _, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		h.t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	data[3] ^= 1
	if _, err := b.Put(ctx, key, bytes.NewReader(data), int64(len(data)), store.Condition{}); err != nil {
		h.t.Fatal(err)
	}
}

// TestDeleteUpstream: copies of what is good are deleted once, others stay.
func TestDeleteUpstream(t *testing.T) {
	h, b := newHouse(t), dir(t)
	o := h.operator(b)
	now := time.Now()
	before := now.Add(-24 * time.Hour)
	good, _ := h.kept(b, before.Add(-time.Hour), 2)
	gone, _ := h.kept(b, before.Add(-2*time.Hour), 1)
	h.deleteUpstream(t, gone.MediaURLs...)
	bad, badMessage := h.kept(b, before.Add(-3*time.Hour), 1)
	h.flip(b, badMessage, bad.MediaSIDs[0])
	h.kept(b, before.Add(time.Minute), 1) // young
	h.kept(b, before.Add(-4*time.Hour), 0)
	unannounced, m := h.kept(b, before.Add(-5*time.Hour), 1)
	h.change(b, m, unannounced, func(m *store.Media) { m.Announced = 0 })
	deleted, m := h.kept(b, before.Add(-6*time.Hour), 1)
	h.change(b, m, deleted, func(m *store.Media) { m.Deleted = now })
	foreign := h.twilio.Host(simulate.Message{Media: []simulate.Media{card}}, before.Add(-7*time.Hour))
	foreign.Form.Set("MediaUrl0", strings.Replace(foreign.MediaURLs[0], "http://", "https://", 1))
	if _, err := h.keep(o.Store, foreign, before.Add(-7*time.Hour), 1); err != nil {
		t.Fatal(err)
	}

	want := operate.DeletedUpstream{Messages: 7, Media: 3, Damaged: 1, Left: 1, DryRun: true}
	if r, err := o.DeleteUpstream(t.Context(), before, true, nil); err != nil || r != want {
		t.Errorf("dry run: %+v, %v, want %+v", r, err, want)
	}
	theirs := slices.Clone(gone.MediaSIDs)
	if got := h.twilio.Deleted(); !slices.Equal(got, theirs) {
		t.Errorf("the dry run deleted %v", got)
	}
	want.Gone, want.DryRun = 1, false
	if r, err := o.DeleteUpstream(t.Context(), before, false, nil); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	theirs = append(theirs, good.MediaSIDs...)
	if got := h.twilio.Deleted(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(theirs))) {
		t.Errorf("deleted %v, want %v", got, theirs)
	}
	if n := h.events(stream.EventUpstreamDeleted); n != 3 {
		t.Errorf("%d events", n)
	}
	record, err := o.Store.Message(t.Context(), account, badMessage.SID)
	failure := record.Failures[sid(store.ParseMediaSID(bad.MediaSIDs[0]))]
	if err != nil || failure.Reason != operate.Damaged || failure.Announced == 0 || h.events(stream.EventFailed) != 1 {
		t.Errorf("failures %+v, %v, %d events", record.Failures, err, h.events(stream.EventFailed))
	}

	// Again, and a week later, from the beginning.
	if r, err := o.DeleteUpstream(t.Context(), before, false, nil); err != nil || r != (operate.DeletedUpstream{}) {
		t.Errorf("again: %+v, %v", r, err)
	}
	calls := h.twilio.Calls(simulate.DeleteMedia)
	if r, err := o.DeleteUpstream(t.Context(), before.Add(30*time.Second), false, nil); err != nil || r != (operate.DeletedUpstream{}) {
		t.Errorf("again, later: %+v, %v", r, err)
	}
	if h.twilio.Calls(simulate.DeleteMedia) != calls {
		t.Error("a copy was deleted twice")
	}

	// A replay mends the damaged original from the copy, which may go then.
	message := badMessage.SID
	if _, err := h.streams.PublishJob(t.Context(), stream.Job{Kind: stream.Replay, Account: account, Message: message, ID: "test"}); err != nil {
		t.Fatal(err)
	}
	h.work(b)
	r, err := o.DeleteUpstream(t.Context(), before.Add(7*24*time.Hour), false, nil)
	if err != nil || r.Media != 2 || r.Damaged != 0 || r.Left != 1 { // the young one is old now
		t.Errorf("a week later: %+v, %v", r, err)
	}
	if got := h.twilio.Deleted(); !slices.Contains(got, bad.MediaSIDs[0]) {
		t.Errorf("the copy of what was mended is still there: %v", got)
	}
}

// change changes the record of the first medium of a message.
func (h *house) change(b store.Bucket, m store.Message, sent simulate.Sent, change func(*store.Media)) {
	h.t.Helper()
	media := sid(store.ParseMediaSID(sent.MediaSIDs[0]))
	_, err := store.New(b, secret).UpdateMedia(h.t.Context(), account, m.SID, media, func(m *store.Media) error { change(m); return nil })
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestSweepDeleteUpstream fails every call of the bucket in turn, with and without
// another process that does the same. Afterwards the copies are deleted, and each is
// announced once.
func TestSweepDeleteUpstream(t *testing.T) {
	h := newHouse(t)
	before := time.Now().Add(-24 * time.Hour)
	var kept []store.Message
	var media []store.MediaSID
	var deleted, events int
	job := func(ctx context.Context, b store.Bucket) error {
		_, err := h.operator(b).DeleteUpstream(ctx, before, false, nil)
		return err
	}
	storetest.Sweep(t, storetest.Scenario{
		Secret: secret,
		Open: func(t *testing.T) store.Bucket {
			deleted, events = len(h.twilio.Deleted()), h.events(stream.EventUpstreamDeleted)
			return dir(t)
		},
		Prepare: func(_ context.Context, b store.Bucket) error {
			kept, media = nil, nil
			for range 2 {
				sent, m := h.kept(b, before.Add(-time.Hour), 1)
				kept, media = append(kept, m), append(media, sid(store.ParseMediaSID(sent.MediaSIDs[0])))
			}
			return nil
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			s := store.New(b, secret)
			for i, m := range kept {
				record, err := s.Media(t.Context(), account, m.SID, media[i])
				if err != nil || record.UpstreamDeleted.IsZero() || record.UpstreamAnnounced == 0 {
					t.Errorf("record %+v, %v", record, err)
				}
				m, err := s.Message(t.Context(), account, m.SID)
				if err != nil || !slices.Equal(m.Events, []uint64{record.UpstreamAnnounced}) {
					t.Errorf("events %v of the message, %v", m.Events, err)
				}
			}
			if n := len(h.twilio.Deleted()) - deleted; n != 2 {
				t.Errorf("%d copies are deleted", n)
			}
			if n := h.events(stream.EventUpstreamDeleted) - events; n != 2 {
				t.Errorf("%d events", n)
			}
		},
	})
}

// TestSweepDamaged fails every call of the bucket in turn while an original is
// found damaged. The copy upstream stays, and the failure is announced once.
func TestSweepDamaged(t *testing.T) {
	h := newHouse(t)
	before := time.Now().Add(-24 * time.Hour)
	for at, whole := 1, false; !whole; at++ {
		for _, after := range []bool{false, true} {
			b := dir(t)
			sent, m := h.kept(b, before.Add(-time.Hour), 1)
			h.flip(b, m, sent.MediaSIDs[0])
			failures := h.events(stream.EventFailed)
			faulty := &storetest.Faulty{Bucket: b, At: at, After: after}
			_, err := h.operator(faulty).DeleteUpstream(t.Context(), before, false, nil)
			whole = faulty.Calls() < at
			if !whole && !errors.Is(err, storetest.ErrFault) {
				t.Errorf("call %d fails, and the deletion returns %v", at, err)
			}
			for range 2 {
				if _, err := h.operator(b).DeleteUpstream(t.Context(), before, false, nil); err != nil {
					t.Error(err)
				}
			}
			record, err := store.New(b, secret).Message(t.Context(), account, m.SID)
			failure := record.Failures[sid(store.ParseMediaSID(sent.MediaSIDs[0]))]
			if n := h.events(stream.EventFailed) - failures; err != nil || failure.Reason != operate.Damaged || failure.Announced == 0 || n != 1 {
				t.Errorf("call %d: failure %+v, %v, %d events", at, failure, err, n)
			}
		}
	}
	if got := h.twilio.Deleted(); len(got) != 0 {
		t.Errorf("copies of damaged media were deleted: %v", got)
	}
}
