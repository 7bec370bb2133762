package verify

import (
	"context"
	"errors"
	"slices"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// mendMedia makes the records of media anew.
func (a *accountRun) mendMedia(ctx context.Context) error {
	for _, sid := range a.sorted() {
		l := a.messages[sid]
		for _, medium := range l.media {
			f := Finding{Message: sid, Media: medium.key.Media, What: "record", Why: medium.why.Error()}
			if a.Fix {
				var err error
				if f.Done, err = a.mendRecord(ctx, medium.key, l.events); err != nil {
					return err
				}
			}
			a.tell(f)
		}
	}
	return nil
}

// mendRecord makes the record of one medium anew and tells what became of it.
func (a *accountRun) mendRecord(ctx context.Context, key store.MediaKey, events []stream.Entry) (string, error) {
	m, err := a.Store.Message(ctx, key.Account, key.Message)
	switch {
	case errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound):
		return Left, nil // the provider could not be asked for its message
	case err != nil:
		return "", err
	}
	record, told, err := feed.MediaFrom(key, events)
	switch {
	case err != nil:
		return "", err
	case !m.Deleted.IsZero():
		return Mended, a.bury(ctx, key)
	case told:
		record, err := a.Store.RebuildMedia(ctx, record, a.at)
		if err == nil && !record.Deleted.IsZero() {
			err = a.Store.DeleteBlobs(ctx, key)
		}
		return Mended, err
	}
	return a.remake(ctx, m, key)
}

// bury makes sure that nothing is left of a medium whose message was deleted.
func (a *accountRun) bury(ctx context.Context, key store.MediaKey) error {
	_, err := a.Store.DeleteMedia(ctx, key, a.at)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return a.Store.DeleteBlobs(ctx, key)
}

// remake has a worker make a medium again of which only the blobs are left, or puts aside
// what there is. Without its original it may have been deleted: then nothing but a
// person's word brings it back.
func (a *accountRun) remake(ctx context.Context, m store.Message, key store.MediaKey) (string, error) {
	ref := slices.IndexFunc(a.Store.MediaOf(m), func(ref store.MediaRef) bool { return ref.MediaKey == key })
	_, err := a.Store.Media(ctx, key)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing && !errors.Is(err, store.ErrDamaged) {
		return "", err
	}
	original, err := a.Store.HasOriginal(ctx, key)
	if err != nil {
		return "", err
	}
	if ref >= 0 && (missing || original) {
		if err := a.Store.QuarantineRecord(ctx, key, a.at); err != nil {
			return "", err
		}
		_, err := a.Streams.PublishJob(ctx, stream.NewReplay(key.Account, key.Message, "verify:"+a.at.Format("20060102T150405")))
		return Queued, err
	}
	if err := a.Store.QuarantineMedia(ctx, key, a.at); err != nil {
		return "", err
	}
	_, err = a.damage.Note(ctx, store.Media{Account: key.Account, Message: key.Message, SID: key.Media, Index: max(ref, 0)}, "record")
	return Quarantined, err
}

// mendBlobs has the blobs of a medium made again that are not what its record says, or
// puts the medium aside if nobody else has it.
func (a *accountRun) mendBlobs(ctx context.Context, record store.Media, names []string) error {
	done := ""
	if a.Fix {
		queued, err := a.damage.Report(ctx, record, names...)
		switch {
		case errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound): // its message is left
		case err != nil:
			return err
		case queued:
			done = Queued
		case slices.Contains(names, store.Original):
			if err := a.Store.QuarantineMedia(ctx, record.Key(), a.at); err != nil {
				return err
			}
			done = Quarantined
		}
	}
	for _, name := range names {
		a.tell(Finding{Message: record.Message, Media: record.SID, What: name, Why: "it is not what its record says", Done: done})
	}
	return nil
}
