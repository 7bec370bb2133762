package storetest

import (
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
}{}
