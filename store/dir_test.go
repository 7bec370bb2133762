package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mmspipe/store"
)

func put(ctx context.Context, b store.Bucket, key, content string, cond store.Condition) (store.Object, error) {
	return b.Put(ctx, key, strings.NewReader(content), int64(len(content)), cond)
}

func TestDirChangesTheETagOfTheSameContent(t *testing.T) {
	d := openDir(t)
	seen := make(map[string]bool)
	for range 100 {
		o, err := put(t.Context(), d, "key", "same", store.Condition{})
		if err != nil || seen[o.ETag] {
			t.Fatalf("put: %+v, %v, want another ETag than before", o, err)
		}
		seen[o.ETag] = true
	}
}

func TestDirOpensAgain(t *testing.T) {
	path := t.TempDir()
	d := reopen(t, nil, path)
	before, err := put(t.Context(), d, "a/b/c", "content", store.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	large, err := put(t.Context(), d, "large", strings.Repeat("x", 1<<20), store.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	leftover := filepath.Join(path, "incoming", "crashed")
	if err := os.WriteFile(leftover, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = reopen(t, d, path)
	if _, err := os.Stat(leftover); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	if after, err := d.Stat(t.Context(), "a/b/c"); err != nil || after.ETag != before.ETag {
		t.Errorf("after reopening: %+v, %v, want %+v", after, err, before)
	}
	if after, err := d.Stat(t.Context(), "large"); err != nil || after.ETag != large.ETag {
		t.Errorf("after reopening: %+v, %v, want %+v", after, err, large)
	}
	if _, err := put(t.Context(), d, "a/b/c", "more", store.IfMatch(before.ETag)); err != nil {
		t.Errorf("put on the ETag of before: %v", err)
	}
}

// What is refused, replaced or deleted leaves no file.
func TestDirLeavesNoFiles(t *testing.T) {
	path := t.TempDir()
	d := reopen(t, nil, path)
	large := strings.Repeat("x", 1<<20)
	for _, cond := range []store.Condition{{}, {}, store.IfAbsent(), store.IfMatch("other")} {
		_, _ = put(t.Context(), d, "key", large, cond) // the last two are refused
	}
	_, _ = d.Put(t.Context(), "key", strings.NewReader("short"), 1<<20, store.Condition{})
	if files := filesBelow(t, filepath.Join(path, "incoming")); len(files) > 0 {
		t.Errorf("files left: %v", files)
	}
	if files := filesBelow(t, filepath.Join(path, "blobs")); len(files) != 1 {
		t.Errorf("files of one object: %v", files)
	}
	if err := d.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if files := filesBelow(t, filepath.Join(path, "blobs")); len(files) > 0 {
		t.Errorf("files left: %v", files)
	}
}

// A key that is a folder of another cannot be stored beside it: what is there
// stays, and nobody is told that a condition failed.
func TestDirRefusesAKeyThatIsAFolder(t *testing.T) {
	d := openDir(t)
	for _, key := range []string{"file", "folder/key"} {
		if _, err := put(t.Context(), d, key, key, store.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"file/key", "folder"} {
		for _, cond := range []store.Condition{{}, store.IfAbsent()} {
			if _, err := put(t.Context(), d, key, "x", cond); err == nil || errors.Is(err, store.ErrPrecondition) {
				t.Errorf("put %s: %v, want it refused", key, err)
			}
		}
	}
	if list, err := d.List(t.Context(), "", "", 10); err != nil || len(list) != 2 {
		t.Errorf("listed %+v, %v, want the first two", list, err)
	}
}

func TestOpenDirFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenDir(filepath.Join(file, "data")); err == nil {
		t.Error("a directory was opened below a file")
	}
}

func TestDirIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d := reopen(t, nil, path)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), d, "key", "content", store.Condition{}); err == nil {
		t.Error("something was stored in a directory that is gone")
	}
	if err := store.New(d, nil).Ping(t.Context()); err == nil {
		t.Error("the bucket answers although its directory is gone")
	}
}

func FuzzDirKey(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "%2e%2e/x", "..\\x", "\xff", "é", "a\x00b", ".../x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		path := t.TempDir()
		d, err := store.OpenDir(filepath.Join(path, "data"))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := put(t.Context(), d, key, "content", store.IfAbsent()); err != nil {
			if list, err := d.List(t.Context(), "", "", 1); err != nil || len(list) > 0 {
				t.Errorf("a refused key: %+v, %v", list, err)
			}
			return
		}
		if list, err := d.List(t.Context(), key, "", 2); err != nil || len(list) != 1 || list[0].Key != key {
			t.Errorf("list %q: %+v, %v", key, list, err)
		}
		if r, _, err := d.Get(t.Context(), key, 0, -1); err != nil {
			t.Error(err)
		} else if data, err := io.ReadAll(r); err != nil || string(data) != "content" || r.Close() != nil {
			t.Errorf("get %q: %q, %v", key, data, err)
		}
	})
}

func filesBelow(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func BenchmarkDir(b *testing.B) {
	for _, size := range []int{1 << 10, 100_000, 600_000} {
		content := strings.Repeat("x", size)
		b.Run(fmt.Sprint("put-", size), func(b *testing.B) {
			d := benchmarkDir(b)
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				if _, err := put(b.Context(), d, fmt.Sprintf("media/%d/original", n), content, store.IfAbsent()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("get-", size), func(b *testing.B) {
			d := benchmarkDir(b)
			if _, err := put(b.Context(), d, "key", content, store.IfAbsent()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			for b.Loop() {
				r, _, err := d.Get(b.Context(), "key", 0, -1)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
	b.Run("put-parallel-100000", func(b *testing.B) {
		d := benchmarkDir(b)
		content := strings.Repeat("x", 100_000)
		b.SetBytes(int64(len(content)))
		b.SetParallelism(4)
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := put(b.Context(), d, fmt.Sprintf("media/%d/original", n.Add(1)), content, store.IfAbsent()); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("list-50-of-10000", func(b *testing.B) {
		path := b.TempDir()
		if err := os.Mkdir(filepath.Join(path, "objects"), 0o700); err != nil {
			b.Fatal(err)
		}
		for n := range 10_000 { // to be imported, which is faster than to store them
			if err := os.WriteFile(filepath.Join(path, "objects", fmt.Sprint(n)), nil, 0o600); err != nil {
				b.Fatal(err)
			}
		}
		d := reopen(b, nil, path)
		for b.Loop() {
			if _, err := d.List(b.Context(), "", "5", 50); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmarkDir(b *testing.B) *store.Dir {
	b.Helper()
	return reopen(b, nil, b.TempDir())
}

// reopen closes d, if there is one, and opens the directory path for the time of
// the test.
func reopen(t testing.TB, d *store.Dir, path string) *store.Dir {
	t.Helper()
	if d != nil {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d, err := store.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}
