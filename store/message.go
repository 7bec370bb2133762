package store

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

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
// [ErrNotFound].
func (s *Store) Message(ctx context.Context, account AccountSID, message MessageSID) (Message, error) {
	m, etag, err := load[Message](ctx, s.bucket, messageKey(account, message))
	m.etag = etag
	return m, err
}

// UpdateMessage applies change to the stored record, stores the result, and
// returns it. When another writer was faster, change is applied again to what
// that one stored. An error of change is returned as it is and nothing is
// written. An absent record is [ErrNotFound].
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
		if err := change(&m); err != nil {
			return Message{}, err
		}
		m.Account, m.SID = account, message
		m.From, m.To, m.DateCreated, m.FailedEntry = old.From, old.To, old.DateCreated, old.FailedEntry
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
// zero, and removes its entries from the index. It returns the tombstone, or the
// one that is there already. An absent record is [ErrNotFound]. The media of the
// message are not its business.
//
// After an interruption it is to be called again. Nobody sees the entries that are
// left until then.
func (s *Store) DeleteMessage(ctx context.Context, account AccountSID, message MessageSID, at time.Time) (Message, error) {
	m, err := s.Message(ctx, account, message)
	if err != nil {
		return m, err
	}
	return s.deleteMessage(ctx, m, "", at)
}

// DeleteFound is [Store.DeleteMessage] for who has found the message in an index
// and is going to look there again after an interruption, which finishes it: the
// entry that led to it is the last to go.
func (s *Store) DeleteFound(ctx context.Context, found MessageEntry, at time.Time) error {
	_, err := s.deleteMessage(ctx, found.Message, found.key, at)
	return err
}

func (s *Store) deleteMessage(ctx context.Context, m Message, last string, at time.Time) (Message, error) {
	if m.Deleted.IsZero() {
		var err error
		m, err = s.UpdateMessage(ctx, m.Account, m.SID, func(m *Message) error {
			if m.Deleted.IsZero() {
				m.Entries = s.entries(*m)
				m.Deleted, m.DateUpdated = at, at
			}
			return nil
		})
		if err != nil {
			return m, err
		}
	}
	return s.bury(ctx, m, last)
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
