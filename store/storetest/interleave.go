package storetest

import (
	"context"
	"testing"

	"mmspipe/store"
)

// Interleave runs two jobs over a bucket so that each is in the middle when the other one
// changes something: the first up to its call at, then the second up to its call half, then
// the first to its end, then the second. One with fewer calls is run in one piece. It returns how many calls each made, and fails t
// where one returns an error.
func Interleave(t *testing.T, b store.Bucket, first, second func(context.Context, store.Bucket) error, at, half int) (calls, secondCalls int) {
	t.Helper()
	halfway, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	inner := &Faulty{Bucket: b, Before: func(call int) {
		if call == half {
			close(halfway)
			<-goOn
		}
	}}
	begun := false
	outer := &Faulty{Bucket: b, Before: func(call int) {
		if call != at {
			return
		}
		begun = true
		go func() { ended <- second(t.Context(), inner) }()
		select {
		case <-halfway:
		case err := <-ended: // it has fewer calls
			ended <- err
		}
	}}
	if err := first(t.Context(), outer); err != nil {
		t.Errorf("the first job, interrupted at call %d: %v", at, err)
	}
	close(goOn)
	if !begun {
		ended <- second(t.Context(), inner)
	}
	if err := <-ended; err != nil {
		t.Errorf("the second job, interrupted at call %d: %v", half, err)
	}
	return outer.Calls(), inner.Calls()
}
