package resize_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"mmspipe/resize"
)

// order fits pictures that all wait behind one that holds the memory, and returns
// the order in which they were let in.
func order(t *testing.T, memory int64, held []byte, waiting ...[]byte) (let []int) {
	t.Helper()
	target := resize.Target{MaxBytes: 20_000, MaxWidth: 30, Types: carrierTypes}
	synctest.Test(t, func(t *testing.T) {
		f := resize.New(resize.Options{Memory: memory})
		first := &gate{Context: t.Context(), release: make(chan struct{})}
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := f.Fit(first, held, target); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		var mu sync.Mutex
		for i, data := range waiting {
			all.Go(func() {
				ctx := &entered{Context: t.Context(), note: func() {
					mu.Lock()
					defer mu.Unlock()
					if !slices.Contains(let, i) {
						let = append(let, i)
					}
				}}
				if _, err := f.Fit(ctx, data, target); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // so that they wait in this order
		}
		close(first.release)
		all.Wait()
	})
	return let
}

// entered is a context that notes when it is asked for the first time after
// whoever has it waited for memory.
type entered struct {
	context.Context
	waited bool
	note   func()
}

func (e *entered) Done() <-chan struct{} {
	e.waited = true
	return e.Context.Done()
}

func (e *entered) Err() error {
	if e.waited {
		e.note()
	}
	return e.Context.Err()
}

// Pictures that take long wait until those that do not are through, also those
// that came later; among themselves both keep their order.
func TestFitLetsQuickPicturesOvertakeSlowOnes(t *testing.T) {
	// What it declares is 65 MB; that little of it is there costs the test less.
	slow := pngOf(9000, 900, 16, 6, 0, zeros(100*(1+9000*8)))
	quick := kinds["bmp"](60, 40)
	target := resize.Target{MaxBytes: 20_000, MaxWidth: 30, Types: carrierTypes}
	need := memoryOf(t, slow, target)
	got := order(t, need, slow, slow, quick, slow, quick, quick)
	slices.Sort(got[:3]) // all three at once
	if want := []int{1, 3, 4, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("they are let in as %v, want %v", got, want)
	}
}
