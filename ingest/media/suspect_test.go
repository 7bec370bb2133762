package media_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
)

// fitting is where the notes are of pictures that are being fitted.
const fitting = "fitting/"

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
			h := ingesttest.New(t)
			bucket := storetest.OpenDir(t)
			sent := h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG}})
			medium := ingesttest.IDs(t, sent, 0)
			d := h.Take()
			for range c.deaths {
				// A process that dies in a fit leaves the note, if it had one, and the
				// delivery comes again. The first does not know that it is to be careful.
				if d.Abandoned {
					if err := h.Attempt(d)(t.Context(), mortal{bucket}); !errors.Is(err, storetest.ErrFault) || len(notes(t, bucket)) != 1 {
						t.Fatalf("%v, notes %v", err, notes(t, bucket))
					}
				}
				d.Attempt, d.Abandoned = d.Attempt+1, true
			}
			if c.stored {
				if _, _, err := store.New(bucket, nil).PutBlob(t.Context(), medium, "thumb", bytes.NewReader(ingesttest.JPEG.Data), int64(len(ingesttest.JPEG.Data))); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.Attempt(d)(t.Context(), bucket); err != nil {
				t.Fatal(err)
			}
			if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
				t.Errorf("blobs without a record: %v", orphans)
			}
			record, err := store.New(bucket, nil).Media(t.Context(), medium)
			if err != nil || (len(record.Variants) > 0) != c.fitted || (record.Note == "") != c.fitted {
				t.Errorf("record %+v, %v; fitted %v", record, err, c.fitted)
			}
			if notes := notes(t, bucket); len(notes) > 0 {
				t.Errorf("notes left %v", notes)
			}
		})
	}
}

// mortal is a bucket whose process dies when it has noted that it fits a picture.
type mortal struct{ store.Bucket }

func (m mortal) Put(ctx context.Context, key string, r io.Reader, size int64, cond store.Condition) (store.Object, error) {
	o, err := m.Bucket.Put(ctx, key, r, size, cond)
	if err == nil && strings.HasPrefix(key, fitting) {
		err = storetest.ErrFault
	}
	return o, err
}

// notes are the keys of all notes of fits.
func notes(t *testing.T, b store.Bucket) (keys []string) {
	t.Helper()
	left, err := b.List(t.Context(), fitting, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range left {
		keys = append(keys, o.Key)
	}
	return keys
}
