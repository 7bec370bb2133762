package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// BeginFit notes that a picture is about to be fitted by owner, a process. It
// returns true if another owner noted that before and never ended it: that one
// died of the picture, most likely. The note is then still the other's.
func (s *Store) BeginFit(ctx context.Context, medium MediaKey, owner string) (died bool, err error) {
	key := medium.fitting()
	_, err = s.bucket.Put(ctx, key, strings.NewReader(owner), int64(len(owner)), IfAbsent())
	if !errors.Is(err, ErrPrecondition) {
		return false, err
	}
	r, _, err := s.bucket.Get(ctx, key, 0, -1)
	if errors.Is(err, ErrNotFound) { // ended just now, by somebody who lives
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	other, err := io.ReadAll(r)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	return string(other) != owner, nil
}

// EndFit takes the note of [Store.BeginFit] away, whosever it is. None is no
// error.
func (s *Store) EndFit(ctx context.Context, medium MediaKey) error {
	return s.bucket.Delete(ctx, medium.fitting())
}
