package store

import (
	"context"
	"errors"
)

// Rebuilt is what [Store.RebuildIndex] did, also when an error ended it.
type Rebuilt struct {
	Added   int // entries
	Removed int // entries
	Damaged int // records, whose entries were left as they are
}

// RebuildIndex makes the index of an account agree with its Message records:
// it writes the entries that are missing and removes those that are stale, but
// for young ones, whose record may be about to be written. It may run beside
// everything else, be interrupted, and begin again.
//
// It reads each record once, and once more for each of its entries. If progress
// is not nil, it is called with the number of records done so far. With dryRun it
// counts and changes nothing.
func (s *Store) RebuildIndex(ctx context.Context, account AccountSID, dryRun bool, progress func(done int)) (r Rebuilt, err error) {
	done := 0
	for message, err := range s.MessageKeys(ctx, account) {
		if err != nil {
			return r, err
		}
		n, err := s.addMissing(ctx, account, message, dryRun)
		r.Added += n
		switch {
		case errors.Is(err, ErrDamaged):
			r.Damaged++
		case err != nil && !errors.Is(err, ErrNotFound): // removed since it was listed
			return r, err
		}
		done++
		if progress != nil {
			progress(done)
		}
	}
	// Only now, so that an entry is met that was added while its message was
	// deleted.
	for o, err := range walk(ctx, s.bucket, indexFolder(account), "", maxPage) {
		if err != nil {
			return r, err
		}
		p, ok := parseEntry(o.Key)
		if !ok {
			continue
		}
		_, _, stale, err := s.follow(ctx, account, p, o, !dryRun)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return r, err
		}
		if stale {
			r.Removed++
		}
	}
	return r, nil
}

// addMissing writes the entries of a message that are not there.
func (s *Store) addMissing(ctx context.Context, account AccountSID, message MessageSID, dryRun bool) (added int, err error) {
	m, err := s.Message(ctx, account, message)
	if err != nil {
		return 0, err
	}
	if len(m.Failures) > 0 && m.FailedEntry == "" { // not written by this version
		if !dryRun {
			m, err = s.UpdateMessage(ctx, account, message, func(*Message) error { return nil })
			if err != nil {
				return 0, err
			}
		}
		added++
	}
	for _, key := range s.entries(m) {
		_, err := s.bucket.Stat(ctx, key)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNotFound) {
			return added, err
		}
		if !dryRun {
			if err := s.addEntries(ctx, []string{key}); err != nil {
				return added, err
			}
		}
		added++
	}
	return added, nil
}
