// Package removal removes media and messages for good.
//
// What stays are tombstones and mms.deleted events, which hold SIDs and dates alone:
// they keep a late worker from bringing something back, and tell readers of the feed to
// drop theirs.
//
// # Interruptions
//
// Whoever wants something removed queues a Job of kind [stream.Delete] first. From then
// on the removal is finished whatever happens, because every step may be done again.
package removal

import (
	"context"
	"errors"
	"time"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// Remover removes. Its fields are required.
type Remover struct {
	Store *store.Store
	Feed  *feed.Feed
}

// Handle handles Jobs of kind [stream.Delete].
func (r *Remover) Handle(ctx context.Context, d *stream.Delivery) error {
	deletion, err := d.Deletion()
	if err != nil {
		return err
	}
	var media []store.MediaRef
	for _, sid := range deletion.Media {
		media = append(media, store.MediaRef{MediaKey: store.MediaKey{Account: d.Account, Message: d.Message, Media: sid}})
	}
	if !deletion.Message {
		return r.Media(ctx, media, false, d.Queued)
	}
	m, err := r.Store.Message(ctx, d.Account, d.Message)
	if errors.Is(err, store.ErrNotFound) {
		return r.Media(ctx, media, deletion.Erase, d.Queued)
	}
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	return r.Message(ctx, store.MessageEntry{Message: m}, media, deletion.Erase, d.Queued)
}

// Message removes a message with its media. With erase the feed keeps nothing of it but
// that its media were deleted; otherwise it loses what holds the text and the numbers.
// Found is where the caller found the message: what led there is the last to go, so that
// the message is found again after an interruption. Of a message whose record is damaged
// found has no more than the SIDs: what the feed has of it is looked for.
func (r *Remover) Message(ctx context.Context, found store.MessageEntry, media []store.MediaRef, erase bool, at time.Time) (err error) {
	// 1. The feed loses what the record knows of: readers are told of a deletion when
	// all that is private is gone.
	m := found.Message
	if erase {
		err = r.Feed.Withdraw(ctx, r.Feed.Possible(m, nil)...)
	} else {
		err = r.Feed.WithdrawPrivate(ctx, m)
	}
	if err != nil {
		return err
	}
	// 2. Its media: none can come back from now on.
	if err := r.Media(ctx, media, erase, at); err != nil {
		return err
	}
	// 3. The record becomes a tombstone, which late workers find.
	if erase {
		m, err = r.Store.EraseMessage(ctx, found, at)
	} else {
		m, err = r.Store.DeleteMessage(ctx, m.Account, m.SID, at)
	}
	if err != nil {
		return err
	}
	if m, err = r.Feed.FindMessage(ctx, m); err != nil {
		return err
	}
	// 4. The feed loses what a worker has announced meanwhile: the tombstone names it.
	// Whatever comes later is taken back by who announces it.
	return r.Feed.Clear(ctx, m)
}

// Media removes media, stored or not.
func (r *Remover) Media(ctx context.Context, media []store.MediaRef, erase bool, at time.Time) error {
	for _, ref := range media {
		if err := r.medium(ctx, ref, erase, at); err != nil {
			return err
		}
	}
	return nil
}

// medium removes one medium.
func (r *Remover) medium(ctx context.Context, ref store.MediaRef, erase bool, at time.Time) error {
	// 1. A tombstone, also of what was never stored: a worker that has the medium in
	// hand finds it and stores nothing.
	record, err := r.bury(ctx, ref, at)
	if errors.Is(err, store.ErrDamaged) || err == nil && record.Deleted.IsZero() {
		record, err = r.Store.DeleteMedia(ctx, ref.MediaKey, at)
	}
	if err == nil && record.Announced == 0 && !record.EventsUnknown {
		// An original without a record that names its event: the record was lost, or a
		// worker is about to write it.
		record.EventsUnknown, err = r.Store.HasOriginal(ctx, ref.MediaKey)
	}
	if err == nil {
		record, err = r.Feed.FindMedia(ctx, record)
	}
	if err != nil {
		return err
	}
	// 2. The blobs.
	if err := r.Store.DeleteBlobs(ctx, ref.MediaKey); err != nil {
		return err
	}
	// 3. The feed, which tells what was stored before it tells that it is gone.
	if erase {
		return r.Feed.EraseMedia(ctx, record)
	}
	_, err = r.Feed.AnnounceMedia(ctx, record)
	return err
}

// Unstored clears up what was stored of media that have no record, and keeps them from
// getting one. Those that have one stay as they are.
func (r *Remover) Unstored(ctx context.Context, media []store.MediaRef, at time.Time) error {
	for _, ref := range media {
		record, err := r.bury(ctx, ref, at)
		if err == nil && !record.Deleted.IsZero() {
			err = r.Store.DeleteBlobs(ctx, ref.MediaKey)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bury makes sure that a medium has a record: a tombstone, if there is none.
func (r *Remover) bury(ctx context.Context, ref store.MediaRef, at time.Time) (store.Media, error) {
	record, _, err := r.Store.CreateMedia(ctx, store.Media{
		Account: ref.Account, Message: ref.Message, SID: ref.Media, Index: ref.Index, DateCreated: at, DateUpdated: at, Deleted: at,
	})
	return record, err
}

// ClearUp removes what a try that was late has stored of a message, of which m is the
// tombstone, and what it has announced: what the tombstone names, and the given facts, which
// an earlier try of the same Job may have announced before its process died. Media that are
// no tombstones yet it leaves to the Job that deletes the message. It returns
// [store.ErrDeleted] when that is done.
func (r *Remover) ClearUp(ctx context.Context, m store.Message, besides ...feed.Fact) error {
	if err := r.Store.DeleteAllBlobs(ctx, m.Account, m.SID); err != nil {
		return err
	}
	if err := r.Feed.Clear(ctx, m, besides...); err != nil {
		return err
	}
	return store.ErrDeleted
}
