package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// Eraser removes messages with all that belongs to them.
//
// What stays are tombstones and mms.deleted events, which hold SIDs and dates
// alone: they keep late workers from bringing a medium back, and tell readers of
// the feed to drop theirs.
//
// The message's record is the last to go, so that whatever is interrupted finds
// it again. A worker that has such a message in hand at that moment may still
// announce one medium, by its SIDs.
type Eraser struct {
	Store    *store.Store
	Streams  *stream.Streams
	Upstream *url.URL // the provider's origin, by which media are named
}

// Erased counts what was removed.
type Erased struct {
	Messages int   `json:"messages"`
	Media    int   `json:"media"`
	Bytes    int64 `json:"bytes"`  // of originals and variants
	Events   int   `json:"events"` // of the feed
	Jobs     int   `json:"jobs"`   // that were still queued
}

// Plus is the sum of both.
func (e Erased) Plus(f Erased) Erased {
	return Erased{e.Messages + f.Messages, e.Media + f.Media, e.Bytes + f.Bytes, e.Events + f.Events, e.Jobs + f.Jobs}
}

// message removes one message that was found.
func (e *Eraser) message(ctx context.Context, found store.MessageEntry, sum *Erased) error {
	m := found.Message
	media, err := e.media(ctx, m)
	if err != nil {
		return err
	}
	for sid, index := range media {
		if err := e.medium(ctx, m, sid, index, sum); err != nil {
			return err
		}
	}
	if err := e.unannounced(ctx, m, sum); err != nil {
		return err
	}
	for _, sequence := range append(m.OtherEvents(), m.Announced) {
		if err := e.event(ctx, m.SID, sequence, sum); err != nil {
			return err
		}
	}
	if err := e.Store.DeleteFound(ctx, found, time.Now().UTC()); err != nil {
		return err
	}
	sum.Messages++
	return nil
}

// media are those of a message by SID, with their index: those that its webhook
// names, stored or not, and those that are stored under other SIDs, because the
// provider's origin was another then.
func (e *Eraser) media(ctx context.Context, m store.Message) (map[store.MediaSID]int, error) {
	hook := outgoingHook(m)
	if m.Outgoing == nil {
		var err error
		if hook, err = parseWebhook(m.Form); err != nil {
			return nil, fmt.Errorf("erase message %s: %w", m.SID, err)
		}
	}
	media := map[store.MediaSID]int{}
	for i, ref := range hook.media {
		sid, _ := e.Store.Identify(m.Account, m.SID, i, ref.url, e.Upstream)
		media[sid] = i
	}
	records, err := e.Store.ListMediaRecords(ctx, m.Account, m.SID)
	for _, record := range records {
		media[record.SID] = record.Index
	}
	return media, err
}

// unannounced removes the events that the worker of a message may have published and
// not noted yet. To publish them again tells their sequence, and that they are known
// keeps a late worker from publishing them for [stream.DuplicateWindow].
func (e *Eraser) unannounced(ctx context.Context, m store.Message, sum *Erased) error {
	var events []stream.Event
	if m.Announced == 0 {
		events = append(events, receivedEvent(m, e.Store.HashNumber))
	}
	for media, failure := range m.Failures {
		if failure.Announced == 0 {
			events = append(events, failedEvent(m, media, failure))
		}
	}
	if out := m.Outgoing; out != nil && out.Ready == 0 {
		events = append(events, bareReadyEvent(m))
	}
	if out := m.Outgoing; out != nil && out.Upstream != (store.MessageSID{}) && out.Sent == 0 {
		events = append(events, sentEvent(m, e.Store.HashNumber))
	}
	if out := m.Outgoing; out != nil && out.Failure != nil && out.Failure.Announced == 0 {
		events = append(events, outgoingFailedEvent(m, *out.Failure))
	}
	for what, forward := range m.Forwards {
		if f := forward.Failure; f != nil && f.Announced == 0 {
			events = append(events, forwardFailedEvent(m.Account, m.SID, what, *f))
		}
	}
	for _, event := range events {
		sequence, err := e.Streams.Publish(ctx, event)
		if err != nil {
			return err
		}
		if err := e.event(ctx, m.SID, sequence, sum); err != nil {
			return err
		}
	}
	return nil
}

// medium makes sure of a medium's tombstone, also of one that was never stored,
// and removes what it had.
func (e *Eraser) medium(ctx context.Context, m store.Message, sid store.MediaSID, i int, sum *Erased) error {
	now := time.Now().UTC()
	record, created, err := e.Store.CreateMedia(ctx, store.Media{
		Account: m.Account, Message: m.SID, SID: sid, Index: i, DateCreated: m.DateCreated, DateUpdated: now, Deleted: now,
	})
	if err != nil {
		return err
	}
	if record.Deleted.IsZero() {
		record, err = e.Store.UpdateMedia(ctx, m.Account, m.SID, sid, func(m *store.Media) error {
			m.Deleted = now
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := e.Store.DeleteBlobs(ctx, m.Account, m.SID, sid); err != nil {
		return err
	}
	if record.Announced == 0 && record.SHA256 != "" { // as in unannounced
		if record.Announced, err = e.Streams.Publish(ctx, storedEvent(record)); err != nil {
			return err
		}
	}
	if err := e.event(ctx, m.SID, record.Announced, sum); err != nil {
		return err
	}
	if created || record.SHA256 == "" { // it was not stored, or is bare already
		return nil
	}
	sequence, err := e.Streams.Publish(ctx, deletedEvent(record))
	if err != nil {
		return err
	}
	sum.Media++
	sum.Bytes += bytesOf(record)
	_, err = e.Store.UpdateMedia(ctx, m.Account, m.SID, sid, func(m *store.Media) error {
		m.Bare()
		m.Removed = sequence
		return nil
	})
	return err
}

func bytesOf(m store.Media) int64 {
	total := m.Size
	for _, v := range m.Variants {
		total += v.Size
	}
	return total
}

// event removes one of a message's events, if the feed still has it.
func (e *Eraser) event(ctx context.Context, message store.MessageSID, sequence uint64, sum *Erased) error {
	if sequence == 0 {
		return nil
	}
	removed, err := e.Streams.RemoveEvent(ctx, sequence, message)
	if removed {
		sum.Events++
	}
	return err
}

// jobs removes the Jobs of an account that wait in the queue with a message from
// or to a number. Their messages become tombstones first, so that neither a
// worker that has one in hand nor a repeat of the webhook brings it back.
func (e *Eraser) jobs(ctx context.Context, account store.AccountSID, number string, dryRun bool, sum *Erased) error {
	return e.Streams.RemoveJobs(ctx, func(job stream.Job) (bool, error) {
		form, _ := url.ParseQuery(string(job.Data)) // of what is no form there are no numbers
		if job.Account != account || form.Get("From") != number && form.Get("To") != number {
			return false, nil
		}
		sum.Jobs++
		if dryRun {
			return false, nil
		}
		now := time.Now().UTC()
		_, _, err := e.Store.CreateMessage(ctx, store.Message{Account: account, SID: job.Message, DateCreated: now, DateUpdated: now, Deleted: now})
		return true, err
	})
}

// Number removes all messages of an account from or to a number, character for
// character, with their media, their events, and the Jobs that still wait. It is
// to be called again after an error; what is removed then is counted then. With
// dryRun it counts and removes nothing. seen is called after each message.
func (e *Eraser) Number(ctx context.Context, account store.AccountSID, number string, dryRun bool, seen func(Erased)) (Erased, error) {
	var sum Erased
	if number == "" {
		return sum, errors.New("erase: no number")
	}
	if err := e.jobs(ctx, account, number, dryRun, &sum); err != nil {
		return sum, err
	}
	for _, q := range []store.MessageQuery{{Account: account, From: number}, {Account: account, To: number}} {
		if err := e.all(ctx, q, dryRun, &sum, seen); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// Before removes all messages of an account that were received before a time.
func (e *Eraser) Before(ctx context.Context, account store.AccountSID, limit time.Time, dryRun bool, seen func(Erased)) (Erased, error) {
	var sum Erased
	err := e.all(ctx, store.MessageQuery{Account: account, Before: limit}, dryRun, &sum, seen)
	return sum, err
}

// all removes what a query finds.
func (e *Eraser) all(ctx context.Context, q store.MessageQuery, dryRun bool, sum *Erased, seen func(Erased)) error {
	for entry, err := range e.Store.Messages(ctx, q) {
		if err == nil && dryRun {
			sum.Messages++
			sum.Media += entry.Message.NumMedia
		}
		if err == nil && !dryRun {
			err = e.message(ctx, entry, sum)
		}
		if err != nil {
			return err
		}
		seen(*sum)
	}
	return nil
}
