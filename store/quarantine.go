package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// What was damaged is never thrown away before its message is: it is copied into
// quarantine, under the key that it had, before anything is written in its place. It
// goes with the message or the medium that it belongs to, or was taken for.

// RebuildMessage writes m in place of a record that is damaged or missing, which goes into
// quarantine. It returns what is stored: m, or the record that somebody else wrote
// meanwhile.
func (s *Store) RebuildMessage(ctx context.Context, m Message, at time.Time) (Message, error) {
	m = settled(m)
	stored, err := s.Message(ctx, m.Account, m.SID)
	cond := IfAbsent()
	switch {
	case err == nil && !stored.Deleted.IsZero(): // also just now, when its quarantine was cleared before
		return stored, s.deleteQuarantined(ctx, quarantineFolder(m.Account, m.SID), "")
	case err == nil:
		return stored, nil
	case errors.Is(err, ErrDamaged):
		cond = IfMatch(stored.etag)
		err = s.copyAside(ctx, quarantineFolder(m.Account, m.SID), messageKey(m.Account, m.SID), at)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err == nil {
		err = s.addEntries(ctx, s.entries(m))
	}
	if err != nil {
		return Message{}, err
	}
	stored, err = s.putMessage(ctx, m, cond)
	if errors.Is(err, ErrPrecondition) {
		return s.RebuildMessage(ctx, m, at)
	}
	return stored, err
}

// RebuildMedia is to a Media record what [Store.RebuildMessage] is to a Message.
func (s *Store) RebuildMedia(ctx context.Context, m Media, at time.Time) (Media, error) {
	stored, err := s.Media(ctx, m.Key())
	cond := IfAbsent()
	switch {
	case err == nil && !stored.Deleted.IsZero():
		return stored, s.deleteQuarantined(ctx, quarantineFolder(m.Account, m.Message), "/"+m.SID.s)
	case err == nil:
		return stored, nil
	case errors.Is(err, ErrDamaged):
		cond = IfMatch(stored.etag)
		err = s.copyAside(ctx, quarantineFolder(m.Account, m.Message), m.Key().record(), at)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err != nil {
		return Media{}, err
	}
	stored, err = s.putMedia(ctx, m, cond)
	if errors.Is(err, ErrPrecondition) {
		return s.RebuildMedia(ctx, m, at)
	}
	return stored, err
}

// QuarantineMedia moves the record of a medium and all its blobs into quarantine, the
// record first: as long as it is visible its blobs are there.
func (s *Store) QuarantineMedia(ctx context.Context, medium MediaKey, at time.Time) error {
	keys := []string{medium.record()}
	for o, err := range walk(ctx, s.bucket, medium.blobs(), "", maxPage) {
		if err != nil {
			return err
		}
		keys = append(keys, o.Key)
	}
	return s.moveAside(ctx, medium, at, keys...)
}

// QuarantineBlobs moves the original of a medium into quarantine, so that it can be
// stored anew. What was made of it is removed.
func (s *Store) QuarantineBlobs(ctx context.Context, medium MediaKey, at time.Time) error {
	original := s.BlobKey(medium, Original)
	if err := s.moveAside(ctx, medium, at, original); err != nil {
		return err
	}
	for o, err := range walk(ctx, s.bucket, medium.blobs(), "", maxPage) {
		if err != nil {
			return err
		}
		if err := s.bucket.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// QuarantineRecord moves the record of a medium alone into quarantine, so that it can be
// made anew from the blobs.
func (s *Store) QuarantineRecord(ctx context.Context, medium MediaKey, at time.Time) error {
	return s.moveAside(ctx, medium, at, medium.record())
}

// moveAside moves objects of a medium into quarantine. One that is not there is no error.
func (s *Store) moveAside(ctx context.Context, medium MediaKey, at time.Time, keys ...string) error {
	for _, key := range keys {
		if err := s.copyAside(ctx, quarantineFolder(medium.Account, medium.Message), key, at); err != nil {
			return err
		}
		if err := s.bucket.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// copyAside copies an object into a folder of the quarantine.
func (s *Store) copyAside(ctx context.Context, folder, key string, at time.Time) error {
	r, o, err := s.bucket.Get(ctx, key, 0, -1)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = s.bucket.Put(ctx, asideKey(folder, key, at), r, o.Size, Condition{})
	return err
}

// EraseQuarantined removes what is in the quarantine of an account and holds a number:
// a damaged record may hold that of another message. It reads all records that are there.
func (s *Store) EraseQuarantined(ctx context.Context, account AccountSID, number string) error {
	number, hash := s.Region.Normal(number), s.HashNumber(number)
	for o, err := range walk(ctx, s.bucket, quarantineRoot(account), "", maxPage) {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(o.Key, recordSuffix) {
			continue
		}
		r, _, err := s.bucket.Get(ctx, o.Key, 0, -1)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err == nil && (bytes.Contains(data, []byte(number)) || bytes.Contains(data, []byte(hash))) {
			err = s.bucket.Delete(ctx, o.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ExpireQuarantined removes what has been in the quarantine of an account since before a
// time.
func (s *Store) ExpireQuarantined(ctx context.Context, account AccountSID, limit time.Time) error {
	for o, err := range walk(ctx, s.bucket, quarantineRoot(account), "", maxPage) {
		if err != nil {
			return err
		}
		if o.Modified.Before(limit) {
			if err := s.bucket.Delete(ctx, o.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// RedactQuarantined removes earlier records of a message from quarantine: what was taken
// from the present one may stand in them.
func (s *Store) RedactQuarantined(ctx context.Context, account AccountSID, message MessageSID) error {
	return s.deleteQuarantined(ctx, quarantineFolder(account, message), "/"+messageKey(account, message))
}

// deleteQuarantined removes what is in a folder of the quarantine and has a part in its
// key.
func (s *Store) deleteQuarantined(ctx context.Context, folder, part string) error {
	for o, err := range walk(ctx, s.bucket, folder, "", maxPage) {
		if err != nil {
			return err
		}
		if !strings.Contains(o.Key, part) {
			continue
		}
		if err := s.bucket.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}
