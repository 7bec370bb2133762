package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"mmspipe/store"
)

// Scenario is what [Sweep] runs. All functions but Open get buckets over the
// same objects.
type Scenario struct {
	// Open returns an empty bucket.
	Open func(t *testing.T) store.Bucket
	// Secret is that of the Stores over it.
	Secret []byte
	// Prepare, if not nil, stores what is there before the job begins.
	Prepare func(ctx context.Context, b store.Bucket) error
	// Job is what is interrupted. It is run again, as a queue would, until it
	// returns nil.
	Job func(ctx context.Context, b store.Bucket) error
	// Other, if not nil, is run to its end in front of one call of Job, or after
	// Job: a second worker with the same job, or a deletion. It, too, is run
	// again if it fails.
	Other func(ctx context.Context, b store.Bucket) error
	// Check looks at the bucket when all is done, after an [Audit] that found
	// no orphans.
	Check func(t *testing.T, b store.Bucket)
}

// Sweep runs the scenario's job undisturbed, then once for each of its calls of
// the bucket and each disturbance there: the process dies before or after the
// effect of the call, Other is run in front of the call, or both. The bucket is
// audited after each death and each Other, and at the end.
func Sweep(t *testing.T, s Scenario) {
	t.Helper()
	disturbances := []disturbance{{die: true}, {die: true, after: true}}
	if s.Other != nil {
		disturbances = append(disturbances,
			disturbance{other: true}, disturbance{other: true, die: true}, disturbance{other: true, die: true, after: true})
	}
	calls := s.run(t, disturbance{})
	if calls == 0 {
		t.Fatal("the job makes no calls")
	}
	for k := 1; k <= calls; k++ {
		for _, d := range disturbances {
			d.call = k
			t.Run(d.String(), func(t *testing.T) { s.run(t, d) })
		}
	}
}

// disturbance is what happens to the first run of a job, at one of its calls.
type disturbance struct {
	call              int // 0 is none
	other, die, after bool
}

func (d disturbance) String() string {
	name := fmt.Sprintf("call-%d", d.call)
	if d.other {
		name += "-other"
	}
	switch {
	case d.after:
		name += "-die-after"
	case d.die:
		name += "-die-before"
	}
	return name
}

// run plays the scenario once and returns how many calls the first run of the
// job made.
func (s Scenario) run(t *testing.T, d disturbance) (calls int) {
	t.Helper()
	b := s.Open(t)
	if s.Prepare != nil {
		if err := s.Prepare(t.Context(), b); err != nil {
			t.Fatalf("prepare: %v", err)
		}
	}
	faulty := &Faulty{Bucket: b, After: d.after}
	if d.die {
		faulty.At = d.call
	}
	met := false // Other was run
	faulty.Before = func(call int) {
		if d.other && call == d.call {
			met = true
			untilDone(t, "other", b, s.Other)
			s.audit(t, b)
		}
	}
	err := s.Job(t.Context(), faulty)
	if d.die && faulty.Calls() >= d.call && !errors.Is(err, ErrFault) {
		t.Errorf("the job returns %v although the bucket failed", err)
	}
	s.audit(t, b)
	if err != nil {
		untilDone(t, "job", b, s.Job)
	}
	if s.Other != nil && !met {
		untilDone(t, "other", b, s.Other)
	}
	if orphans := s.audit(t, b); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
	s.Check(t, b)
	return faulty.Calls()
}

// audit is [Audit], and [AuditIndex] but for stale entries.
func (s Scenario) audit(t *testing.T, b store.Bucket) (orphans []string) {
	t.Helper()
	AuditIndex(t, b, s.Secret)
	return Audit(t, b)
}

// untilDone runs a job as often as a queue would deliver it.
func untilDone(t *testing.T, name string, b store.Bucket, job func(context.Context, store.Bucket) error) {
	t.Helper()
	const deliveries = 5
	var err error
	for range deliveries {
		if err = job(t.Context(), b); err == nil {
			return
		}
	}
	t.Errorf("%s still fails after %d deliveries: %v", name, deliveries, err)
}
