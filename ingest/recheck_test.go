package ingest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// TestRecheck takes away what a power cut may take: of some media a blob, of one
// the record too. What is lost is made again, what is whole is left alone, and
// nothing is announced a second time.
func TestRecheck(t *testing.T) {
	h := newHouse(t)
	bucket := dir(t)
	w := h.worker(bucket)
	data := picture()
	media := []simulate.Media{{Data: data, ContentType: "image/jpeg"}, {Data: data, ContentType: "image/jpeg"}, {Data: data, ContentType: "image/jpeg"}}
	sent, whole := h.send(simulate.Message{Media: media}), h.send(simulate.Message{Media: media[:1]})
	h.run(w)
	h.awaitStored(w, sent)
	h.awaitStored(w, whole)

	message, first := ids(t, sent, 0)
	_, second := ids(t, sent, 1)
	_, third := ids(t, sent, 2)
	for _, key := range []string{
		w.Store.BlobKey(h.account, message, first, store.Original),
		w.Store.BlobKey(h.account, message, second, "thumb"),
		w.Store.BlobKey(h.account, message, third, "us"),
		strings.TrimSuffix(w.Store.BlobKey(h.account, message, third, ""), "/") + ".json",
	} {
		if err := bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	since := time.Now().Add(-time.Hour)
	found, err := w.Recheck(t.Context(), since)
	// The first Job may have mended what the rest of the events are about.
	if err != nil || found.Events != 6 || found.Damaged < 1 || found.Damaged > 3 || found.Queued != found.Damaged {
		t.Fatalf("found %+v, %v", found, err)
	}
	h.eventually("all is whole", func() bool {
		found, err := w.Recheck(t.Context(), since)
		return err == nil && found.Damaged == 0
	})
	if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
	want := []string{stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventStored}
	if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if n := h.twilio.Downloads(whole.MediaSIDs[0]); n != 1 {
		t.Errorf("what was whole was downloaded %d times", n)
	}
	if n := h.twilio.Downloads(sent.MediaSIDs[1]); n != 1 {
		t.Errorf("the original that was there was downloaded %d times", n)
	}
}

// TestPoison: a picture that was being fitted when two processes died is kept as
// it came, and one that was so when one died is fitted. One of which a variant is
// stored did not kill anybody.
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		name   string
		deaths int
		stored bool // a variant, before the last death
		fitted bool
	}{
		{"no death", 0, false, true},
		{"one death", 1, false, true},
		{"two deaths", 2, false, false},
		{"two deaths after the fit", 2, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			bucket := dir(t)
			sent := h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
			message, media := ids(t, sent, 0)
			d := h.take()
			for range c.deaths {
				// A worker of another process that dies in the fit leaves what it
				// noted, and the delivery comes again.
				dying := h.worker(bucket)
				_, err := dying.guarded(t.Context(), d, &store.Media{Account: h.account, Message: message, SID: media}, "us", func() error {
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if d.Attempt > 1 { // its note is still there
					if _, err := dying.Store.BeginFit(t.Context(), h.account, message, media, dying.poison.owner); err != nil {
						t.Fatal(err)
					}
				}
				d.Attempt++
			}
			if c.stored {
				thumb := picture()
				if _, _, err := store.New(bucket, nil).PutBlob(t.Context(), h.account, message, media, "thumb", bytes.NewReader(thumb), int64(len(thumb))); err != nil {
					t.Fatal(err)
				}
			}
			if result := h.worker(bucket).work(t.Context(), d); result.verb != done {
				t.Fatalf("outcome %+v", result)
			}
			if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
				t.Errorf("blobs without a record: %v", orphans)
			}
			record, err := store.New(bucket, nil).Media(t.Context(), h.account, message, media)
			if err != nil || (len(record.Variants) > 0) != c.fitted || (record.Note == "") != c.fitted {
				t.Errorf("record %+v, %v; fitted %v", record, err, c.fitted)
			}
			left, err := bucket.List(context.Background(), "fitting/", "", 10)
			if err != nil || len(left) > 0 {
				t.Errorf("notes left %v, %v", left, err)
			}
		})
	}
}

// TestRecheckEvents: a feed that has lost what it acknowledged is told again.
func TestRecheckEvents(t *testing.T) {
	h := newHouse(t)
	w := h.worker(dir(t))
	h.run(w)
	sent := h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
	message, media := ids(t, sent, 0)
	h.eventually("the medium is announced", func() bool {
		m, err := w.Store.Media(t.Context(), h.account, message, media)
		return err == nil && m.Announced != 0
	})
	forget := func(m *store.Media) error { m.Announced += 1000; return nil } // as if the feed had been longer
	if _, err := w.Store.UpdateMedia(t.Context(), h.account, message, media, forget); err != nil {
		t.Fatal(err)
	}
	found, err := w.Recheck(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || found.Damaged != 1 || found.Queued != 1 {
		t.Fatalf("found %+v, %v", found, err)
	}
	h.eventually("the medium is announced again", func() bool {
		found, err := w.Recheck(t.Context(), time.Now().Add(-time.Hour))
		return err == nil && found.Damaged == 0
	})
}
