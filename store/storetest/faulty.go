package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"mmspipe/store"
)

// ErrFault is what a [Faulty] bucket fails with.
var ErrFault = errors.New("injected fault")

// Faulty wraps a bucket and makes its calls fail. Calls are counted from 1, in
// the order in which they come. The zero value but for Bucket never fails.
type Faulty struct {
	store.Bucket
	// At is the call that fails with [ErrFault]; 0 is none. All later ones fail
	// as well and have no effect: the process died, or the store is away.
	At int
	// After makes call At fail once its effect is there: only the answer is
	// lost. Otherwise it has no effect.
	After bool
	// Before, if it is not nil, runs in front of each call with its number.
	Before func(call int)

	mu    sync.Mutex
	calls int
}

// Calls is the number of calls so far.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// call counts a call and returns the fault before and the one after its effect.
func (f *Faulty) call() (before, after error) {
	f.mu.Lock()
	f.calls++
	n := f.calls
	f.mu.Unlock()
	if f.Before != nil {
		f.Before(n)
	}
	fault := fmt.Errorf("call %d: %w", n, ErrFault)
	switch {
	case f.At == 0 || n < f.At:
		return nil, nil
	case n == f.At && f.After:
		return nil, fault
	default:
		return fault, nil
	}
}

// Put is [store.Bucket]'s. When it fails without effect, half of r was read.
func (f *Faulty) Put(ctx context.Context, key string, r io.Reader, size int64, cond store.Condition) (store.Object, error) {
	before, after := f.call()
	if before != nil {
		_, err := io.CopyN(io.Discard, r, size/2)
		return store.Object{}, errors.Join(before, err)
	}
	o, err := f.Bucket.Put(ctx, key, r, size, cond)
	if err == nil && after != nil {
		return store.Object{}, after
	}
	return o, err
}

// Get is [store.Bucket]'s.
func (f *Faulty) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, store.Object, error) {
	before, after := f.call()
	if err := errors.Join(before, after); err != nil {
		return nil, store.Object{}, err
	}
	return f.Bucket.Get(ctx, key, offset, length)
}

// Stat is [store.Bucket]'s.
func (f *Faulty) Stat(ctx context.Context, key string) (store.Object, error) {
	before, after := f.call()
	if err := errors.Join(before, after); err != nil {
		return store.Object{}, err
	}
	return f.Bucket.Stat(ctx, key)
}

// Delete is [store.Bucket]'s.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	before, after := f.call()
	if before != nil {
		return before
	}
	return errors.Join(f.Bucket.Delete(ctx, key), after)
}

// List is [store.Bucket]'s.
func (f *Faulty) List(ctx context.Context, prefix, after string, limit int) ([]store.Object, error) {
	before, late := f.call()
	if err := errors.Join(before, late); err != nil {
		return nil, err
	}
	return f.Bucket.List(ctx, prefix, after, limit)
}
