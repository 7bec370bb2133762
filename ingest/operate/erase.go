package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
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

// Erase removes all that is kept of one phone number, however it is written, in one
// account or in all if that is zero: messages, media, their events in the feed, and what
// still waits in the queue. Tombstones of SIDs and dates stay, and mms.deleted events. It
// costs what it finds and the length of the queue. With dryRun it counts and removes
// nothing. It calls seen after each message. After an error it is to be called again;
// what is removed then is counted then.
func (o *Operator) Erase(ctx context.Context, account store.AccountSID, number string, dryRun bool, seen func(Receipt)) (Receipt, error) {
	r := Receipt{DryRun: dryRun}
	number, err := o.Store.Region.Parse(number)
	if err != nil {
		return r, fmt.Errorf("erase: %w", err)
	}
	r.NumberHash = o.Store.HashNumber(number)
	for _, a := range o.Accounts {
		if !account.IsZero() && account != a {
			continue
		}
		if err := o.eraseNumber(ctx, a, number, dryRun, &r.Erased, func() { seen(r) }); err != nil {
			return r, err
		}
		r.Accounts++
	}
	r.Finished = time.Now().UTC()
	return r, nil
}

// eraseNumber removes what an account has of a number.
func (o *Operator) eraseNumber(ctx context.Context, account store.AccountSID, number string, dryRun bool, sum *Erased, seen func()) error {
	if err := o.eraseJobs(ctx, account, number, dryRun, sum); err != nil {
		return err
	}
	if err := o.eraseAll(ctx, store.MessageQuery{Account: account, From: number}, "", dryRun, sum, seen); err != nil {
		return err
	}
	if err := o.eraseAll(ctx, store.MessageQuery{Account: account, To: number}, number, dryRun, sum, seen); err != nil || dryRun {
		return err
	}
	return o.Store.EraseQuarantined(ctx, account, number)
}

// EraseBefore removes all messages of an account that were received, or were to be sent,
// before a time. It calls seen after each.
func (o *Operator) EraseBefore(ctx context.Context, account store.AccountSID, limit time.Time, seen func(Erased)) (Erased, error) {
	var sum Erased
	err := o.eraseAll(ctx, store.MessageQuery{Account: account, Before: limit}, "", false, &sum, func() { seen(sum) })
	if err == nil {
		err = o.Store.ExpireQuarantined(ctx, account, limit)
	}
	return sum, err
}

// eraseJobs removes the Jobs of an account that wait in the queue with a message from or
// to a number. Their messages become tombstones first, so that neither a worker that has
// one in hand nor a repeat of the webhook brings it back.
func (o *Operator) eraseJobs(ctx context.Context, account store.AccountSID, number string, dryRun bool, sum *Erased) error {
	return o.Streams.RemoveJobs(ctx, func(job stream.Job) (bool, error) {
		form, _ := job.Form() // a Job without a form has no numbers
		if job.Account != account || o.Store.Region.Normal(form.Get("From")) != number && o.Store.Region.Normal(form.Get("To")) != number {
			return false, nil
		}
		sum.Jobs++
		if dryRun {
			return false, nil
		}
		now := time.Now().UTC()
		_, _, err := o.Store.CreateMessage(ctx, store.Message{
			Account: account, SID: job.Message, DateCreated: now, DateUpdated: now, Deleted: now, Erased: true,
		})
		return true, err
	})
}

// eraseAll removes the messages that a query finds, also those whose record is damaged:
// the index says whose they are. A dry run has counted those from a number before.
func (o *Operator) eraseAll(ctx context.Context, q store.MessageQuery, counted string, dryRun bool, sum *Erased, seen func()) error {
	for found, err := range o.Store.Messages(ctx, q) {
		if errors.Is(err, store.ErrDamaged) {
			o.logDamage(err, "record of a message that is removed is damaged")
			sum.Damaged++
		} else if err != nil {
			return err
		}
		if !q.Before.IsZero() && !found.Message.Due().Before(q.Before) {
			continue // it is scheduled, or has just been sent
		}
		if dryRun && counted != "" && o.Store.Region.Normal(found.Message.From) == counted {
			continue
		}
		if err := o.eraseMessage(ctx, found, dryRun, sum); err != nil {
			return err
		}
		seen()
	}
	return nil
}

// eraseMessage removes one message that was found. The Job comes first: from then on the
// message is removed whatever happens here. What there is to remove is counted before
// that, because a worker may be as fast.
func (o *Operator) eraseMessage(ctx context.Context, found store.MessageEntry, dryRun bool, sum *Erased) error {
	m := found.Message
	records, err := o.Store.ListMediaRecords(ctx, m.Account, m.SID)
	if err == nil || errors.Is(err, store.ErrDamaged) {
		err = o.count(ctx, m, records, sum)
	}
	if err != nil || dryRun {
		return err
	}
	refs, err := o.mediaOf(ctx, m)
	if err != nil {
		return err
	}
	var sids []store.MediaSID
	for _, ref := range refs {
		sids = append(sids, ref.Media)
	}
	if _, err := o.Streams.PublishJob(ctx, stream.NewDeleteMessage(m.Account, m.SID, sids, true)); err != nil {
		return err
	}
	return o.Removal.Message(ctx, found, refs, true, time.Now().UTC())
}

// mediaOf are the media of a message: those that it names, stored or not, and those that
// are stored and that it does not name, because the provider's origin was another one
// then, or its record is damaged.
func (o *Operator) mediaOf(ctx context.Context, m store.Message) ([]store.MediaRef, error) {
	refs := o.Store.MediaOf(m)
	for key, err := range o.Store.MediaKeys(ctx, m.Account, m.SID, store.MediaKey{}) {
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
func (o *Operator) count(ctx context.Context, m store.Message, records []store.Media, sum *Erased) error {
	sum.Messages++
	for _, medium := range records {
		if medium.Deleted.IsZero() {
			sum.Media++
			sum.Bytes += medium.TotalSize()
		}
	}
	for _, sequence := range o.sequences(m, records) {
		entry, err := o.Streams.Event(ctx, sequence)
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
