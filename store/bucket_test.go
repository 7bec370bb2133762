package store_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

func openDir(t *testing.T) store.Bucket { return storetest.OpenDir(t) }

// minioOpener returns a function that opens a fresh bucket of one server.
func minioOpener(t *testing.T) func(*testing.T) store.Bucket {
	t.Helper()
	o := storetest.StartMinIO(t)
	return func(t *testing.T) store.Bucket {
		t.Helper()
		fresh := o
		fresh.Bucket = "test-" + strings.ToLower(rand.Text())
		m, err := store.OpenMinIO(t.Context(), fresh)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func TestDirIsBucket(t *testing.T) { storetest.TestBucket(t, openDir) }

func TestMinIOIsBucket(t *testing.T) { storetest.TestBucket(t, minioOpener(t)) }
