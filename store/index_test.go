package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

const (
	alice = "+14017122661"
	bob   = "+15017122662"
	carol = "+16017122663"
)

var (
	secret = []byte("secret")
	epoch  = time.Date(2024, 2, 28, 23, 59, 59, 500, time.UTC)
)

func messageSID(n int) store.MessageSID {
	return sid(store.ParseMessageSID(fmt.Sprintf("MM%032x", n)))
}

// text is message number n, sent after so much time.
func text(n int, from, to string, after time.Duration) store.Message {
	return store.Message{
		Account: account, SID: messageSID(n), Direction: store.Inbound, From: from, To: to,
		Body: "hello", DateCreated: epoch.Add(after), DateUpdated: epoch.Add(after),
	}
}

func create(t testing.TB, s *store.Store, m store.Message) {
	t.Helper()
	if _, _, err := s.CreateMessage(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func failing(m *store.Message) error {
	m.Failures = map[store.MediaSID]store.Failure{media: {Reason: "status", Detail: "of " + m.From, Announced: 7}}
	return nil
}

func healed(m *store.Message) error {
	m.Failures = nil
	return nil
}

func update(t testing.TB, s *store.Store, n int, change func(*store.Message) error) {
	t.Helper()
	if _, err := s.UpdateMessage(t.Context(), account, messageSID(n), change); err != nil {
		t.Fatal(err)
	}
}

// found returns the numbers of at most limit messages that q yields, and the
// position of the last.
func found(t testing.TB, s *store.Store, q store.MessageQuery, limit int) (numbers []int, position string) {
	t.Helper()
	q.Account = account
	for entry, err := range s.Messages(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseInt(entry.Message.SID.String()[2:], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers, position = append(numbers, int(n)), entry.Position
		if len(numbers) == limit {
			break
		}
	}
	return numbers, position
}

func keysBelow(t testing.TB, b store.Bucket, prefix string) (keys []string) {
	t.Helper()
	objects, err := b.List(t.Context(), prefix, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func TestMessagesOnDir(t *testing.T) { testMessages(t, openDir(t)) }

func TestMessagesOnMinIO(t *testing.T) { testMessages(t, minioOpener(t)(t)) }

func testMessages(t *testing.T, b store.Bucket) {
	s := store.New(b, secret)
	const day = 24 * time.Hour
	for _, m := range []store.Message{
		text(1, alice, bob, 0),
		text(2, bob, alice, time.Second), // the next day in UTC
		text(3, alice, carol, 2*time.Second),
		text(4, alice, alice, 3*time.Second),
		text(5, alice, bob, 3*time.Second), // at the same time
		text(6, alice, bob, 400*day),
		text(7, carol, bob, -20000*day), // 1969
		text(8, carol, bob, 401*day),
	} {
		create(t, s, m)
	}
	for _, n := range []int{1, 3, 6} {
		update(t, s, n, failing)
	}
	update(t, s, 3, healed)
	update(t, s, 1, healed)
	update(t, s, 1, failing)
	if _, err := s.DeleteMessage(t.Context(), account, messageSID(8), epoch); err != nil {
		t.Fatal(err)
	}
	other := sid(store.ParseAccountSID("AC" + strings.Repeat("f", 32)))
	create(t, s, store.Message{Account: other, SID: messageSID(9), From: alice, DateCreated: epoch})
	if stale := storetest.AuditIndex(t, b, secret); stale != 0 {
		t.Errorf("%d stale entries", stale)
	}

	for name, c := range map[string]struct {
		query store.MessageQuery
		want  []int
	}{
		"all":                {store.MessageQuery{}, []int{6, 4, 5, 3, 2, 1, 7}},
		"from":               {store.MessageQuery{From: alice}, []int{6, 4, 5, 3, 1}},
		"to":                 {store.MessageQuery{To: bob}, []int{6, 5, 1, 7}},
		"from and to":        {store.MessageQuery{From: alice, To: bob}, []int{6, 5, 1}},
		"nobody":             {store.MessageQuery{From: "+1"}, nil},
		"failed":             {store.MessageQuery{Failed: true}, []int{6, 1}},
		"failed from":        {store.MessageQuery{Failed: true, From: alice}, []int{6, 1}},
		"failed to":          {store.MessageQuery{Failed: true, To: alice}, nil},
		"since":              {store.MessageQuery{Since: epoch.Add(3 * time.Second)}, []int{6, 4, 5}},
		"before":             {store.MessageQuery{Before: epoch.Add(3 * time.Second)}, []int{3, 2, 1, 7}},
		"one nanosecond":     {store.MessageQuery{Since: epoch, Before: epoch.Add(1)}, []int{1}},
		"an empty interval":  {store.MessageQuery{Since: epoch.Add(1), Before: epoch.Add(1)}, nil},
		"since from":         {store.MessageQuery{From: alice, Since: epoch.Add(1)}, []int{6, 4, 5, 3}},
		"before failed":      {store.MessageQuery{Failed: true, Before: epoch.Add(day)}, []int{1}},
		"after all of them":  {store.MessageQuery{Since: epoch.Add(500 * day)}, nil},
		"before all of them": {store.MessageQuery{Before: epoch.Add(-30000 * day)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := found(t, s, c.query, -1); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
			for size := 1; size <= len(c.want); size++ {
				var got []int
				q := c.query
				for range len(c.want) + 1 {
					page, position := found(t, s, q, size)
					got = append(got, page...)
					if len(page) == 0 {
						break
					}
					q.After = position
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("in pages of %d: %v, want %v", size, got, c.want)
				}
			}
		})
	}
}

// What was stored once must be found again by every later version.
func TestIndexKeys(t *testing.T) {
	b := openDir(t)
	s := store.New(b, secret)
	create(t, s, text(1, alice, bob, 0))
	update(t, s, 1, failing)
	m, err := s.Message(t.Context(), account, messageSID(1))
	if err != nil || m.FailedEntry == "" {
		t.Fatal(m, err)
	}
	const moment = "086970/7514207237854775307"
	root, end := "index/"+account.String()+"/", moment+"-"+messageSID(1).String()
	want := []string{
		root + "failed/" + end + "-" + m.FailedEntry,
		root + "from/" + s.HashNumber(alice) + "/" + end,
		root + "time/" + end,
		root + "to/" + s.HashNumber(bob) + "/" + end,
	}
	if got := keysBelow(t, b, "index"); !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
}

// A thousand pages further on, a page of 50 costs what the first does.
func TestMessagesCostWhatTheyYield(t *testing.T) {
	const messages, page = 10_000, 50
	path := t.TempDir()
	for n := range messages { // in files that Dir imports, which is faster than to store them
		writeMessage(t, path, text(n, alice, bob, -time.Duration(n)*5*time.Minute))
	}
	d, err := store.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	faulty := &storetest.Faulty{Bucket: d}
	s := store.New(faulty, secret)
	middle := epoch.Add(-messages / 2 * 5 * time.Minute)
	_, end := found(t, s, store.MessageQuery{Before: epoch.Add(-(messages - page - 1) * 5 * time.Minute)}, 1)
	for name, c := range map[string]struct {
		query store.MessageQuery
		first int
	}{
		"the first":      {store.MessageQuery{}, 0},
		"in the middle":  {store.MessageQuery{Before: middle}, messages/2 + 1},
		"the last":       {store.MessageQuery{After: end}, messages - page + 1},
		"of one number":  {store.MessageQuery{From: alice, Before: middle}, messages/2 + 1},
		"of two numbers": {store.MessageQuery{From: alice, To: bob}, 0},
	} {
		before := faulty.Calls()
		got, _ := found(t, s, c.query, page)
		if len(got) < page-1 || got[0] != c.first || got[len(got)-1] != c.first+len(got)-1 {
			t.Errorf("%s: %d messages, %v", name, len(got), got)
		}
		if calls := faulty.Calls() - before; calls > page+2 {
			t.Errorf("%s: a page of %d costs %d calls", name, page, calls)
		}
	}
}

// A message that fails again while it is met, at the end of a listing's page, has
// another entry on the next one.
func TestMessagesMeetsEachOnce(t *testing.T) {
	const messages = 100 // a page of a listing
	s := newStore(t)
	for n := range messages {
		m := text(n, alice, bob, -time.Duration(n)*time.Second)
		if err := failing(&m); err != nil {
			t.Fatal(err)
		}
		create(t, s, m)
	}
	met := 0
	for entry, err := range s.Messages(t.Context(), store.MessageQuery{Account: account, Failed: true}) {
		if err != nil {
			t.Fatal(err)
		}
		met++
		for renewed := entry.Message; met == messages && renewed.FailedEntry <= entry.Message.FailedEntry; {
			update(t, s, messages-1, healed)
			update(t, s, messages-1, failing)
			if renewed, err = s.Message(t.Context(), account, entry.Message.SID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if met != messages {
		t.Errorf("met %d messages, want %d", met, messages)
	}
}

// writeMessage puts files where Dir kept a message and its entries, from where it
// imports them.
func writeMessage(t testing.TB, path string, m store.Message) {
	t.Helper()
	s := store.New(nil, secret)
	record, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	countdown := int64(1<<63-1) - m.DateCreated.UnixNano()
	end := fmt.Sprintf("%06d/%019d-%s", 106751-m.DateCreated.UnixNano()/int64(day), countdown, m.SID)
	index := "index/" + account.String() + "/"
	for key, content := range map[string][]byte{
		"message/" + account.String() + "/" + m.SID.String() + ".json": record,
		index + "time/" + end:                              nil,
		index + "from/" + s.HashNumber(m.From) + "/" + end: nil,
	} {
		file := filepath.Join(path, "objects", key)
		err := os.WriteFile(file, content, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			err = errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// aging is a bucket in which some objects are listed as older than they are.
type aging struct {
	store.Bucket
	ages map[string]time.Duration
}

func (a aging) List(ctx context.Context, prefix, after string, limit int) ([]store.Object, error) {
	objects, err := a.Bucket.List(ctx, prefix, after, limit)
	for i, o := range objects {
		objects[i].Modified = o.Modified.Add(-a.ages[o.Key])
	}
	return objects, err
}

// Entries without their record are as old as a writer that was stopped, or as
// young as one that is at work.
func TestMessagesSkipStaleEntries(t *testing.T) {
	opened, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	d := aging{opened, make(map[string]time.Duration)}
	s := store.New(d, secret)
	create(t, s, text(1, alice, bob, 0))
	create(t, s, text(2, alice, bob, time.Second))
	create(t, s, text(3, alice, bob, 2*time.Second))
	sound := keysBelow(t, d, "index")
	deleted := keysBelow(t, d, "index/"+account.String()+"/from")[0] // of 3, the newest
	if _, err := s.DeleteMessage(t.Context(), account, messageSID(3), epoch); err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(sound, func(key string) bool { return strings.HasSuffix(key, messageSID(3).String()) })

	root, absent := "index/"+account.String()+"/", "086970/7514207237854775300-"
	foreign := root + "time/086970/README"
	stale := []string{
		root + "from/" + s.HashNumber(alice) + "/" + absent + messageSID(4).String(), // no record
		root + "time/" + absent + messageSID(1).String(),                             // another time
		strings.Replace(left[0], s.HashNumber(alice), s.HashNumber(carol), 1),        // another number
		root + "failed/" + absent + messageSID(2).String() + "-NAME",                 // no failure
	}
	for _, key := range slices.Concat(stale, []string{deleted, foreign}) {
		if _, err := put(t.Context(), d, key, "", store.IfAbsent()); err != nil {
			t.Fatal(err)
		}
	}
	walk := func() {
		t.Helper()
		for _, q := range []store.MessageQuery{{}, {From: alice}, {To: bob}, {From: carol}, {Failed: true}} {
			want := []int{2, 1}
			if q.Failed || q.From == carol {
				want = nil
			}
			if got, _ := found(t, s, q, -1); !slices.Equal(got, want) {
				t.Errorf("%+v: found %v, want %v", q, got, want)
			}
		}
	}
	walk()
	want := slices.Sorted(slices.Values(slices.Concat(left, stale, []string{foreign})))
	if got := keysBelow(t, d, "index"); !slices.Equal(got, want) {
		t.Errorf("after a walk: %q, want all but the entry of a tombstone, %q", got, want)
	}
	for _, key := range append(stale, foreign) {
		d.ages[key] = 25 * time.Hour
	}
	walk()
	want = slices.Sorted(slices.Values(append(left, foreign)))
	if got := keysBelow(t, d, "index"); !slices.Equal(got, want) {
		t.Errorf("after a walk a day later: %q, want %q", got, want)
	}
}

func FuzzPosition(f *testing.F) {
	d, err := store.OpenDir(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	s := store.New(d, secret)
	if _, _, err := s.CreateMessage(context.Background(), text(1, alice, bob, 0)); err != nil {
		f.Fatal(err)
	}
	own := "7514207237854775307" + messageSID(1).String()
	for _, seed := range []string{own, "0", own + "0", "9" + own[1:], "-" + own[1:], "0000000000000000000" + own[19:], own[:19], "../" + own, "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, position string) {
		got, failed := 0, false
		for _, err := range s.Messages(t.Context(), store.MessageQuery{Account: account, After: position}) {
			if failed = err != nil; failed && !errors.Is(err, store.ErrPosition) {
				t.Fatal(err)
			}
			got++
		}
		well := len(position) == len(own) && strings.Trim(position[:19], "0123456789") == "" && position[:19] <= "9223372036854775807"
		if well {
			_, err := store.ParseMessageSID(position[19:])
			well = err == nil
		}
		if position != "" && failed == well || !failed && (got == 1) != (position < own) {
			t.Errorf("after %q: %d messages, failed: %v", position, got, failed)
		}
	})
}

// BenchmarkCreateMessage makes messages from ever other numbers to one.
func BenchmarkCreateMessage(b *testing.B) {
	s := store.New(benchmarkDir(b), []byte("secret"))
	created := time.Unix(1.7e9, 0)
	for n := 0; b.Loop(); n++ {
		m := store.Message{
			Account: account, SID: sid(store.ParseMessageSID(fmt.Sprintf("MM%032x", n))),
			From: fmt.Sprintf("+1401%07d", n), To: "+15017122661", DateCreated: created.Add(time.Duration(n) * time.Second),
		}
		if _, _, err := s.CreateMessage(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
