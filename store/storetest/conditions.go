package storetest

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mmspipe/store"
)

func testCreateOnly(t *testing.T, b store.Bucket) {
	first, err := put(t, b, "key", "first", store.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"second", "first", "", noise(8<<20 + 1)} {
		if _, err := put(t, b, "key", content, store.IfAbsent()); !errors.Is(err, store.ErrPrecondition) {
			t.Errorf("create again with %d bytes: %v, want ErrPrecondition", len(content), err)
		}
	}
	wantContent(t, b, "key", "first")
	if o, err := b.Stat(t.Context(), "key"); err != nil || o.ETag != first.ETag {
		t.Errorf("the ETag is %+v, %v after refused writes, want %+v", o, err, first)
	}
	if err := b.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, b, "key", "second", store.IfAbsent()); err != nil {
		t.Errorf("create after delete: %v", err)
	}
	wantContent(t, b, "key", "second")
}

func testCreateOnlyRacing(t *testing.T, b store.Bucket) {
	const writers = 16
	for round := range 5 {
		key := fmt.Sprintf("round-%d/key", round)
		var wg sync.WaitGroup
		var errs [writers]error
		for i := range writers {
			wg.Go(func() { _, errs[i] = put(t, b, key, fmt.Sprint("writer ", i), store.IfAbsent()) })
		}
		wg.Wait()
		winner := ""
		for i, err := range errs {
			switch {
			case err == nil && winner != "":
				t.Errorf("writer %d created the object as well as %s", i, winner)
			case err == nil:
				winner = fmt.Sprint("writer ", i)
			case !errors.Is(err, store.ErrPrecondition):
				t.Errorf("writer %d: %v, want ErrPrecondition", i, err)
			}
		}
		wantContent(t, b, key, winner)
	}
}

func testIfMatch(t *testing.T, b store.Bucket) {
	first := mustPut(t, b, "key", "first")
	second, err := put(t, b, "key", "second", store.IfMatch(first.ETag))
	if err != nil {
		t.Fatal(err)
	}
	for _, etag := range []string{first.ETag, "d41d8cd98f00b204e9800998ecf8427e", "*x"} {
		if _, err := put(t, b, "key", "lost", store.IfMatch(etag)); !errors.Is(err, store.ErrPrecondition) {
			t.Errorf("put if %q matches: %v, want ErrPrecondition", etag, err)
		}
	}
	wantContent(t, b, "key", "second")
	if err := b.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, b, "key", "lost", store.IfMatch(second.ETag)); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("put after delete: %v, want ErrPrecondition", err)
	}
	wantAbsent(t, b, "key")
}

// testIfMatchRacing counts in an object with many writers: an increment that is
// lost was overwritten by a writer whose condition did not hold.
func testIfMatchRacing(t *testing.T, b store.Bucket) {
	const writers, each = 8, 5
	mustPut(t, b, "counter", "0")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := increment(t, b, "counter"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	wantContent(t, b, "counter", strconv.Itoa(writers*each))
}

// increment adds one to the number in key, however many others do so.
func increment(t *testing.T, b store.Bucket, key string) error {
	for {
		r, o, err := b.Get(t.Context(), key, 0, -1)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(data))
		if err != nil {
			return err
		}
		_, err = put(t, b, key, strconv.Itoa(n+1), store.IfMatch(o.ETag))
		if !errors.Is(err, store.ErrPrecondition) {
			return err
		}
	}
}

// testOverwriteWhileReading reads an object while it is replaced: every read
// must give one of the contents, whole.
func testOverwriteWhileReading(t *testing.T, b store.Bucket) {
	const size, rounds, reads = 1 << 20, 10, 3
	content := func(i int) string { return strings.Repeat(string(rune('a'+i)), size) }
	mustPut(t, b, "key", content(0))
	for i := range rounds {
		var writer sync.WaitGroup
		writer.Go(func() {
			if _, err := put(t, b, "key", content(i+1), store.Condition{}); err != nil {
				t.Error(err)
			}
		})
		for range reads {
			if got, _ := read(t, b, "key", 0, -1); got != content(i) && got != content(i+1) {
				t.Errorf("read %d bytes that were not put", len(got))
			}
		}
		writer.Wait()
	}
}
