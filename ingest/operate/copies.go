package operate

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/damage"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	// saveEvery is after how many messages the position of a walk is stored. Those
	// since are looked at again when a walk was interrupted.
	saveEvery = 100

	// wholeAgain is after what time all messages are walked through once more, for
	// media that were not ready when the walk came by: stored late, or mended.
	wholeAgain = 7 * 24 * time.Hour
)

// Copies deletes the provider's copies of media that are stored here. It may be used
// from many goroutines.
type Copies struct {
	Store    *store.Store
	Streams  *stream.Streams
	Feed     *feed.Feed
	Accounts []store.AccountSID
	API      *upstream.Client // the provider's; if it is nil, Delete returns an error
	Log      zerolog.Logger
}

// DeletedUpstream is what a deletion of upstream's copies did, also when an error
// ended it. With a dry run it is what it would have done.
type DeletedUpstream struct {
	Messages int  `json:"messages"` // that were looked at
	Media    int  `json:"media"`    // whose copy was deleted
	Gone     int  `json:"gone"`     // of them, those that upstream did not have any more
	Damaged  int  `json:"damaged"`  // whose original here is damaged; the copy is kept
	Left     int  `json:"left"`     // that are not ready yet, have a failure, or upstream refused
	DryRun   bool `json:"dryRun"`
}

// Delete deletes the provider's copies of media that are stored here: of
// messages that were made before a time, the newest first, those media that were
// stored and announced before it. The original is read and compared with its record
// first, and the record read again; where they differ that is recorded as a failure
// and the copy stays. It calls progress, unless that is nil, with the number of
// messages so far.
//
// It remembers in the bucket how far it came, so that a call costs what is new since
// the last one, three calls of the bucket and the bytes of its media for each
// message, and goes on where an earlier one was interrupted. Once in seven days it
// walks through all messages, whose media are not read again. A dry run reads
// the same and changes nothing.
func (c *Copies) Delete(ctx context.Context, before time.Time, dryRun bool, progress func(messages int)) (DeletedUpstream, error) {
	r := DeletedUpstream{DryRun: dryRun}
	if c.API == nil {
		return r, errNoUpstream
	}
	for _, account := range c.Accounts {
		if err := c.walkUpstream(ctx, account, before, &r, progress); err != nil {
			return r, err
		}
	}
	return r, nil
}

// walkUpstream goes through the messages of an account that are not done yet.
func (c *Copies) walkUpstream(ctx context.Context, account store.AccountSID, before time.Time, r *DeletedUpstream, progress func(int)) error {
	sweep, err := c.Store.UpstreamSweep(ctx, account)
	if err != nil {
		return err
	}
	sweep = begin(sweep, before)
	if !sweep.Before.After(sweep.Through) {
		return nil
	}
	save := func() error {
		if r.DryRun {
			return nil
		}
		return c.Store.PutUpstreamSweep(ctx, account, sweep)
	}
	q := store.MessageQuery{Account: account, Since: sweep.Through, Before: sweep.Before, After: sweep.Position}
	for entry, err := range c.Store.Messages(ctx, q) {
		if err == nil {
			err = c.deleteCopies(ctx, entry.Message, sweep.Before, r)
		}
		if errors.Is(err, store.ErrDamaged) {
			logDamage(c.Log, err, "upstream's copies are kept of what is damaged")
			r.Left++
		} else if err != nil {
			return err
		}
		r.Messages++
		if progress != nil {
			progress(r.Messages)
		}
		sweep.Position = entry.Position
		if r.Messages%saveEvery == 0 {
			if err := save(); err != nil {
				return err
			}
		}
	}
	sweep.Through, sweep.Before, sweep.Position = sweep.Before, time.Time{}, ""
	return save()
}

// begin is the walk to make: the rest of one that was interrupted, or a new one.
func begin(sweep store.UpstreamSweep, before time.Time) store.UpstreamSweep {
	if sweep.Position != "" && !before.Before(sweep.Before) {
		return sweep
	}
	sweep.Before, sweep.Position = before, ""
	if before.Sub(sweep.Whole) >= wholeAgain {
		sweep.Through, sweep.Whole = time.Time{}, before
	}
	return sweep
}

// deleteCopies deletes upstream's copies of a message's media.
func (c *Copies) deleteCopies(ctx context.Context, m store.Message, before time.Time, r *DeletedUpstream) error {
	if !r.DryRun { // damage that an interrupted call has recorded
		if _, err := c.Feed.Announce(ctx, m); err != nil && !errors.Is(err, store.ErrDeleted) {
			return err
		}
	}
	media, damaged := c.Store.ListMedia(ctx, m.Account, m.SID)
	if damaged != nil && !errors.Is(damaged, store.ErrDamaged) {
		return damaged
	}
	for _, record := range media {
		if err := c.deleteCopy(ctx, m, record, before, r); err != nil {
			return err
		}
	}
	return damaged
}

// deleteCopy deletes upstream's copy of a medium, if it has one and it is time.
func (c *Copies) deleteCopy(ctx context.Context, m store.Message, record store.Media, before time.Time, r *DeletedUpstream) error {
	sid, own := c.Store.Identify(m.Account, m.SID, record.Index, m.Form.Get("MediaUrl"+strconv.Itoa(record.Index)))
	_, failed := m.Failures[record.SID]
	switch {
	case !own || sid != record.SID || record.UpstreamAnnounced != 0:
		return nil
	case !record.UpstreamDeleted.IsZero() && r.DryRun:
		return nil
	case !record.UpstreamDeleted.IsZero():
		_, err := c.Feed.AnnounceMedia(ctx, record)
		return err
	case failed || record.Announced == 0 || !record.DateCreated.Before(before):
		r.Left++
		return nil
	}
	good, err := c.verify(ctx, record, r)
	if err != nil || !good {
		return err
	}
	if r.DryRun {
		r.Media++
		return nil
	}
	err = c.API.DeleteMedia(ctx, record.Account, record.Message, record.SID)
	if trouble, ok := errors.AsType[*upstream.Error](err); ok && !trouble.Temporary() {
		if trouble.Status != http.StatusNotFound {
			c.Log.Warn().Err(err).Stringer("messageSid", record.Message).Stringer("mediaSid", record.SID).Msg("upstream keeps its copy")
			r.Left++
			return nil
		}
		r.Gone++
		err = nil
	}
	if err != nil {
		return err
	}
	r.Media++
	record, err = c.Store.UpdateMedia(ctx, record.Key(), func(m *store.Media) error {
		if m.UpstreamDeleted.IsZero() {
			m.UpstreamDeleted = time.Now().UTC()
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = c.Feed.AnnounceMedia(ctx, record)
	return err
}

// verify tells whether what is stored of a medium is what its record says, before
// and after its bytes were read. If they differ, that becomes a failure.
func (c *Copies) verify(ctx context.Context, record store.Media, r *DeletedUpstream) (bool, error) {
	original := record
	original.Variants = nil // they can be made again
	damaged, err := c.Store.Damaged(ctx, original)
	if err != nil {
		return false, err
	}
	again, err := c.Store.Media(ctx, record.Key())
	if errors.Is(err, store.ErrNotFound) || err == nil && again.Revision != record.Revision {
		r.Left++ // it was deleted, or worked on, meanwhile
		return false, nil
	}
	if err != nil || len(damaged) == 0 {
		return err == nil, err
	}
	r.Damaged++
	c.Log.Error().Stringer("accountSid", record.Account).Stringer("messageSid", record.Message).Stringer("mediaSid", record.SID).
		Msg("original is damaged: it is not what its record says; upstream's copy is kept, replay the message to fetch it again")
	if r.DryRun {
		return false, nil
	}
	reporter := damage.Reporter{Store: c.Store, Feed: c.Feed, Streams: c.Streams}
	_, err = reporter.Note(ctx, record, damaged...)
	return false, err
}
