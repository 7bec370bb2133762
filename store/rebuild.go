package store

import (
	"context"
	"errors"
)

// RebuildIndex makes the index of an account agree with its Message records:
// it writes the entries that are missing and removes those that are stale, but
// for young ones, whose record may be about to be written. It says how many of
// each, also when an error ended it. It may run beside everything else, be
// interrupted, and begin again.
//
// It reads each record once, and once more for each of its entries. If progress
// is not nil, it is called with the number of records done so far. With dryRun it
// counts and changes nothing.
func (s *Store) RebuildIndex(ctx context.Context, account AccountSID, dryRun bool, progress func(done int)) (added, removed int, err error) {
	done := 0
	for o, err := range walk(ctx, s.bucket, messageFolder(account), "", maxPage) {
		if err != nil {
			return added, 0, err
		}
		_, message, ok := ParseMessageKey(o.Key)
		if !ok {
			continue
		}
		n, err := s.addMissing(ctx, account, message, dryRun)
		added += n
		if err != nil {
			return added, 0, err
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
			return added, removed, err
		}
		p, ok := parseEntry(o.Key)
		if !ok {
			continue
		}
		_, _, stale, err := s.follow(ctx, account, p, o, !dryRun)
		if err != nil {
			return added, removed, err
		}
		if stale {
			removed++
		}
	}
	return added, removed, nil
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
