package store

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"time"
)

// ErrPosition is wrapped by the error of a query whose After is no position of
// an entry.
var ErrPosition = errors.New("malformed position")

// MessageQuery says which messages of an account are asked for. Zero values ask
// for all of them.
type MessageQuery struct {
	Account AccountSID
	From    string // number of the sender
	To      string // number of the recipient
	Failed  bool   // only those of which something was given up

	Since  time.Time // DateCreated is not before Since
	Before time.Time // DateCreated is before Before

	// After is the Position of an entry: only what comes behind it.
	After string
}

// MessageEntry is a message and where it was found.
type MessageEntry struct {
	Message  Message
	Position string // letters and digits, for MessageQuery.After; opaque, 53 bytes

	key string // of the entry
}

// indexPage is how many entries are listed at once: enough for a page of 50
// messages, as an API returns them, in spite of some that are stale.
const indexPage = 100

// staleAge is how long an entry may wait for its record. A write takes seconds
// from the one to the other, and the jobs that begin it again are given up
// within a day.
const staleAge = 24 * time.Hour

// Messages yields the visible messages that q asks for, the newest first by
// DateCreated, each at most once. An error ends them; a malformed position is
// [ErrPosition]. Only [ErrDamaged] does not: it comes with an entry of which the SIDs
// and the date are known, of a message that q may or may not ask for.
//
// It walks one index (of failures, else of the sender, else of the recipient,
// else of all messages) from the place that q names, and reads what is yielded
// as it goes. Breaking off after n messages costs n reads of records, those of
// entries that the rest of q excludes, and one listing for each hundred.
//
// Entries may be stale, because they are written before their record and
// removed after it: nothing is yielded for those. One that leads to a tombstone,
// or was stale for a day, is removed on the way. So who has walked all messages
// from and to a number and deleted them leaves no entry of that number behind,
// even if an earlier attempt was interrupted, but for those of a message that is
// just being received.
func (s *Store) Messages(ctx context.Context, q MessageQuery) iter.Seq2[MessageEntry, error] {
	return func(yield func(MessageEntry, error) bool) {
		after, err := q.start()
		if err != nil {
			yield(MessageEntry{}, err)
			return
		}
		oldest := int64(math.MaxInt64)
		if !q.Since.IsZero() {
			oldest = countdown(q.Since)
		}
		index := s.index(q)
		var last place
		for o, err := range walk(ctx, s.bucket, index, index+after, indexPage) {
			if err != nil {
				yield(MessageEntry{}, err)
				return
			}
			p, ok := parseEntry(o.Key)
			if !ok || p == last { // the entry of a failure may be renewed meanwhile
				continue
			}
			if p.countdown > oldest {
				return
			}
			m, found, _, err := s.follow(ctx, q.Account, p, o, true)
			if err != nil && !errors.Is(err, ErrDamaged) {
				yield(MessageEntry{}, err)
				return
			}
			if err == nil && (!found || !s.matches(q, m)) {
				continue
			}
			last = p
			if !yield(MessageEntry{Message: m, Position: p.position(), key: o.Key}, err) {
				return
			}
		}
	}
}

// index is the prefix of the narrowest index that has all that q asks for.
func (s *Store) index(q MessageQuery) string {
	switch {
	case q.Failed:
		return failedIndex(q.Account)
	case q.From != "":
		return fromIndex(q.Account, s.HashNumber(q.From))
	case q.To != "":
		return toIndex(q.Account, s.HashNumber(q.To))
	}
	return timeIndex(q.Account)
}

// start is what the entries of q come after, without their index.
func (q MessageQuery) start() (string, error) {
	var after string
	if !q.Before.IsZero() {
		after = moment(countdown(q.Before))
	}
	if q.After == "" {
		return after, nil
	}
	p, err := parsePosition(q.After)
	return max(after, p.entry()+"~"), err // a tilde comes after whatever may follow in a key
}

// matches is true if m, which is in the index of q, is what q asks for.
func (s *Store) matches(q MessageQuery, m Message) bool {
	switch {
	case q.From != "" && s.HashNumber(q.From) != s.fromHash(m), q.To != "" && s.HashNumber(q.To) != s.toHash(m):
		return false
	case !q.Before.IsZero() && !m.DateCreated.Before(q.Before):
		return false
	}
	return !m.DateCreated.Before(q.Since)
}

// entries are the keys of all entries that lead to m.
func (s *Store) entries(m Message) []string {
	if !m.Deleted.IsZero() {
		return nil
	}
	end := place{countdown(m.DateCreated), m.SID}.entry()
	keys := []string{
		timeIndex(m.Account) + end,
		fromIndex(m.Account, s.fromHash(m)) + end,
		toIndex(m.Account, s.toHash(m)) + end,
	}
	if m.FailedEntry != "" {
		keys = append(keys, failedIndex(m.Account)+end+"-"+m.FailedEntry)
	}
	return keys
}

// follow returns the message that an entry leads to, or false if the entry is
// stale. One that no message will ever have again is over, and removed if remove is
// set. With [ErrDamaged] comes what the entry itself says of the message.
func (s *Store) follow(ctx context.Context, account AccountSID, p place, entry Object, remove bool) (m Message, found, over bool, err error) {
	m, err = s.Message(ctx, account, p.message)
	switch {
	case errors.Is(err, ErrDamaged):
		m.DateCreated = p.time()
		return m, false, false, err
	case err != nil && !errors.Is(err, ErrNotFound):
		return Message{}, false, false, err
	case err == nil && slices.Contains(s.entries(m), entry.Key):
		return m, true, false, nil
	case m.Deleted.IsZero() && time.Since(entry.Modified) < staleAge:
		return Message{}, false, false, nil // its record may be about to be written
	}
	if !remove {
		return Message{}, false, true, nil
	}
	if m.Deleted.IsZero() {
		err = s.bucket.Delete(ctx, entry.Key)
	} else {
		_, err = s.bury(ctx, m, entry.Key)
	}
	return Message{}, false, err == nil, err
}

func (s *Store) addEntries(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if _, err := s.bucket.Put(ctx, key, strings.NewReader(""), 0, Condition{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) removeEntries(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := s.bucket.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// without returns those of keys that are not among others.
func without(keys, others []string) []string {
	var rest []string
	for _, key := range keys {
		if !slices.Contains(others, key) {
			rest = append(rest, key)
		}
	}
	return rest
}
