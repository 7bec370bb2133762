package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// feedPage is how many events are read at once.
const feedPage = 1000

func (a *accountRun) findFirstEvent(ctx context.Context) error {
	entries, err := a.Streams.Events(ctx, stream.Query{}, 1)
	if len(entries) > 0 {
		a.first = entries[0].Sequence
	}
	return err
}

// readMessages reads the records of all messages, and compares them with what is made of
// them.
func (a *accountRun) readMessages(ctx context.Context) error {
	for sid, err := range a.Store.MessageKeys(ctx, a.account) {
		if err != nil {
			return err
		}
		m, err := a.Store.Message(ctx, a.account, sid)
		switch {
		case errors.Is(err, store.ErrNotFound): // removed since it was listed
			continue
		case errors.Is(err, store.ErrDamaged):
			a.lost(sid).record = err
		case err != nil:
			return err
		case m.Deleted.IsZero():
			if err := a.readMessage(ctx, m); err != nil {
				return err
			}
		}
		a.Messages++
		a.progress()
	}
	return nil
}

// readMessage compares a record with the message's claim, events and media.
func (a *accountRun) readMessage(ctx context.Context, m store.Message) error {
	if err := a.checkClaim(ctx, m); err != nil {
		return err
	}
	media, err := a.Store.ListMediaRecords(ctx, m.Account, m.SID)
	damaged := errors.Is(err, store.ErrDamaged)
	if err != nil && !damaged {
		return err
	}
	if err := a.checkEvents(ctx, m, media); err != nil {
		return err
	}
	if damaged || m.Outgoing != nil { // or it has media only when it is ready
		return nil
	}
	for _, ref := range a.Store.MediaOf(m) {
		_, failed := m.Failures[ref.Media]
		here := slices.ContainsFunc(media, func(record store.Media) bool { return record.SID == ref.Media || record.Index == ref.Index })
		if failed || here {
			continue
		}
		if busy, err := a.Streams.Queued(ctx, m.Account, m.SID); err != nil || busy {
			return err
		}
		a.addLostMedia(ref.MediaKey, errMissing)
	}
	return nil
}

// addLostMedia notes a medium whose record is lost, once.
func (a *accountRun) addLostMedia(key store.MediaKey, why error) {
	l := a.lost(key.Message)
	if !slices.ContainsFunc(l.media, func(other lostMedia) bool { return other.key == key }) {
		l.media = append(l.media, lostMedia{key, why})
	}
}

// checkClaim makes sure that the provider's message is known to be this one.
func (a *accountRun) checkClaim(ctx context.Context, m store.Message) error {
	if m.Outgoing == nil || m.Outgoing.Upstream.IsZero() {
		return nil
	}
	owner, err := a.Store.Claimed(ctx, m.Account, m.Outgoing.Upstream)
	switch {
	case err == nil && owner == m.SID:
		return nil
	case err == nil:
		err = fmt.Errorf("it names %s", owner)
	case errors.Is(err, store.ErrNotFound):
		err = errMissing
	case !errors.Is(err, store.ErrDamaged):
		return err
	}
	f := Finding{Message: m.SID, What: "claim", Why: err.Error()}
	if a.Fix {
		if err := a.Store.RestoreClaim(ctx, m, a.repair.at); err != nil {
			return err
		}
		f.Done = Mended
	}
	a.report(f)
	return nil
}

// checkEvents makes sure that the feed has the events that the records of a message name,
// as far back as it reaches.
func (a *accountRun) checkEvents(ctx context.Context, m store.Message, media []store.Media) error {
	if a.first == 0 || m.Announced < a.first {
		return nil
	}
	n, err := a.Feed.Lost(ctx, m, media)
	if err != nil || n == 0 {
		return err
	}
	f := Finding{Message: m.SID, What: "events", Why: fmt.Sprintf("%d are not in the feed", n)}
	if a.Fix {
		if _, err := a.Feed.Restore(ctx, m, media); err != nil {
			return err
		}
		f.Done = Mended
	}
	a.report(f)
	return nil
}

// readMedia reads the records of all media.
func (a *accountRun) readMedia(ctx context.Context) error {
	var message store.MessageSID
	for key, err := range a.Store.MediaKeys(ctx, a.account, store.MessageSID{}, store.MediaKey{}) {
		if err != nil {
			return err
		}
		if key.Message != message {
			message = key.Message
			if err := a.checkMessage(ctx, message); err != nil {
				return err
			}
		}
		if err := a.checkMedia(ctx, key); err != nil {
			return err
		}
		a.progress()
	}
	return nil
}

// checkMessage makes sure that a message has a record.
func (a *accountRun) checkMessage(ctx context.Context, sid store.MessageSID) error {
	_, err := a.Store.Message(ctx, a.account, sid)
	if errors.Is(err, store.ErrDamaged) {
		a.lost(sid).record = err
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if busy, err := a.Streams.Queued(ctx, a.account, sid); err != nil || busy {
		return err // a Job that deletes it may come before any record
	}
	a.lost(sid).record, a.lost(sid).missing = errMissing, true
	return nil
}

// checkMedia makes sure that a medium has a record, or is a failure of its message, as one
// in quarantine is.
func (a *accountRun) checkMedia(ctx context.Context, key store.MediaKey) error {
	_, err := a.Store.Media(ctx, key)
	if errors.Is(err, store.ErrDamaged) {
		a.addLostMedia(key, err)
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if m, err := a.Store.Message(ctx, a.account, key.Message); err == nil && m.Failures[key.Media].Reason != "" {
		return nil
	}
	if busy, err := a.Streams.Queued(ctx, a.account, key.Message); err != nil || busy {
		return err // a worker puts the blobs before the record
	}
	a.addLostMedia(key, errMissing)
	return nil
}

// readFeed makes sure that what the feed tells has a record, and gathers what it tells of
// messages that have lost theirs.
func (a *accountRun) readFeed(ctx context.Context) error {
	for q := (stream.Query{Account: a.account}); ; {
		entries, err := a.Streams.Events(ctx, q, feedPage)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, entry := range entries {
			if err := a.readEvent(ctx, entry); err != nil {
				return err
			}
			q.After = entry.Sequence
			a.Events++
		}
		a.progress()
	}
}

func (a *accountRun) readEvent(ctx context.Context, entry stream.Entry) error {
	var err error
	switch entry.Type {
	case stream.EventReceived:
		err = a.checkMessage(ctx, entry.Message)
	case stream.EventStored:
		var e struct {
			Data struct{ MediaSID store.MediaSID }
		}
		if err = json.Unmarshal(entry.JSON, &e); err != nil {
			return fmt.Errorf("event %d: %w", entry.Sequence, err)
		}
		if err = a.checkMessage(ctx, entry.Message); err == nil {
			err = a.checkMedia(ctx, store.MediaKey{Account: a.account, Message: entry.Message, Media: e.Data.MediaSID})
		}
	}
	if l := a.messages[entry.Message]; l != nil {
		l.events = append(l.events, entry)
	}
	return err
}

// readBlobs compares all blobs with their records.
func (a *accountRun) readBlobs(ctx context.Context) error {
	for key, err := range a.Store.MediaKeys(ctx, a.account, store.MessageSID{}, store.MediaKey{}) {
		if err != nil {
			return err
		}
		record, names, err := damagedBlobs(ctx, a.Store, a.Streams, key)
		if err != nil {
			return err
		}
		a.Media++
		a.Bytes += record.TotalSize()
		if len(names) > 0 {
			if err := a.repairBlobs(ctx, record, names); err != nil {
				return err
			}
		}
		a.progress()
	}
	return nil
}

// damagedBlobs reads all blobs of a medium and names those that are not what its record
// says. There are none if it has no record, a damaged one or a tombstone, or is being
// worked on.
func damagedBlobs(ctx context.Context, s *store.Store, streams *stream.Streams, key store.MediaKey) (store.Media, []string, error) {
	record, err := s.Media(ctx, key)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) || err == nil && !record.Deleted.IsZero() {
		return store.Media{}, nil, nil
	}
	if err != nil {
		return record, nil, err
	}
	names, err := s.Damaged(ctx, record)
	if err != nil || len(names) == 0 {
		return record, nil, err
	}
	again, err := s.Media(ctx, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && again.Revision != record.Revision {
		return record, nil, nil
	}
	if err != nil {
		return record, nil, err
	}
	busy, err := streams.Queued(ctx, key.Account, key.Message)
	if err != nil || busy {
		return record, nil, err
	}
	slices.Sort(names)
	return record, names, nil
}

// verifyIndex compares the index with the records. Entries that lead nowhere are no damage:
// whoever is interrupted leaves some.
func (a *accountRun) verifyIndex(ctx context.Context) error {
	r, err := a.Store.RebuildIndex(ctx, a.account, !a.Fix, func(int) { a.progress() })
	if r.Added == 0 {
		return err
	}
	f := Finding{What: "index", Why: fmt.Sprintf("entries missing: %d", r.Added)}
	if a.Fix {
		f.Done = Mended
	}
	a.report(f)
	return err
}
