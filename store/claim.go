package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Claim notes that a message of the provider's is what became of a message here,
// unless another one here has it already. It returns the message that has it. Doing it
// again is harmless.
func (s *Store) Claim(ctx context.Context, account AccountSID, upstream, message MessageSID) (MessageSID, error) {
	key := claimKey(account, upstream)
	_, err := s.bucket.Put(ctx, key, strings.NewReader(message.s), int64(len(message.s)), IfAbsent())
	if errors.Is(err, ErrPrecondition) {
		return s.Claimed(ctx, account, upstream)
	}
	return message, err
}

// Claimed returns the message here that a message of the provider's belongs to, or
// [ErrNotFound] if it was not sent from here. [ErrDamaged] says that it was, and not by
// which message.
func (s *Store) Claimed(ctx context.Context, account AccountSID, upstream MessageSID) (MessageSID, error) {
	key := claimKey(account, upstream)
	r, _, err := s.bucket.Get(ctx, key, 0, -1)
	if err != nil {
		return MessageSID{}, err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return MessageSID{}, fmt.Errorf("read %s: %w", key, err)
	}
	message, err := ParseMessageSID(string(text))
	if err != nil {
		return message, fmt.Errorf("%s is %w: %w", key, ErrDamaged, err)
	}
	return message, nil
}

// RestoreClaim notes anew which message here one of the provider's is: the record says
// it. A note that says otherwise goes into quarantine.
func (s *Store) RestoreClaim(ctx context.Context, m Message, at time.Time) error {
	key := claimKey(m.Account, m.Outgoing.Upstream)
	if err := s.copyAside(ctx, quarantineFolder(m.Account, m.SID), key, at); err != nil {
		return err
	}
	_, err := s.bucket.Put(ctx, key, strings.NewReader(m.SID.s), int64(len(m.SID.s)), Condition{})
	return err
}
