package resize

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

const (
	// slowWork is from which estimated work on a picture is slow, in nanoseconds of
	// CPU: a photograph of a phone takes a third of it, a file that was made to take
	// long ten times as much.
	slowWork = 500_000_000
	// patience is how many pictures may overtake one that is slow.
	patience = 100
)

// admission lets pictures in, within a bound on memory, and quick ones before slow
// ones: whoever sends pictures that were made to take long holds up others like
// them, not everybody's. Slow ones leave a core and an eighth of the memory to the
// quick ones.
type admission struct {
	memory int64
	cores  int // for slow ones

	mu      sync.Mutex
	used    int64
	slow    int   // that are in
	slowUse int64 // bytes
	waiting []*waiter
}

// waiter is a picture that waits.
type waiter struct {
	need     int64
	slow     bool
	overtook int // pictures that overtook it
	in       chan struct{}
}

func newAdmission(memory int64) *admission {
	return &admission{memory: memory, cores: max(1, runtime.GOMAXPROCS(0)-1)}
}

// acquire waits until there is room. The error is the context's.
func (a *admission) acquire(ctx context.Context, need int64, slow bool) (release func(), err error) {
	w := &waiter{need: need, slow: slow, in: make(chan struct{})}
	a.mu.Lock()
	a.waiting = append(a.waiting, w)
	a.admit()
	a.mu.Unlock()
	release = func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.leave(w)
	}
	select {
	case <-w.in:
		return release, nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := slices.Index(a.waiting, w); at >= 0 {
		a.waiting = slices.Delete(a.waiting, at, at+1)
		a.admit() // it may have been what others waited behind
	} else {
		a.leave(w)
	}
	return nil, ctx.Err()
}

// leave gives back what a picture took.
func (a *admission) leave(w *waiter) {
	a.used -= w.need
	if w.slow {
		a.slow--
		a.slowUse -= w.need
	}
	a.admit()
}

// admit lets in who can: the quick in their order, then the slow in theirs. In
// each of the two, nobody overtakes who waits for more memory.
func (a *admission) admit() {
	for {
		w := a.next()
		if w == nil {
			return
		}
		a.waiting = slices.DeleteFunc(a.waiting, func(other *waiter) bool { return other == w })
		a.used += w.need
		if w.slow {
			a.slow++
			a.slowUse += w.need
		}
		close(w.in)
	}
}

// next returns who is let in next, nil if nobody can be.
func (a *admission) next() *waiter {
	var quick, slow *waiter
	for _, w := range a.waiting {
		switch {
		case w.slow && slow == nil:
			slow = w
		case !w.slow && quick == nil:
			quick = w
		}
	}
	if slow != nil && (quick == nil || slow.overtook >= patience) {
		if a.hasRoom(slow) {
			return slow
		}
		if quick == nil || a.slow == 0 { // the quick have to let it in at last
			return nil
		}
	}
	if quick == nil || !a.hasRoom(quick) {
		return nil
	}
	if slow != nil {
		slow.overtook++
	}
	return quick
}

func (a *admission) hasRoom(w *waiter) bool {
	if a.used+w.need > a.memory {
		return false
	}
	return !w.slow || a.slow == 0 || a.slow < a.cores && a.slowUse+w.need <= a.memory-a.memory/8
}
