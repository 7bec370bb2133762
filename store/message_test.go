package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

// createFirst stores a message of alice's, with a failure.
func createFirst(ctx context.Context, b store.Bucket) error {
	_, _, err := store.New(b, secret).CreateMessage(ctx, text(1, alice, bob, 0))
	return errors.Join(err, change(failing)(ctx, b))
}

// createAll stores all messages: three of alice's, and one that is not.
func createAll(ctx context.Context, b store.Bucket) error {
	s := store.New(b, secret)
	for _, m := range []store.Message{
		text(2, bob, alice, time.Second), text(3, alice, alice, time.Minute), text(4, bob, carol, time.Hour),
	} {
		if _, _, err := s.CreateMessage(ctx, m); err != nil {
			return err
		}
	}
	return createFirst(ctx, b)
}

// change returns a job that updates the first message.
func change(to func(*store.Message) error) func(context.Context, store.Bucket) error {
	return func(ctx context.Context, b store.Bucket) error {
		_, err := store.New(b, secret).UpdateMessage(ctx, account, messageSID(1), to)
		return err
	}
}

// remove deletes the first message.
func remove(ctx context.Context, b store.Bucket) error {
	_, err := store.New(b, secret).DeleteMessage(ctx, account, messageSID(1), epoch)
	return err
}

// erase deletes all messages of alice's.
func erase(ctx context.Context, b store.Bucket) error {
	s := store.New(b, secret)
	for _, q := range []store.MessageQuery{{Account: account, From: alice}, {Account: account, To: alice}} {
		for entry, err := range s.Messages(ctx, q) {
			if err != nil {
				return err
			}
			if _, err := s.EraseMessage(ctx, entry, epoch); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseFirst leaves what a late worker finds.
func eraseFirst(ctx context.Context, b store.Bucket) error {
	return errors.Join(createFirst(ctx, b), erase(ctx, b))
}

// wantFound checks what is found of all messages, and of those with failures.
// Once all indexes were walked nothing stale is left that has no record to come.
func wantFound(all, failed []int) func(*testing.T, store.Bucket) {
	return func(t *testing.T, b store.Bucket) {
		t.Helper()
		s := store.New(b, secret)
		if got, _ := found(t, s, store.MessageQuery{}, -1); !slices.Equal(got, all) {
			t.Errorf("found %v, want %v", got, all)
		}
		if got, _ := found(t, s, store.MessageQuery{Failed: true}, -1); !slices.Equal(got, failed) {
			t.Errorf("with failures %v, want %v", got, failed)
		}
	}
}

// wantAsRecorded checks that the first message is found among those with
// failures if it has one.
func wantAsRecorded(t *testing.T, b store.Bucket) {
	t.Helper()
	m, err := store.New(b, secret).Message(t.Context(), account, messageSID(1))
	if err != nil {
		t.Fatal(err)
	}
	var failed []int
	if len(m.Failures) > 0 {
		failed = []int{1}
	}
	wantFound([]int{1}, failed)(t, b)
}

// wantErased checks that nothing says any more that alice was here, and that the
// messages of others are.
func wantErased(others ...int) func(*testing.T, store.Bucket) {
	return func(t *testing.T, b store.Bucket) {
		t.Helper()
		wantFound(others, nil)(t, b)
		s := store.New(b, secret)
		for _, o := range keysBelow(t, b, "") {
			r, _, err := b.Get(t.Context(), o, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if r.Close(); err != nil {
				t.Fatal(err)
			}
			for _, trace := range []string{alice, s.HashNumber(alice)} {
				if strings.Contains(o, trace) || strings.Contains(string(content), trace) {
					t.Errorf("%s is left: %s", o, content)
				}
			}
		}
		for _, number := range []string{bob, carol} {
			found(t, s, store.MessageQuery{From: number}, -1)
			found(t, s, store.MessageQuery{To: number}, -1)
		}
		if stale := storetest.AuditIndex(t, b, secret); stale != 0 {
			t.Errorf("%d stale entries after all were walked", stale)
		}
	}
}

func TestIndexOnDir(t *testing.T) {
	for name, scenario := range map[string]storetest.Scenario{
		"create":                {Job: createFirst, Check: wantFound([]int{1}, []int{1})},
		"create twice":          {Job: createFirst, Other: createFirst, Check: wantFound([]int{1}, []int{1})},
		"a failure, and none":   {Prepare: createFirst, Job: change(failing), Other: change(healed), Check: wantAsRecorded},
		"no failure":            {Prepare: createFirst, Job: change(healed), Check: wantFound([]int{1}, nil)},
		"no failure, and one":   {Prepare: createFirst, Job: change(healed), Other: change(failing), Check: wantAsRecorded},
		"delete":                {Prepare: createFirst, Job: remove, Other: change(failing), Check: wantFound(nil, nil)},
		"delete twice":          {Prepare: createFirst, Job: remove, Other: remove, Check: wantFound(nil, nil)},
		"erase":                 {Prepare: createAll, Job: erase, Check: wantErased(4)},
		"erase, and create":     {Prepare: createFirst, Job: erase, Other: createFirst, Check: wantErased()},
		"create what is erased": {Prepare: eraseFirst, Job: createFirst, Other: erase, Check: wantErased()},
	} {
		scenario.Open, scenario.Secret = openDir, secret
		t.Run(name, func(t *testing.T) { storetest.Sweep(t, scenario) })
	}
}

func TestIndexOnMinIO(t *testing.T) {
	open := emptier(minioOpener(t)(t))
	storetest.Sweep(t, storetest.Scenario{Open: open, Secret: secret, Prepare: createFirst, Job: erase, Check: wantErased()})
}

// A message that fails and heals in many places at once is found among the
// failed ones if, in the end, it failed.
func TestFailuresRace(t *testing.T) {
	b := openDir(t)
	s := store.New(b, secret)
	create(t, s, text(1, alice, bob, 0))
	for range 5 {
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() {
				medium := sid(store.ParseMediaSID(fmt.Sprintf("ME%032x", i)))
				fail := func(m *store.Message) error {
					if m.Failures == nil {
						m.Failures = map[store.MediaSID]store.Failure{}
					}
					m.Failures[medium] = store.Failure{Index: i}
					return nil
				}
				heal := func(m *store.Message) error {
					delete(m.Failures, medium)
					return nil
				}
				for _, change := range []func(*store.Message) error{fail, heal, fail, heal}[:3+i%2] {
					if _, err := s.UpdateMessage(t.Context(), account, messageSID(1), change); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		if stale := storetest.AuditIndex(t, b, secret); stale != 0 {
			t.Errorf("%d stale entries", stale)
		}
		update(t, s, 1, healed)
		if stale := storetest.AuditIndex(t, b, secret); stale != 0 {
			t.Errorf("%d stale entries of a message without failures", stale)
		}
	}
}

func TestUpdateMessageKeepsWhatItIsFoundBy(t *testing.T) {
	s := newStore(t)
	create(t, s, text(1, alice, bob, 0))
	m, err := s.UpdateMessage(t.Context(), account, messageSID(1), func(m *store.Message) error {
		*m = store.Message{Body: "changed", From: carol, To: carol, FailedEntry: "x"}
		return nil
	})
	if err != nil || m.Body != "changed" || m.From != alice || m.To != bob || !m.DateCreated.Equal(epoch) || m.FailedEntry != "" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestDeleteMessage(t *testing.T) {
	d, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s := store.New(d, secret)
	if _, err := s.DeleteMessage(t.Context(), account, messageSID(1), epoch); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("delete an absent message: %v, want ErrNotFound", err)
	}
	m := text(1, alice, bob, 0)
	m.NumMedia, m.Status, m.Fingerprint, m.Form = 3, "received", "f1ngerpr1nt", map[string][]string{"Body": {"hello"}, "FromCity": {"SEATTLE"}}
	create(t, s, m)
	for _, announced := range []uint64{9, 7, 9, 0} {
		update(t, s, 1, func(m *store.Message) error {
			m.Announced, m.Events = 5, append(m.Events, 8)
			other := sid(store.ParseMediaSID(fmt.Sprintf("ME%032x", len(m.Failures))))
			if m.Failures == nil {
				m.Failures = map[store.MediaSID]store.Failure{}
			}
			m.Failures[other] = store.Failure{Detail: "of " + alice, Announced: announced}
			return nil
		})
	}
	at := epoch.Add(time.Hour)
	first, err := s.DeleteMessage(t.Context(), account, messageSID(1), at)
	if err != nil || !first.Deleted.Equal(at) || first.Announced != 5 || !slices.Equal(first.Events, []uint64{7, 8, 9}) ||
		first.NumMedia != 3 || first.Direction != store.Inbound || !first.DateCreated.Equal(epoch) {
		t.Errorf("the tombstone is %+v, %v", first, err)
	}
	again, err := s.DeleteMessage(t.Context(), account, messageSID(1), at.Add(time.Hour))
	if err != nil || again.Revision != first.Revision {
		t.Errorf("deleted again: %+v, %v, want %+v", again, err, first)
	}
	// A late worker.
	update(t, s, 1, failing)
	update(t, s, 1, func(m *store.Message) error {
		m.Deleted, m.Body, m.Announced = time.Time{}, "hello", 6
		return nil
	})
	late, created, err := s.CreateMessage(t.Context(), m)
	if err != nil || created || !late.Deleted.Equal(at) || late.Announced != 6 {
		t.Errorf("created again: %+v, %v, %v, want the tombstone", late, created, err)
	}
	if left := keysBelow(t, d, "index"); len(left) > 0 {
		t.Errorf("the index still holds %q", left)
	}
	r, _, err := d.Get(t.Context(), keysBelow(t, d, "message")[0], 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	record, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{alice, bob, "hello", "SEATTLE", "f1ngerpr1nt", s.HashNumber(alice), s.HashNumber(bob), "status", "received"} {
		if strings.Contains(strings.ReplaceAll(string(record), `"status":""`, ""), trace) {
			t.Errorf("the tombstone still says %s: %s", trace, record)
		}
	}
}
