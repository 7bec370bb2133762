package stream_test

import (
	"testing"

	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// ordered is the n-th of Jobs to be done in an order.
func ordered(t *testing.T, n int, order string) stream.Job {
	t.Helper()
	return stream.NewForward(ofSender(t, n, order), false)
}

// TestFirst: of the Jobs of one order only the oldest that is left is first; other
// orders, accounts and kinds do not matter.
func TestFirst(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	other := ordered(t, 5, "a")
	other.Account = account(t, 2)
	jobs := []stream.Job{job(t, 1), ordered(t, 1, "a"), ordered(t, 2, "a"), ordered(t, 3, "b"), ordered(t, 4, "a"), other}
	var deliveries []*stream.Delivery
	for _, j := range jobs {
		if _, err := s.PublishJob(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	for range jobs {
		deliveries = append(deliveries, next(t, s))
	}
	check := func(when string, want ...bool) {
		t.Helper()
		for i, d := range deliveries {
			if i == 0 {
				continue // it has no order
			}
			first, err := d.First(t.Context())
			sequence, err2 := s.First(t.Context(), jobs[i])
			if err != nil || err2 != nil || first != want[i-1] || (sequence == d.Sequence) != first || !first && sequence != 0 {
				t.Errorf("%s, job %d: first %v, sequence %d, %v, %v; want %v", when, i, first, sequence, err, err2, want[i-1])
			}
			if d.Job != jobs[i] {
				t.Errorf("job %+v, want %+v", d.Job, jobs[i])
			}
		}
	}
	check("all queued", true, false, true, false, true)
	if err := deliveries[1].Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("the first is done", false, true, true, false, true)
	if err := s.RemoveJob(t.Context(), deliveries[2].Sequence); err != nil {
		t.Fatal(err)
	}
	check("the second is removed", false, false, true, true, true)
	if err := s.RemoveJob(t.Context(), deliveries[2].Sequence); err != nil {
		t.Errorf("removed again: %v", err)
	}
}

// TestRemoveOrdered: Jobs with an order are seen by RemoveJobs like all others.
func TestRemoveOrdered(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	for _, j := range []stream.Job{job(t, 1), ordered(t, 1, "a"), ordered(t, 2, "b")} {
		if _, err := s.PublishJob(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	var seen []stream.Job
	if err := s.RemoveJobs(t.Context(), func(j stream.Job) (bool, error) {
		seen = append(seen, j)
		return j == ordered(t, 1, "a"), nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := state(t, s); got.Jobs != 2 || len(seen) != 3 {
		t.Errorf("%d jobs left of %v, want 2 of 3", got.Jobs, seen)
	}
}

// TestQueued tells of the Jobs that a message's media come from.
func TestQueued(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	if _, err := s.PublishJob(t.Context(), ordered(t, 2, "a")); err != nil {
		t.Fatal(err)
	}
	publish(t, s, 1)
	check := func(n int, want bool) {
		t.Helper()
		if got, err := s.Queued(t.Context(), account(t, 1), job(t, n).Message); err != nil || got != want {
			t.Errorf("message %d queued: %v, %v", n, got, err)
		}
	}
	check(1, true)
	check(2, false) // a webhook to be posted on brings no media
	check(3, false)
	first := job(t, 1).Message
	var done *stream.Delivery
	for done == nil || done.Message != first {
		done = next(t, s)
	}
	check(1, true) // in hand
	if err := done.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(1, false)
}
