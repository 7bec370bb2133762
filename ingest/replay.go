package ingest

import (
	"context"
	"errors"
	"slices"

	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// replay does the work of a message again, from its record: media that failed are
// tried again, what is stored is verified, and what was lost is fetched again. A
// message without a record is made from what the provider's API knows of it.
func (w *Worker) replay(ctx context.Context, d *stream.Delivery) outcome {
	message, err := w.Store.Message(ctx, d.Account, d.Message)
	switch {
	case errors.Is(err, store.ErrNotFound) && w.API == nil:
		zerolog.Ctx(ctx).Error().Msg("message to be replayed is not known")
		return outcome{}
	case errors.Is(err, store.ErrNotFound):
		message, err = w.recall(ctx, d)
	case err == nil && message.Outgoing == nil && w.API != nil && string(d.Data) == stream.FromUpstream:
		message, err = w.complete(ctx, message)
	}
	switch result := w.judge(ctx, d, err); {
	case result.verb == failed:
		return w.judge(ctx, d, w.reportRefusal(ctx, d, err))
	case result.verb != done:
		return result
	case !message.Deleted.IsZero():
		return w.judge(ctx, d, w.clear(ctx, d)) // nothing of a tombstone is worked on
	}
	if message.Outgoing != nil {
		if string(d.Data) == stream.SendAgain {
			message, err = w.sendAgain(ctx, d, message)
		}
		if err != nil {
			return w.judge(ctx, d, err)
		}
		return w.advance(ctx, d, message)
	}
	hook, err := parseWebhook(message.Form)
	if err == nil {
		message, err = w.announceMessage(ctx, message)
	}
	if err != nil {
		return w.judge(ctx, d, err)
	}
	return w.media(ctx, d, hook, message)
}

// clearDamage removes the blobs of a record that are not what it says, so that
// they can be made again. Without its original a medium is fetched anew.
func (w *Worker) clearDamage(ctx context.Context, record store.Media) (damaged bool, err error) {
	if !record.Deleted.IsZero() {
		return false, nil
	}
	names, err := w.Store.Damaged(ctx, record)
	if err != nil || len(names) == 0 {
		return false, err
	}
	if slices.Contains(names, store.Original) && !record.UpstreamDeleted.IsZero() {
		// Nobody has another copy: what is left of it is better than nothing.
		zerolog.Ctx(ctx).Error().Strs("blobs", names).Msg("medium is damaged and upstream's copy is deleted; it stays as it is")
		return false, nil
	}
	zerolog.Ctx(ctx).Error().Strs("blobs", names).Msg("medium is damaged; it is made again")
	if slices.Contains(names, store.Original) {
		return true, w.Store.DeleteBlobs(ctx, record.Account, record.Message, record.SID)
	}
	for _, name := range names {
		if err := w.Store.DeleteBlob(ctx, record.Account, record.Message, record.SID, name); err != nil {
			return true, err
		}
	}
	return true, nil
}

// replaceMedia stores what was made again in place of a damaged record. It is
// announced again only if it is not what was announced.
func (w *Worker) replaceMedia(ctx context.Context, again store.Media) (stored store.Media, changed bool, err error) {
	stored, err = w.Store.UpdateMedia(ctx, again.Account, again.Message, again.SID, func(m *store.Media) error {
		if !m.Deleted.IsZero() {
			return errUnchanged
		}
		if m.SHA256 != again.SHA256 {
			m.Announced = 0
		}
		m.ContentType, m.Blob, m.Width, m.Height, m.Variants, m.Note = again.ContentType, again.Blob, again.Width, again.Height, again.Variants, again.Note
		m.DateUpdated = again.DateUpdated
		return nil
	})
	if errors.Is(err, errUnchanged) {
		stored, err = w.Store.Media(ctx, again.Account, again.Message, again.SID)
		return stored, false, err
	}
	return stored, err == nil, err
}
