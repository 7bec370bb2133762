package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mmspipe/store"
)

// TestBucket runs the cases of the contract of [store.Bucket], each on an empty
// bucket of its own from open.
func TestBucket(t *testing.T, open func(t *testing.T) store.Bucket) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// cases is the table of contents of what a bucket must do.
var cases = []struct {
	name string
	run  func(*testing.T, store.Bucket)
}{
	{"round trip", testRoundTrip},
	{"absence", testAbsence},
	{"overwrite", testOverwrite},
	{"sizes", testSizes},
	{"ranges", testRanges},
	{"reader closed early", testClosedEarly},
	{"etag changes", testETagChanges},
	{"create only", testCreateOnly},
	{"create only, racing", testCreateOnlyRacing},
	{"if match", testIfMatch},
	{"if match, racing", testIfMatchRacing},
	{"overwrite while reading", testOverwriteWhileReading},
	{"failing reader", testFailingReader},
	{"short and long readers", testWrongSize},
	{"cancelled", testCancelled},
	{"cancelled in the middle", testCancelledInTheMiddle},
	{"list", testList},
	{"list in pages", testListPages},
	{"odd keys", testOddKeys},
	{"malformed keys", testMalformedKeys},
}

func put(t *testing.T, b store.Bucket, key, content string, cond store.Condition) (store.Object, error) {
	t.Helper()
	return b.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), cond)
}

func mustPut(t *testing.T, b store.Bucket, key, content string) store.Object {
	t.Helper()
	o, err := put(t, b, key, content, store.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func read(t *testing.T, b store.Bucket, key string, offset, length int64) (string, store.Object) {
	t.Helper()
	r, o, err := b.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return string(data), o
}

func wantContent(t *testing.T, b store.Bucket, key, want string) {
	t.Helper()
	got, o := read(t, b, key, 0, -1)
	if got != want || o.Size != int64(len(want)) {
		t.Errorf("%q holds %.60q (size %d), want %.60q (size %d)", key, got, o.Size, want, len(want))
	}
}

func wantAbsent(t *testing.T, b store.Bucket, key string) {
	t.Helper()
	if o, err := b.Stat(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("stat %q: %+v, %v, want ErrNotFound", key, o, err)
	}
	if r, _, err := b.Get(t.Context(), key, 0, -1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get %q: %v, want ErrNotFound", key, err)
		if err == nil {
			r.Close()
		}
	}
	if objects, err := list(t.Context(), b, key); err != nil || len(objects) > 0 && objects[0].Key == key {
		t.Errorf("list %q: %+v, %v, want nothing", key, objects, err)
	}
}

// noise is n bytes that do not compress.
func noise(n int) string {
	data := make([]byte, n)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(data) // never fails
	return string(data)
}

func testRoundTrip(t *testing.T, b store.Bucket) {
	const key, content = "folder/key.json", "content"
	written := mustPut(t, b, key, content)
	wantContent(t, b, key, content)
	stat, err := b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, got := read(t, b, key, 2, 3)
	listed, err := b.List(t.Context(), "", "", 10)
	if err != nil || len(listed) != 1 {
		t.Fatalf("list: %+v, %v, want one object", listed, err)
	}
	for what, o := range map[string]store.Object{"put": written, "stat": stat, "get": got, "list": listed[0]} {
		if o.Key != key || o.Size != int64(len(content)) || o.ETag != stat.ETag || o.ETag == "" {
			t.Errorf("%s describes %+v, stat %+v", what, o, stat)
		}
		if what != "put" && o.Modified.IsZero() {
			t.Errorf("%s does not say when it was modified", what)
		}
	}
	if err := b.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, b, key)
}

func testAbsence(t *testing.T, b store.Bucket) {
	mustPut(t, b, "a/b/c", "")
	for _, key := range []string{"none", "a/none", "a/b/none", "a/b", "a", "a/b/c/d", "none/none"} {
		wantAbsent(t, b, key)
		if err := b.Delete(t.Context(), key); err != nil {
			t.Errorf("delete an absent key: %v", err)
		}
	}
	if _, err := put(t, b, "none", "x", store.IfMatch("d41d8cd98f00b204e9800998ecf8427e")); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("if-match on an absent key: %v, want ErrPrecondition", err)
	}
	wantAbsent(t, b, "none")
	wantContent(t, b, "a/b/c", "")
}

func testOverwrite(t *testing.T, b store.Bucket) {
	for _, content := range []string{"first, which is longer", "second", "", "third"} {
		mustPut(t, b, "key", content)
		wantContent(t, b, "key", content)
	}
}

func testSizes(t *testing.T, b store.Bucket) {
	for _, size := range []int{0, 1, 4096, 8<<20 + 1} {
		key := fmt.Sprint("size-", size)
		content := noise(size)
		o, err := b.Put(t.Context(), key, struct{ io.Reader }{strings.NewReader(content)}, int64(size), store.IfAbsent())
		if err != nil || o.Size != int64(size) {
			t.Fatalf("put %d bytes: %+v, %v", size, o, err)
		}
		wantContent(t, b, key, content)
	}
}

func testRanges(t *testing.T, b store.Bucket) {
	const content = "0123456789"
	mustPut(t, b, "key", content)
	mustPut(t, b, "empty", "")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, content},
		{0, 0, ""},
		{0, 1, "0"},
		{0, 10, content},
		{0, 11, content},
		{3, -1, "3456789"},
		{3, 0, ""},
		{3, 4, "3456"},
		{9, 1, "9"},
		{9, 5, "9"},
		{10, -1, ""},
		{10, 1, ""},
		{11, -1, ""},
		{1 << 40, 1 << 40, ""},
	} {
		if got, o := read(t, b, "key", c.offset, c.length); got != c.want || o.Size != 10 {
			t.Errorf("range %d, %d: %q of %d bytes, want %q of 10", c.offset, c.length, got, o.Size, c.want)
		}
	}
	for _, offset := range []int64{0, 1} {
		if got, o := read(t, b, "empty", offset, -1); got != "" || o.Size != 0 {
			t.Errorf("an empty object from %d: %q of %d bytes", offset, got, o.Size)
		}
	}
}

func testClosedEarly(t *testing.T, b store.Bucket) {
	content := noise(8<<20 + 1)
	mustPut(t, b, "key", content)
	for _, n := range []int64{0, 1, 1 << 20} {
		r, _, err := b.Get(t.Context(), "key", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			t.Errorf("read %d bytes: %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("close after %d bytes: %v", n, err)
		}
	}
	wantContent(t, b, "key", content)
}

func testETagChanges(t *testing.T, b store.Bucket) {
	seen := make(map[string]int)
	for i := range 50 { // faster than the clock of a file system
		o := mustPut(t, b, "key", fmt.Sprintf("%02d", i))
		if before, ok := seen[o.ETag]; ok {
			t.Errorf("contents %d and %d have the ETag %s", before, i, o.ETag)
		}
		seen[o.ETag] = i
	}
}

func testFailingReader(t *testing.T, b store.Bucket) {
	mustPut(t, b, "old", "old content")
	broken := errors.New("broken pipe")
	for _, size := range []int64{4, 1 << 20} {
		for _, key := range []string{"new", "old"} {
			r := io.MultiReader(io.LimitReader(zeros{}, size/2), failing{broken})
			if _, err := b.Put(t.Context(), key, r, size, store.Condition{}); !errors.Is(err, broken) {
				t.Errorf("put from a failing reader: %v, want its error", err)
			}
		}
	}
	wantAbsent(t, b, "new")
	wantContent(t, b, "old", "old content")
}

func testWrongSize(t *testing.T, b store.Bucket) {
	mustPut(t, b, "old", "old content")
	for _, c := range []struct{ has, size int64 }{
		{0, 1}, {3, 4}, {1<<20 - 1, 1 << 20}, {1, 0}, {5, 4}, {1<<20 + 1, 1 << 20}, {1, -1},
	} {
		for _, key := range []string{"new", "old"} {
			if _, err := b.Put(t.Context(), key, io.LimitReader(zeros{}, c.has), c.size, store.Condition{}); err == nil {
				t.Errorf("a reader of %d bytes was stored as %d", c.has, c.size)
			}
		}
	}
	wantAbsent(t, b, "new")
	wantContent(t, b, "old", "old content")
}

func testCancelled(t *testing.T, b store.Bucket) {
	mustPut(t, b, "old", "old content")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := b.Put(ctx, "new", strings.NewReader("x"), 1, store.Condition{})
	_, emptyErr := b.Put(ctx, "new", strings.NewReader(""), 0, store.Condition{})
	_, overErr := b.Put(ctx, "old", strings.NewReader("x"), 1, store.Condition{})
	_, _, getErr := b.Get(ctx, "old", 0, -1)
	_, statErr := b.Stat(ctx, "old")
	_, listErr := b.List(ctx, "", "", 1)
	for what, err := range map[string]error{
		"put": putErr, "put of nothing": emptyErr, "overwrite": overErr, "get": getErr,
		"stat": statErr, "list": listErr, "delete": b.Delete(ctx, "old"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", what, err)
		}
	}
	wantAbsent(t, b, "new")
	wantContent(t, b, "old", "old content")
}

func testCancelledInTheMiddle(t *testing.T, b store.Bucket) {
	const size = 8<<20 + 1
	mustPut(t, b, "old", noise(size))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _, err := b.Get(ctx, "old", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body := io.MultiReader(io.LimitReader(zeros{}, size/2), cancelling{cancel}, zeros{})
	if _, err := b.Put(ctx, "new", io.LimitReader(body, size), size, store.Condition{}); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v, want context.Canceled", err)
	}
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v, want context.Canceled", err)
	}
	wantAbsent(t, b, "new")
	wantContent(t, b, "old", noise(size))
}

// zeros is an endless reader, failing one that fails, and cancelling one that
// ends a context and then itself.
type (
	zeros      struct{}
	failing    struct{ err error }
	cancelling struct{ cancel context.CancelFunc }
)

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func (c cancelling) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.EOF
}
