package storetest

import (
	"os"
	"testing"

	"mmspipe/store"
)

// OpenDir returns an empty directory bucket of the test's. It is in memory where the
// system has room for files there, so that syncing costs nothing: for tests that call
// the bucket thousands of times and have nothing to do with disks.
func OpenDir(t testing.TB) *store.Dir {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mmspipe-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
