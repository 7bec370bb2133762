package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Rechecker compares what was stored last with the feed. It may be used from many
// goroutines.
type Rechecker struct {
	Store    *store.Store
	Streams  *stream.Streams
	Feed     *feed.Feed
	Accounts []store.AccountSID
	Log      zerolog.Logger
}

// Rechecked is what [Rechecker.Recheck] found.
type Rechecked struct {
	Events  int // that were looked at
	Damaged int // records or blobs that are not what their event says, or messages with events that are lost
	Queued  int // messages that are worked on again
}

// recheckPage is how many events are read at once.
const recheckPage = 500

// Recheck compares what the feed has announced since a time with what is stored, and
// what was stored since with the feed. What is missing in the feed is announced again,
// and a Job is queued for each message of which something is missing: an object store
// may lose what it acknowledged last when its power is cut (MinIO does not sync the
// directory of a new object), and so may a NATS that does not sync always. It reads every
// byte. An error, also of ctx, leaves the rest unchecked; doing it again is harmless.
func (c *Rechecker) Recheck(ctx context.Context, since time.Time) (Rechecked, error) {
	var r Rechecked
	q := stream.Query{Since: since, Types: []string{stream.EventReceived, stream.EventStored}}
	for {
		entries, err := c.Streams.Events(ctx, q, recheckPage)
		if err != nil {
			return r, err
		}
		if len(entries) == 0 {
			break
		}
		for _, entry := range entries {
			if err := c.recheckEvent(ctx, entry, &r); err != nil {
				return r, err
			}
			q.After = entry.Sequence
		}
	}
	for _, account := range c.Accounts {
		for entry, err := range c.Store.Messages(ctx, store.MessageQuery{Account: account, Since: since}) {
			if err == nil {
				err = c.recheckMessage(ctx, entry.Message, &r)
			}
			if errors.Is(err, store.ErrDamaged) {
				r.Damaged++
				logDamage(c.Log, err, "stored and damaged")
			} else if err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// recheckMessage compares what a message has announced with the feed.
func (c *Rechecker) recheckMessage(ctx context.Context, m store.Message, r *Rechecked) error {
	media, err := c.Store.ListMediaRecords(ctx, m.Account, m.SID)
	if err != nil {
		return err
	}
	lost, err := c.Feed.Restore(ctx, m, media)
	if err != nil || lost == 0 {
		return err
	}
	r.Damaged++
	c.Log.Error().Stringer("accountSid", m.Account).Stringer("messageSid", m.SID).Int("events", lost).Msg("stored and not in the feed; it is announced again")
	return c.queueCheck(ctx, m.Account, m.SID, m.Announced, r)
}

// recheckEvent compares what one event has announced with what is stored.
func (c *Rechecker) recheckEvent(ctx context.Context, entry stream.Entry, r *Rechecked) error {
	var e struct{ Data announced }
	if err := json.Unmarshal(entry.JSON, &e); err != nil {
		c.Log.Warn().Err(err).Uint64("event", entry.Sequence).Msg("event is not ours; it is passed over")
		return nil
	}
	r.Events++
	whole, err := c.isWhole(ctx, entry.Type, e.Data)
	if errors.Is(err, store.ErrDamaged) {
		r.Damaged++
		logDamage(c.Log, err, "announced and damaged")
		return nil
	}
	if err != nil || whole {
		return err
	}
	r.Damaged++
	c.Log.Error().Stringer("accountSid", e.Data.AccountSID).Stringer("messageSid", e.Data.MessageSID).Stringer("mediaSid", e.Data.MediaSID).
		Str("event", entry.Type).Msg("announced and not stored; it is worked on again")
	return c.queueCheck(ctx, e.Data.AccountSID, e.Data.MessageSID, entry.Sequence, r)
}

// announced is what an event of a message or a medium is about.
type announced struct {
	AccountSID store.AccountSID
	MessageSID store.MessageSID
	MediaSID   store.MediaSID
}

// queueCheck has a message worked on again because of one of its events.
func (c *Rechecker) queueCheck(ctx context.Context, account store.AccountSID, message store.MessageSID, sequence uint64, r *Rechecked) error {
	duplicate, err := c.Streams.PublishJob(ctx, stream.NewReplay(account, message, fmt.Sprintf("check:%d", sequence)))
	if err == nil && !duplicate {
		r.Queued++
	}
	return err
}

// isWhole tells whether everything that an event announced is there.
func (c *Rechecker) isWhole(ctx context.Context, kind string, e announced) (bool, error) {
	_, err := c.Store.Message(ctx, e.AccountSID, e.MessageSID)
	if err == nil && kind == stream.EventStored {
		var record store.Media
		record, err = c.Store.Media(ctx, store.MediaKey{Account: e.AccountSID, Message: e.MessageSID, Media: e.MediaSID})
		if err == nil && record.Deleted.IsZero() {
			damaged, err := c.Store.Damaged(ctx, record)
			return len(damaged) == 0, err
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
