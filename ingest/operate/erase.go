package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mmspipe/ingest/removal"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Erased counts what was removed.
type Erased struct {
	Messages int   `json:"messages"`
	Media    int   `json:"media"`
	Bytes    int64 `json:"bytes"`             // of originals and variants
	Events   int   `json:"events"`            // of the feed
	Jobs     int   `json:"jobs"`              // that were still queued
	Damaged  int   `json:"damaged,omitempty"` // of the messages, those with a damaged record
}

// Receipt says what an erasure removed, and of whom without naming the number.
type Receipt struct {
	Erased
	NumberHash string    `json:"numberHash"` // as in the events that were removed
	Accounts   int       `json:"accounts"`   // that were searched
	DryRun     bool      `json:"dryRun"`     // nothing was removed
	Finished   time.Time `json:"finished"`
}

// Eraser removes messages with all that belongs to them. It may be used from many
// goroutines.
type Eraser struct {
	Store    *store.Store
	Streams  *stream.Streams
	Feed     *feed.Feed
	Removal  *removal.Remover
	Accounts []store.AccountSID
	Log      zerolog.Logger
}

// Erase removes all that is kept of one phone number, however it is written, in one
// account or in all if that is zero: messages, media, their events in the feed, and what
// still waits in the queue. Tombstones of SIDs and dates stay, and mms.deleted events. It
// costs what it finds and the length of the queue. With dryRun it counts and removes
// nothing. It calls seen after each message. After an error it is to be called again;
// what is removed then is counted then.
func (e *Eraser) Erase(ctx context.Context, account store.AccountSID, number string, dryRun bool, seen func(Receipt)) (Receipt, error) {
	r := Receipt{DryRun: dryRun}
	number, err := e.Store.Region.Parse(number)
	if err != nil {
		return r, fmt.Errorf("erase: %w", err)
	}
	r.NumberHash = e.Store.HashNumber(number)
	for _, a := range e.Accounts {
		if !account.IsZero() && account != a {
			continue
		}
		if err := e.eraseNumber(ctx, a, number, dryRun, &r.Erased, func() { seen(r) }); err != nil {
			return r, err
		}
		r.Accounts++
	}
	r.Finished = time.Now().UTC()
	return r, nil
}

// eraseNumber removes what an account has of a number.
func (e *Eraser) eraseNumber(ctx context.Context, account store.AccountSID, number string, dryRun bool, sum *Erased, seen func()) error {
	if err := e.eraseJobs(ctx, account, number, dryRun, sum); err != nil {
		return err
	}
	if err := e.eraseAll(ctx, store.MessageQuery{Account: account, From: number}, "", dryRun, sum, seen); err != nil {
		return err
	}
	if err := e.eraseAll(ctx, store.MessageQuery{Account: account, To: number}, number, dryRun, sum, seen); err != nil || dryRun {
		return err
	}
	return e.Store.EraseQuarantined(ctx, account, number)
}

// EraseBefore removes all messages of an account that were received, or were to be sent,
// before a time. It calls seen after each.
func (e *Eraser) EraseBefore(ctx context.Context, account store.AccountSID, limit time.Time, seen func(Erased)) (Erased, error) {
	var sum Erased
	err := e.eraseAll(ctx, store.MessageQuery{Account: account, Before: limit}, "", false, &sum, func() { seen(sum) })
	if err == nil {
		err = e.Store.ExpireQuarantined(ctx, account, limit)
	}
	return sum, err
}

// eraseJobs removes the Jobs of an account that wait in the queue with a message from or
// to a number. Their messages become tombstones first, so that neither a worker that has
// one in hand nor a repeat of the webhook brings it back.
func (e *Eraser) eraseJobs(ctx context.Context, account store.AccountSID, number string, dryRun bool, sum *Erased) error {
	return e.Streams.RemoveJobs(ctx, func(job stream.Job) (bool, error) {
		form, _ := job.Form() // a Job without a form has no numbers
		if job.Account != account || e.Store.Region.Normal(form.Get("From")) != number && e.Store.Region.Normal(form.Get("To")) != number {
			return false, nil
		}
		sum.Jobs++
		if dryRun {
			return false, nil
		}
		now := time.Now().UTC()
		_, _, err := e.Store.CreateMessage(ctx, store.Message{
			Account: account, SID: job.Message, DateCreated: now, DateUpdated: now, Deleted: now, Erased: true,
		})
		return true, err
	})
}

// eraseAll removes the messages that a query finds, also those whose record is damaged:
// the index says whose they are. A dry run has counted those from a number before.
func (e *Eraser) eraseAll(ctx context.Context, q store.MessageQuery, counted string, dryRun bool, sum *Erased, seen func()) error {
	for found, err := range e.Store.Messages(ctx, q) {
		if errors.Is(err, store.ErrDamaged) {
			logDamage(e.Log, err, "record of a message that is removed is damaged")
			sum.Damaged++
		} else if err != nil {
			return err
		}
		if !q.Before.IsZero() && !found.Message.Due().Before(q.Before) {
			continue // it is scheduled, or has just been sent
		}
		if dryRun && counted != "" && e.Store.Region.Normal(found.Message.From) == counted {
			continue
		}
		if err := e.eraseMessage(ctx, found, dryRun, sum); err != nil {
			return err
		}
		seen()
	}
	return nil
}

// eraseMessage removes one message that was found. The Job comes first: from then on the
// message is removed whatever happens here. What there is to remove is counted before
// that, because a worker may be as fast.
func (e *Eraser) eraseMessage(ctx context.Context, found store.MessageEntry, dryRun bool, sum *Erased) error {
	m := found.Message
	records, err := e.Store.ListMediaRecords(ctx, m.Account, m.SID)
	if err == nil || errors.Is(err, store.ErrDamaged) {
		err = e.count(ctx, m, records, sum)
	}
	if err != nil || dryRun {
		return err
	}
	refs, err := e.mediaOf(ctx, m)
	if err != nil {
		return err
	}
	var sids []store.MediaSID
	for _, ref := range refs {
		sids = append(sids, ref.Media)
	}
	if _, err := e.Streams.PublishJob(ctx, stream.NewDeleteMessage(m.Account, m.SID, sids, true)); err != nil {
		return err
	}
	return e.Removal.Message(ctx, found, refs, true, time.Now().UTC())
}

// mediaOf are the media of a message: those that it names, stored or not, and those that
// are stored and that it does not name, because the provider's origin was another one
// then, or its record is damaged.
func (e *Eraser) mediaOf(ctx context.Context, m store.Message) ([]store.MediaRef, error) {
	refs := e.Store.MediaOf(m)
	for key, err := range e.Store.MediaKeys(ctx, m.Account, m.SID, store.MediaKey{}) {
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(refs, func(ref store.MediaRef) bool { return ref.MediaKey == key }) {
			refs = append(refs, store.MediaRef{MediaKey: key})
		}
	}
	return refs, nil
}

// count adds what is to be removed of a message.
func (e *Eraser) count(ctx context.Context, m store.Message, records []store.Media, sum *Erased) error {
	sum.Messages++
	for _, medium := range records {
		if medium.Deleted.IsZero() {
			sum.Media++
			sum.Bytes += medium.TotalSize()
		}
	}
	for _, sequence := range sequences(e.Feed, m, records) {
		entry, err := e.Streams.Event(ctx, sequence)
		switch {
		case errors.Is(err, stream.ErrNotKept):
		case err != nil:
			return err
		case entry.Type != stream.EventDeleted:
			sum.Events++
		}
	}
	return nil
}
