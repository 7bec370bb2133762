package store

import (
	"context"
	"errors"
	"time"
)

// UpstreamSweep is how far the deletion of the provider's copies has come in an
// account. The zero value has done nothing.
type UpstreamSweep struct {
	// Through: messages that were made before it are done.
	Through time.Time `json:"through,omitzero"`
	// Before and Position are where a walk from the newest message to Through
	// began and how far it came (see [MessageEntry]); both are zero between walks.
	Before   time.Time `json:"before,omitzero"`
	Position string    `json:"position,omitempty"`
	// Whole is when the last walk through all messages was begun.
	Whole time.Time `json:"whole,omitzero"`
}

// UpstreamSweep returns what [Store.PutUpstreamSweep] stored last for an account,
// or the zero value, also where that is damaged.
func (s *Store) UpstreamSweep(ctx context.Context, account AccountSID) (UpstreamSweep, error) {
	sweep, _, err := load(ctx, s.bucket, upstreamKey(account), func(UpstreamSweep) bool { return true })
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) { // what was done is found done
		return UpstreamSweep{}, nil
	}
	return sweep, err
}

// PutUpstreamSweep stores how far the deletion has come. Of two at once, one is
// kept: it is a matter of cost only.
func (s *Store) PutUpstreamSweep(ctx context.Context, account AccountSID, sweep UpstreamSweep) error {
	_, err := save(ctx, s.bucket, upstreamKey(account), sweep, Condition{})
	return err
}
