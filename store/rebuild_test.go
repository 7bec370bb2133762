package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

func TestRebuildIndexOnDir(t *testing.T) { testRebuildIndex(t, openDir(t)) }

func TestRebuildIndexOnMinIO(t *testing.T) { testRebuildIndex(t, minioOpener(t)(t)) }

func testRebuildIndex(t *testing.T, b store.Bucket) {
	s := store.New(b, secret)
	if err := errors.Join(createAll(t.Context(), b), remove(t.Context(), b)); err != nil {
		t.Fatal(err)
	}
	update(t, s, 4, failing)
	sound := keysBelow(t, b, "index")
	var seen []int
	rebuild := func() (added, removed int) {
		t.Helper()
		seen = nil
		r, err := s.RebuildIndex(t.Context(), account, false, func(done int) { seen = append(seen, done) })
		if err != nil {
			t.Fatal(err)
		}
		if got := keysBelow(t, b, "index"); !slices.Equal(got, sound) {
			t.Errorf("the index is %q, want %q", got, sound)
		}
		return r.Added, r.Removed
	}
	if added, removed := rebuild(); added != 0 || removed != 0 || !slices.Equal(seen, []int{1, 2, 3, 4}) {
		t.Errorf("of a sound index %d added, %d removed; progress %v", added, removed, seen)
	}
	for _, key := range sound { // by hand
		if err := b.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	ofTombstone := "index/" + account.String() + "/time/086970/7514207237854775307-" + messageSID(1).String()
	if _, err := put(t.Context(), b, ofTombstone, "", store.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	before := keysBelow(t, b, "index")
	if r, err := s.RebuildIndex(t.Context(), account, true, nil); err != nil || r != (store.Rebuilt{Added: len(sound), Removed: 1}) {
		t.Errorf("a dry run counts %+v, %v; want %d and 1", r, err, len(sound))
	}
	if after := keysBelow(t, b, "index"); !slices.Equal(after, before) {
		t.Errorf("a dry run makes %q of %q", after, before)
	}
	if added, removed := rebuild(); added != len(sound) || removed != 1 {
		t.Errorf("of a lost index %d added, %d removed, want %d and 1", added, removed, len(sound))
	}
	storetest.AuditIndex(t, b, secret)
}

// An interrupted rebuild is begun again, and harms nothing meanwhile.
func TestRebuildIndexInterrupted(t *testing.T) {
	storetest.Sweep(t, storetest.Scenario{
		Open: openDir, Secret: secret, Prepare: createFirst, Other: change(healed),
		Job: func(ctx context.Context, b store.Bucket) error {
			_, err := store.New(b, secret).RebuildIndex(ctx, account, false, nil)
			return err
		},
		Check: wantFound([]int{1}, nil),
	})
}

// Records that were written without an index get all their entries, and entries
// that nobody waits for any more go.
func TestRebuildIndexOfOlderRecords(t *testing.T) {
	path := t.TempDir()
	m := text(1, alice, bob, 0)
	if err := failing(&m); err != nil {
		t.Fatal(err)
	}
	writeMessage(t, path, m)
	if err := os.RemoveAll(filepath.Join(path, "objects", "index")); err != nil {
		t.Fatal(err)
	}
	opened, err := store.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	d := aging{opened, make(map[string]time.Duration)}
	s := store.New(d, secret)
	entry := "index/" + account.String() + "/time/086970/7514207237854775307-" + messageSID(2).String()
	if _, err := put(t.Context(), d, entry, "", store.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	for want, age := range []time.Duration{23 * time.Hour, 25 * time.Hour} {
		d.ages[entry] = age
		if r, err := s.RebuildIndex(t.Context(), account, false, nil); err != nil || r.Removed != want {
			t.Errorf("%v after it was put: %+v, %v, want %d removed", age, r, err, want)
		}
	}
	wantFound([]int{1}, []int{1})(t, d)
	if stale := storetest.AuditIndex(t, d, secret); stale != 0 {
		t.Errorf("%d stale entries", stale)
	}
}
