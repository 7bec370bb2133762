package verify

import (
	"context"
	"errors"
	"slices"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// record makes the record of a medium again, and returns what became of it.
func (r *repairer) record(ctx context.Context, key store.MediaKey, events []stream.Entry) (string, error) {
	m, err := r.Store.Message(ctx, key.Account, key.Message)
	switch {
	case errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound):
		return Left, nil // the provider could not be asked for its message
	case err != nil:
		return "", err
	}
	known, announced, err := feed.MediaFrom(key, events)
	switch {
	case err != nil:
		return "", err
	case !m.Deleted.IsZero():
		return Mended, r.deleteRest(ctx, key)
	case announced:
		rebuilt, err := r.Store.RebuildMedia(ctx, known, r.at)
		if err == nil && !rebuilt.Deleted.IsZero() {
			err = r.Store.DeleteBlobs(ctx, key)
		}
		return Mended, err
	}
	return r.remake(ctx, m, key)
}

// deleteRest deletes what is left of a medium whose message was deleted.
func (r *repairer) deleteRest(ctx context.Context, key store.MediaKey) error {
	_, err := r.Store.DeleteMedia(ctx, key, r.at)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return r.Store.DeleteBlobs(ctx, key)
}

// remake has a worker make a medium again if only its blobs are left, or moves what there
// is into quarantine. A medium without its original may have been deleted: then only a
// person brings it back.
func (r *repairer) remake(ctx context.Context, m store.Message, key store.MediaKey) (string, error) {
	ref := slices.IndexFunc(r.Store.MediaOf(m), func(ref store.MediaRef) bool { return ref.MediaKey == key })
	_, err := r.Store.Media(ctx, key)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing && !errors.Is(err, store.ErrDamaged) {
		return "", err
	}
	original, err := r.Store.HasOriginal(ctx, key)
	if err != nil {
		return "", err
	}
	if ref >= 0 && (missing || original) {
		if err := r.Store.QuarantineRecord(ctx, key, r.at); err != nil {
			return "", err
		}
		_, err := r.Streams.PublishJob(ctx, stream.NewReplay(key.Account, key.Message, "verify:"+r.at.Format("20060102T150405")))
		return Queued, err
	}
	if err := r.Store.QuarantineMedia(ctx, key, r.at); err != nil {
		return "", err
	}
	_, err = r.damage.Note(ctx, store.Media{Account: key.Account, Message: key.Message, SID: key.Media, Index: max(ref, 0)}, "record")
	return Quarantined, err
}

// blobs has the blobs of a medium made again that are not what its record says. If nobody
// else has the original, it moves the medium into quarantine. It returns what became of
// them; nothing if the message's record is damaged or gone.
func (r *repairer) blobs(ctx context.Context, record store.Media, names []string) (string, error) {
	queued, err := r.damage.Report(ctx, record, names...)
	switch {
	case errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case queued:
		return Queued, nil
	case slices.Contains(names, store.Original):
		return Quarantined, r.Store.QuarantineMedia(ctx, record.Key(), r.at)
	}
	return "", nil
}
