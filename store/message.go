package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// ErrUnchanged is what a change returns that has nothing to change; see
// [Store.UpdateMessage].
var ErrUnchanged = errors.New("nothing to change")

// ErrDeleted says that a message was deleted: nothing is to be done about it any
// more.
var ErrDeleted = errors.New("the message was deleted")

// CreateMessage stores m if there is no record of that message yet and returns
// it and true. Otherwise it returns the stored record, which may be a tombstone
// (Deleted is set), and false.
func (s *Store) CreateMessage(ctx context.Context, m Message) (stored Message, created bool, err error) {
	m = settled(m)
	if err := s.addEntries(ctx, s.entries(m)); err != nil {
		return Message{}, false, err
	}
	stored, err = s.putMessage(ctx, m, IfAbsent())
	if !errors.Is(err, ErrPrecondition) {
		return stored, err == nil, err
	}
	stored, err = s.Message(ctx, m.Account, m.SID)
	if err == nil && !stored.Deleted.IsZero() {
		// Who deletes it may look for it by an entry that is removed here.
		stored, err = s.bury(ctx, stored, "")
	}
	if err != nil {
		return Message{}, false, err
	}
	return stored, false, s.removeEntries(ctx, without(s.entries(m), s.entries(stored)))
}

// Message returns the record of a message, which may be a tombstone, or
// [ErrNotFound]. With [ErrDamaged] comes a Message of which only the SIDs are known.
func (s *Store) Message(ctx context.Context, account AccountSID, message MessageSID) (Message, error) {
	m, etag, err := load(ctx, s.bucket, messageKey(account, message), func(m Message) bool { return m.Account == account && m.SID == message })
	if errors.Is(err, ErrDamaged) {
		m.Account, m.SID = account, message
	}
	m.etag = etag
	return m, err
}

// UpdateMessage applies change to the stored record, stores the result, and
// returns it. When another writer was faster, change is applied again to what
// that one stored. If change returns [ErrUnchanged], nothing is written and the
// stored record is returned without an error; any other error of change is
// returned as it is. An absent record is [ErrNotFound].
//
// What the message is found by stays as it is: its SIDs, From, To and
// DateCreated. A tombstone stays one, and keeps of a change only what a
// tombstone has.
func (s *Store) UpdateMessage(ctx context.Context, account AccountSID, message MessageSID, change func(*Message) error) (Message, error) {
	for {
		m, err := s.Message(ctx, account, message)
		if err != nil {
			return Message{}, err
		}
		old, before := m, s.entries(m) // change may write into old's maps
		if err := change(&m); errors.Is(err, ErrUnchanged) {
			return old, nil
		} else if err != nil {
			return Message{}, err
		}
		m.Account, m.SID = account, message
		m.From, m.To, m.DateCreated, m.FailedEntry = old.From, old.To, old.DateCreated, old.FailedEntry
		m.FromHash, m.ToHash = old.FromHash, old.ToHash
		if !old.Deleted.IsZero() {
			m.Deleted = old.Deleted
		}
		stored, err := s.replaceMessage(ctx, before, settled(m), old.etag)
		if !errors.Is(err, ErrPrecondition) {
			return stored, err
		}
	}
}

// DeleteMessage makes the record a tombstone of the time at, which must not be
// zero, and removes its entries from the index, and whatever is in quarantine of it. It
// returns the tombstone, or the one that is there already. An absent record is
// [ErrNotFound]. The media of the message are not its business.
//
// Nobody knows what a damaged record said: its tombstone has EventsUnknown set, and its
// entries in the index are removed by whoever meets them.
//
// After an interruption it is to be called again. Nobody sees the entries that are
// left until then.
func (s *Store) DeleteMessage(ctx context.Context, account AccountSID, message MessageSID, at time.Time) (Message, error) {
	m, err := s.Message(ctx, account, message)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return m, err
	}
	return s.deleteMessage(ctx, m, false, "", at)
}

// EraseMessage is [Store.DeleteMessage] and makes the tombstone say that the message
// was erased. Found is where the caller found it and is going to look again after an
// interruption, which finishes it: the entry that led to it is the last to go. It may be
// a message that was found in no index.
func (s *Store) EraseMessage(ctx context.Context, found MessageEntry, at time.Time) (Message, error) {
	return s.deleteMessage(ctx, found.Message, true, found.key, at)
}

func (s *Store) deleteMessage(ctx context.Context, m Message, erase bool, last string, at time.Time) (Message, error) {
	if m.Deleted.IsZero() || erase && !m.Erased {
		found := m
		var err error
		m, err = s.UpdateMessage(ctx, m.Account, m.SID, func(m *Message) error {
			if m.Deleted.IsZero() {
				m.Entries = s.entries(*m)
				m.Deleted, m.DateUpdated = at, at
			}
			m.Erased = m.Erased || erase
			return nil
		})
		if errors.Is(err, ErrDamaged) {
			m, err = s.buryDamaged(ctx, found, erase, at)
		}
		if err != nil {
			return m, err
		}
	}
	if err := s.deleteQuarantined(ctx, quarantineFolder(m.Account, m.SID), ""); err != nil {
		return m, err
	}
	return s.bury(ctx, m, last)
}

// buryDamaged writes a tombstone over a damaged record, of which found is what is known.
func (s *Store) buryDamaged(ctx context.Context, found Message, erase bool, at time.Time) (Message, error) {
	m, err := s.Message(ctx, found.Account, found.SID)
	if !errors.Is(err, ErrDamaged) { // it was mended or removed meanwhile
		return m, errors.Join(err, ErrPrecondition)
	}
	return s.putMessage(ctx, Message{
		Account: found.Account, SID: found.SID, DateCreated: cmp.Or(found.DateCreated, at), DateUpdated: at, Deleted: at, Erased: erase, EventsUnknown: true,
	}, IfMatch(m.etag))
}

// bury removes the entries that a tombstone still has, the one that somebody looks
// at last.
func (s *Store) bury(ctx context.Context, m Message, last string) (Message, error) {
	if len(m.Entries) > 0 {
		err := s.removeEntries(ctx, without(m.Entries, []string{last}))
		if err == nil {
			m, err = s.UpdateMessage(ctx, m.Account, m.SID, func(m *Message) error { m.Entries = nil; return nil })
		}
		if err != nil {
			return m, err
		}
	}
	if last == "" {
		return m, nil
	}
	return m, s.bucket.Delete(ctx, last)
}

// replaceMessage stores m over the record that has etag and these entries in the
// index. A failed condition leaves the index as it was.
func (s *Store) replaceMessage(ctx context.Context, before []string, m Message, etag string) (Message, error) {
	after := s.entries(m)
	if err := s.addEntries(ctx, without(after, before)); err != nil {
		return Message{}, err
	}
	stored, err := s.putMessage(ctx, m, IfMatch(etag))
	over := without(before, after)
	switch {
	case errors.Is(err, ErrPrecondition):
		// Only the entry of a failure is ever added to a record, and no other
		// writer has one of that name.
		over = without(after, before)
	case err != nil:
		return Message{}, err
	case len(m.Entries) > 0: // they are buried in an order of their own
		over = nil
	}
	if err := s.removeEntries(ctx, over); err != nil {
		return Message{}, err
	}
	return stored, err
}

// settled is m with what the Store itself says of a message.
func settled(m Message) Message {
	switch {
	case !m.Deleted.IsZero():
		return m.tombstone()
	case !m.failed():
		m.FailedEntry = ""
	case m.FailedEntry == "":
		m.FailedEntry = rand.Text()
	}
	return m
}

func (s *Store) putMessage(ctx context.Context, m Message, cond Condition) (_ Message, err error) {
	m.Revision = rand.Text()
	m.etag, err = save(ctx, s.bucket, messageKey(m.Account, m.SID), m, cond)
	if err != nil {
		return Message{}, err
	}
	return m, nil
}

// AddFailures records media of a message that were given up, in one write. Failures of
// the same media that are announced stay known among the message's events. A message
// that was deleted is [ErrDeleted].
func (s *Store) AddFailures(ctx context.Context, account AccountSID, message MessageSID, failures map[MediaSID]Failure) (Message, error) {
	return s.UpdateMessage(ctx, account, message, func(m *Message) error {
		if !m.Deleted.IsZero() {
			return ErrDeleted
		}
		if m.Failures == nil {
			m.Failures = map[MediaSID]Failure{}
		}
		for media, failure := range failures {
			if earlier := m.Failures[media].Announced; earlier != 0 {
				m.Events = append(m.Events, earlier)
			}
			m.Failures[media] = failure
		}
		return nil
	})
}

// RemoveFailure takes the failure of a medium that is stored now from its message. Its
// event stays known among the message's events. None is no error.
func (s *Store) RemoveFailure(ctx context.Context, medium MediaKey) error {
	_, err := s.UpdateMessage(ctx, medium.Account, medium.Message, func(m *Message) error {
		over, ok := m.Failures[medium.Media]
		if !ok {
			return ErrUnchanged
		}
		delete(m.Failures, medium.Media)
		if over.Announced != 0 {
			m.Events = append(m.Events, over.Announced)
		}
		return nil
	})
	return err
}
