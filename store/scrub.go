package store

import (
	"context"
	"errors"
	"time"
)

// Scrub is how far the blobs of all media have been read. The zero value has read nothing.
type Scrub struct {
	Started time.Time `json:"started,omitzero"` // when the last round was begun
	Reading bool      `json:"reading"`          // that round is not through
	After   *MediaKey `json:"after,omitempty"`  // the medium that it read last; nil before the first

	// Holder reads, unless Renewed is long ago: of several processes one is enough.
	Holder  string    `json:"holder"`
	Renewed time.Time `json:"renewed"`

	etag string
}

// Scrub returns what [Store.PutScrub] stored last, or the zero value, also where that is
// damaged.
func (s *Store) Scrub(ctx context.Context) (Scrub, error) {
	scrub, etag, err := load(ctx, s.bucket, scrubKey, func(Scrub) bool { return true })
	scrub.etag = etag
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return scrub, nil
	}
	return scrub, err
}

// PutScrub stores what was made of the last one that was read or stored, and returns it.
// It is [ErrPrecondition] if another process was faster.
func (s *Store) PutScrub(ctx context.Context, scrub Scrub) (Scrub, error) {
	cond := IfAbsent()
	if scrub.etag != "" {
		cond = IfMatch(scrub.etag)
	}
	var err error
	scrub.etag, err = save(ctx, s.bucket, scrubKey, scrub, cond)
	return scrub, err
}
