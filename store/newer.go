package store

import (
	"context"
	"errors"
	"slices"
	"time"
)

// newerFirst is how much time is looked at first for messages that are newer than a
// position. It grows eightfold each time, so that a bucket of any age and density costs
// a few listings.
const newerFirst = time.Second

// Newer returns up to n messages that q asks for and admit is true for, of those that
// come just before q.After, which must not be empty, in the order of
// [Store.Messages]. It tells whether there are more before them. It is how a page is
// found from the one behind it, and costs a read for each message of it and for those
// that are left out between, and about ten listings. With an [ErrDamaged] come all
// messages whose records can be read.
func (s *Store) Newer(ctx context.Context, q MessageQuery, n int, admit func(Message) bool) (found []MessageEntry, more bool, err error) {
	p, err := parsePosition(q.After)
	if err != nil {
		return nil, false, err
	}
	index, end := s.index(q), p.entry()
	newest := countdown(time.Now().Add(24 * time.Hour)) // clocks differ
	if !q.Before.IsZero() {
		newest = countdown(q.Before)
	}
	var damaged error
	from := p.countdown
	for span := int64(newerFirst); from > newest; span *= 8 {
		from = max(from-span, newest)
		entries, err := s.between(ctx, index, moment(from), end)
		if err != nil {
			return nil, false, err
		}
		for _, o := range slices.Backward(entries) {
			entry, ok, err := s.entry(ctx, q, o)
			if errors.Is(err, ErrDamaged) {
				damaged = errors.Join(damaged, err)
			} else if err != nil {
				return nil, false, err
			}
			if !ok || !admit(entry.Message) {
				continue
			}
			if len(found) == n {
				slices.Reverse(found)
				return found, true, damaged
			}
			found = append(found, entry)
		}
		end = moment(from)
	}
	slices.Reverse(found)
	return found, false, damaged
}

// between are the entries of an index from one place up to another.
func (s *Store) between(ctx context.Context, index, from, end string) ([]Object, error) {
	var entries []Object
	for o, err := range walk(ctx, s.bucket, index, index+from, indexPage) {
		if err != nil {
			return nil, err
		}
		if o.Key >= index+end {
			break
		}
		entries = append(entries, o)
	}
	return entries, nil
}

// entry is the message that an entry of the index of q leads to, if it is what q asks
// for.
func (s *Store) entry(ctx context.Context, q MessageQuery, o Object) (MessageEntry, bool, error) {
	p, ok := parseEntry(o.Key)
	if !ok {
		return MessageEntry{}, false, nil
	}
	m, found, _, err := s.follow(ctx, q.Account, p, o, true)
	if err != nil || !found || !s.matches(q, m) {
		return MessageEntry{}, false, err
	}
	return MessageEntry{Message: m, Position: p.position(), key: o.Key}, true, nil
}
