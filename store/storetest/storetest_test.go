package storetest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

func openDir(t *testing.T) store.Bucket { return storetest.OpenDir(t) }

func TestFaulty(t *testing.T) {
	for _, after := range []bool{false, true} {
		b := openDir(t)
		var met []int
		faulty := &storetest.Faulty{Bucket: b, At: 2, After: after, Before: func(call int) { met = append(met, call) }}
		for i, key := range []string{"first", "second", "third"} {
			_, err := faulty.Put(t.Context(), key, strings.NewReader("x"), 1, store.Condition{})
			if failed := errors.Is(err, storetest.ErrFault); failed != (i >= 1) {
				t.Errorf("call %d: %v", i+1, err)
			}
		}
		want := 1
		if after {
			want = 2 // the second has its effect
		}
		if objects, err := b.List(t.Context(), "", "", 10); err != nil || len(objects) != want {
			t.Errorf("after=%v: stored are %+v, %v, want %d", after, objects, err, want)
		}
		if !slices.Equal(met, []int{1, 2, 3}) || faulty.Calls() != 3 {
			t.Errorf("calls %v, counted %d", met, faulty.Calls())
		}
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestAudit(t *testing.T) {
	const content = "content"
	blob := store.Blob{Size: 7, SHA256: "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}
	hashed, other := blob, blob
	hashed.SHA256 = strings.Repeat("0", 64)
	other.Size++
	for _, c := range []struct {
		name    string
		stored  []string // names of blobs
		record  *store.Media
		fails   bool
		orphans int
	}{
		{name: "nothing"},
		{name: "sound", stored: []string{store.Original, "us"}, record: &store.Media{Blob: blob, Variants: []store.Variant{{Name: "us", Blob: blob}}}},
		{name: "no record yet", stored: []string{store.Original, "us"}, orphans: 2},
		{name: "variant without a record", stored: []string{store.Original, "us"}, record: &store.Media{Blob: blob}, orphans: 1},
		{name: "no original", record: &store.Media{Blob: blob}, fails: true},
		{name: "no variant", stored: []string{store.Original}, record: &store.Media{Blob: blob, Variants: []store.Variant{{Name: "us", Blob: blob}}}, fails: true},
		{name: "other bytes", stored: []string{store.Original}, record: &store.Media{Blob: hashed}, fails: true},
		{name: "other size", stored: []string{store.Original}, record: &store.Media{Blob: other}, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDir(t)
			s := store.New(b, nil)
			key, _, ok := store.ParseMediaKey("media/AC" + strings.Repeat("0", 32) + "/MM" + strings.Repeat("0", 32) + "/ME" + strings.Repeat("0", 32) + ".json")
			if !ok {
				t.Fatal("not a key")
			}
			for _, name := range c.stored {
				if _, _, err := s.PutBlob(t.Context(), key, name, strings.NewReader(content), 7); err != nil {
					t.Fatal(err)
				}
			}
			if c.record != nil {
				c.record.Account, c.record.Message, c.record.SID = key.Account, key.Message, key.Media
				if _, _, err := s.CreateMedia(t.Context(), *c.record); err != nil {
					t.Fatal(err)
				}
			}
			r := &recorder{TB: t}
			if orphans := storetest.Audit(r, b); r.failed != c.fails || len(orphans) != c.orphans {
				t.Errorf("failed: %v, want %v; orphans %v, want %d", r.failed, c.fails, orphans, c.orphans)
			}
		})
	}
}

func TestAuditIndex(t *testing.T) {
	b := openDir(t)
	secret := []byte("secret")
	s := store.New(b, secret)
	account, message, ok := store.ParseMessageKey("message/AC" + strings.Repeat("0", 32) + "/MM" + strings.Repeat("0", 32) + ".json")
	if !ok {
		t.Fatal("not a key")
	}
	medium, err := store.ParseMediaSID("ME" + strings.Repeat("0", 32))
	if err != nil {
		t.Fatal(err)
	}
	m := store.Message{Account: account, SID: message, From: "+1", To: "+2", DateCreated: time.Unix(1e9, 0)}
	m.Failures = map[store.MediaSID]store.Failure{medium: {}}
	if _, _, err := s.CreateMessage(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if stale := storetest.AuditIndex(t, b, secret); stale != 0 {
		t.Errorf("%d stale entries of a sound index", stale)
	}
	entries, err := b.List(t.Context(), "index", "", 10)
	if err != nil || len(entries) != 4 {
		t.Fatalf("entries %+v, %v, want 4", entries, err)
	}
	for _, entry := range entries {
		if err := b.Delete(t.Context(), entry.Key); err != nil {
			t.Fatal(err)
		}
		r := &recorder{TB: t}
		if storetest.AuditIndex(r, b, secret); !r.failed {
			t.Errorf("%s is missing, and nobody says so", entry.Key)
		}
		stray := strings.Replace(entry.Key, "MM0", "MM1", 1)
		for _, key := range []string{entry.Key, stray} {
			if _, err := b.Put(t.Context(), key, strings.NewReader(""), 0, store.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		if stale := storetest.AuditIndex(t, b, secret); stale != 1 {
			t.Errorf("%d stale entries, want that of %s", stale, stray)
		}
		if err := b.Delete(t.Context(), stray); err != nil {
			t.Fatal(err)
		}
	}
}
