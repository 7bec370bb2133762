package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"mmspipe/store"
)

// Audit reads everything in b and fails t where a visible Media record is
// without a blob or differs from it in size or SHA-256. It returns the keys of
// blobs that no visible record names. A worker that was stopped leaves such
// until its job is done again; once all jobs are done there should be none. It
// may be called from t.Cleanup, when t's own context has ended.
func Audit(t testing.TB, b store.Bucket) (orphans []string) {
	t.Helper()
	s := store.New(b, nil)
	blobs := make(map[string]bool) // key, named by a record
	var records []store.MediaKey
	objects, err := list(context.Background(), b, "")
	if err != nil {
		t.Errorf("audit: %v", err)
	}
	for _, o := range objects {
		switch key, name, ok := store.ParseMediaKey(o.Key); {
		case !ok:
		case name == "":
			records = append(records, key)
		default:
			blobs[o.Key] = false
		}
	}
	for _, r := range records {
		m, err := s.Media(context.Background(), r)
		if err != nil {
			t.Errorf("audit: %v", err)
			continue
		}
		if !m.Deleted.IsZero() {
			continue
		}
		want := map[string]store.Blob{store.Original: m.Blob}
		for _, v := range m.Variants {
			want[v.Name] = v.Blob
		}
		for name, blob := range want {
			key := s.BlobKey(r, name)
			blobs[key] = true
			if got, err := describe(context.Background(), b, key); err != nil || got != blob {
				t.Errorf("audit: %s: record %s says %+v, stored is %+v (%v)", key, r.Media, blob, got, err)
			}
		}
	}
	for key, named := range blobs {
		if !named {
			orphans = append(orphans, key)
		}
	}
	return orphans
}

// list returns all objects of b whose keys begin with prefix.
func list(ctx context.Context, b store.Bucket, prefix string) (all []store.Object, err error) {
	const page = 500
	for after := ""; ; after = all[len(all)-1].Key {
		objects, err := b.List(ctx, prefix, after, page)
		all = append(all, objects...)
		if err != nil || len(objects) < page {
			return all, err
		}
	}
}

// describe hashes what is stored under key.
func describe(ctx context.Context, b store.Bucket, key string) (store.Blob, error) {
	r, o, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		return store.Blob{}, err
	}
	defer r.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	if err == nil && n != o.Size {
		err = fmt.Errorf("%d bytes of %d", n, o.Size)
	}
	return store.Blob{Size: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, err
}
