package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

var second = sid(store.ParseMediaSID("ME" + strings.Repeat("f", 32)))

// worker stores a message with two media in the order that the package's
// documentation gives. What it fetches is its own: the medium may have changed
// since another worker fetched it.
func worker(fetched string) func(context.Context, store.Bucket) error {
	return func(ctx context.Context, b store.Bucket) error {
		s := store.New(b, nil)
		if _, _, err := s.CreateMessage(ctx, store.Message{Account: account, SID: message, NumMedia: 2, DateCreated: time.Unix(1e9, 0)}); err != nil {
			return err
		}
		for _, medium := range []store.MediaSID{media, second} {
			if err := storeMedium(ctx, s, medium, fetched); err != nil {
				return err
			}
		}
		return nil
	}
}

func storeMedium(ctx context.Context, s *store.Store, medium store.MediaSID, fetched string) error {
	m, err := s.Media(ctx, store.MediaKey{Account: account, Message: message, Media: medium})
	if errors.Is(err, store.ErrNotFound) {
		m, err = storeBlobs(ctx, s, medium, fetched)
		if err == nil {
			m, _, err = s.CreateMedia(ctx, m)
		}
	}
	switch {
	case err != nil:
		return err
	case !m.Deleted.IsZero():
		return s.DeleteBlobs(ctx, store.MediaKey{Account: account, Message: message, Media: medium})
	case m.Announced != 0:
		return nil
	}
	_, err = s.UpdateMedia(ctx, store.MediaKey{Account: account, Message: message, Media: medium}, func(m *store.Media) error {
		m.Announced = 1
		return nil
	})

	return err
}

// storeBlobs puts an original and a variant that is made from what is stored.
func storeBlobs(ctx context.Context, s *store.Store, medium store.MediaSID, fetched string) (store.Media, error) {
	m := store.Media{Account: account, Message: message, SID: medium}
	var err error
	if m.Blob, _, err = s.PutBlob(ctx, store.MediaKey{Account: account, Message: message, Media: medium}, store.Original, strings.NewReader(fetched), int64(len(fetched))); err != nil {
		return m, err
	}
	r, _, err := s.OpenBlob(ctx, store.MediaKey{Account: account, Message: message, Media: medium}, store.Original)
	if err != nil {
		return m, err
	}
	defer r.Close()
	original, err := io.ReadAll(r)
	if err != nil {
		return m, err
	}
	small := fmt.Sprintf("%x", sha256.Sum256(original))
	blob, _, err := s.PutBlob(ctx, store.MediaKey{Account: account, Message: message, Media: medium}, "us", strings.NewReader(small), int64(len(small)))
	m.Variants = []store.Variant{{Name: "us", Blob: blob}}
	return m, err
}

// deletion removes the first medium, whether or not it is stored yet.
func deletion(ctx context.Context, b store.Bucket) error {
	s := store.New(b, nil)
	tombstone := store.Media{Account: account, Message: message, SID: media, Deleted: time.Unix(1e9, 0)}
	_, created, err := s.CreateMedia(ctx, tombstone)
	if err != nil {
		return err
	}
	if !created {
		_, err := s.UpdateMedia(ctx, store.MediaKey{Account: account, Message: message, Media: media}, func(m *store.Media) error {
			m.Deleted = tombstone.Deleted
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := s.DeleteBlobs(ctx, store.MediaKey{Account: account, Message: message, Media: media}); err != nil {
		return err
	}
	_, err = s.UpdateMedia(ctx, store.MediaKey{Account: account, Message: message, Media: media}, func(m *store.Media) error {
		m.Removed = 2
		return nil
	})

	return err
}

// wantStored checks that these media, and no others, are visible and announced,
// with a variant that was made from the stored original.
func wantStored(media ...store.MediaSID) func(*testing.T, store.Bucket) {
	return func(t *testing.T, b store.Bucket) {
		t.Helper()
		s := store.New(b, nil)
		list, err := s.ListMedia(t.Context(), account, message)
		if err != nil || len(list) != len(media) {
			t.Fatalf("stored are %+v, %v, want %v", list, err, media)
		}
		for i, m := range list {
			if m.SID != media[i] || m.Announced != 1 {
				t.Errorf("stored is %+v, want %s, announced", m, media[i])
			}
			small := fmt.Sprintf("%x", sha256.Sum256([]byte(m.SHA256)))
			if len(m.Variants) != 1 || m.Variants[0].SHA256 != small {
				t.Errorf("the variant of %+v is not made from its original", m)
			}
		}
	}
}

func TestInvariantOnDir(t *testing.T) {
	first, late := worker("as fetched first"), worker("as fetched by another worker, later")
	for name, scenario := range map[string]storetest.Scenario{
		"a second worker":        {Job: first, Other: late, Check: wantStored(media, second)},
		"deleted meanwhile":      {Job: first, Other: deletion, Check: wantStored(second)},
		"a late worker":          {Prepare: first, Job: deletion, Other: late, Check: wantStored(second)},
		"deleted before it came": {Prepare: deletion, Job: first, Other: late, Check: wantStored(second)},
	} {
		scenario.Open = openDir
		t.Run(name, func(t *testing.T) { storetest.Sweep(t, scenario) })
	}
}

func TestInvariantOnMinIO(t *testing.T) {
	storetest.Sweep(t, storetest.Scenario{
		Open:  emptier(minioOpener(t)(t)),
		Job:   worker("as fetched first"),
		Other: deletion,
		Check: wantStored(second),
	})
}

// emptier returns a function that returns b, emptied.
func emptier(b store.Bucket) func(*testing.T) store.Bucket {
	return func(t *testing.T) store.Bucket {
		t.Helper()
		objects, err := b.List(t.Context(), "", "", 1000)
		for _, o := range objects {
			err = errors.Join(err, b.Delete(t.Context(), o.Key))
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}
