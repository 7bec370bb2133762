package stream_test

import (
	"slices"
	"sync"
	"testing"

	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// TestQuery: an account sees its own events alone, and a type that is asked for
// twice counts once.
func TestQuery(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	for n := range 6 {
		e := fact(t, n)
		e.Account = account(t, 1+n%2)
		if n >= 4 {
			e.Type = stream.EventFailed
		}
		if _, err := s.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	stored := []string{stream.EventStored}
	for _, c := range []struct {
		name  string
		query stream.Query
		limit int
		want  []uint64
	}{
		{"all accounts", stream.Query{}, 10, []uint64{1, 2, 3, 4, 5, 6}},
		{"one account", stream.Query{Account: account(t, 2)}, 10, []uint64{2, 4, 6}},
		{"one account and type", stream.Query{Account: account(t, 2), Types: stored}, 10, []uint64{2, 4}},
		{"a type twice", stream.Query{Types: slices.Repeat(stored, 2)}, 10, []uint64{1, 2, 3, 4}},
		{"another account", stream.Query{Account: account(t, 3)}, 10, nil},
		{"a page", stream.Query{Account: account(t, 1)}, 2, []uint64{1, 3}},
		{"the page after", stream.Query{Account: account(t, 1), After: 3}, 2, []uint64{5}},
		{"nothing after", stream.Query{After: 6}, 10, nil},
	} {
		entries, err := s.Events(t.Context(), c.query, c.limit)
		var got []uint64
		for _, e := range entries {
			got = append(got, e.Sequence)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

// TestFollowResumed: a reader that breaks off again and again while events are
// published sees each once.
func TestFollowResumed(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	const n = 300
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range n {
			if _, err := s.Publish(t.Context(), fact(t, i)); err != nil {
				t.Error(err)
			}
		}
	})
	defer publishing.Wait() // an event may be read before its publication is acknowledged
	last := uint64(0)
	for last < n {
		read := 0
		for entry, err := range s.Follow(t.Context(), stream.Query{After: last}) {
			if err != nil {
				t.Fatal(err)
			}
			if entry.Sequence != last+1 {
				t.Fatalf("event %d after %d", entry.Sequence, last)
			}
			last = entry.Sequence
			if read++; read == 7 || last == n {
				break
			}
		}
	}
}
