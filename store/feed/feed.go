// Package feed tells what happened to messages and media: it knows every fact that
// there is, announces it as an event, and takes it back when it may not stay.
//
// # Facts come from records
//
// Who makes something happen writes it into the record first: a medium that is stored,
// a failure, the provider's SID. [Feed.Of] reads from the records which facts a message
// has, and [Feed.Announce] publishes those that are not in the feed yet and notes their
// sequences in the same records. So a fact is announced exactly once whoever is
// interrupted where: whoever comes next announces what is missing. Nobody else
// publishes events. A new kind of event is a new constructor in this package.
//
// # What is taken back
//
// A message may be deleted at any moment. Whatever is announced of it just then is
// taken out of the feed again before [Feed.Announce] returns, and its tombstone names
// the event until that is done: an error means that it is still there, and that the
// call is to be repeated.
package feed

import (
	"context"
	"errors"
	"slices"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// Feed announces facts and takes them back. It may be used from many goroutines.
type Feed struct {
	store   *store.Store
	streams *stream.Streams
}

// New returns a Feed of what the records of s say.
func New(s *store.Store, streams *stream.Streams) *Feed { return &Feed{store: s, streams: streams} }

// ErrSuperseded says that a fact was not true any more when it was announced. Its event
// was taken back.
var ErrSuperseded = errors.New("another worker has taken the message further")

// Announce makes sure that the feed has every fact that the record of a message
// implies, and those given besides. It returns the record with their sequences, or m
// itself if there is no such record: then the facts are in the feed and noted nowhere.
// Of a message without a record m has no more than the SIDs, and implies nothing.
//
// Where the message was deleted meanwhile the error is [store.ErrDeleted], and where one
// of the facts was overtaken [ErrSuperseded]; their events are taken back by then. After
// any other error it is to be called again.
func (f *Feed) Announce(ctx context.Context, m store.Message, besides ...Fact) (store.Message, error) {
	var told []Fact
	for _, fact := range append(f.ofMessage(m), besides...) {
		if fact.Sequence != 0 {
			continue
		}
		var err error
		if fact.Sequence, err = f.streams.Publish(ctx, fact.Event); err != nil {
			return m, err
		}
		told = append(told, fact)
	}
	if len(told) == 0 {
		return m, nil
	}
	stored, superseded, err := f.note(ctx, m, told)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return m, nil
	case err != nil:
		return m, err
	case !stored.Deleted.IsZero():
		return stored, f.takeBack(ctx, told, store.ErrDeleted)
	case len(superseded) > 0:
		return stored, f.takeBack(ctx, superseded, ErrSuperseded)
	}
	return stored, nil
}

// takeBack takes facts out of the feed and returns why, or the error that kept it from
// that.
func (f *Feed) takeBack(ctx context.Context, facts []Fact, why error) error {
	if err := f.Withdraw(ctx, facts...); err != nil {
		return err
	}
	return why
}

// note writes the sequences of facts into their message's record. Those that have no
// place in it stand among its other events; of these, private ones are superseded.
func (f *Feed) note(ctx context.Context, m store.Message, told []Fact) (stored store.Message, superseded []Fact, err error) {
	stored, err = f.store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		superseded = nil
		unchanged := store.ErrUnchanged
		for _, fact := range told {
			switch {
			case fact.note != nil && fact.note(m, fact.Sequence):
				unchanged = nil
				continue
			case !slices.Contains(m.OtherEvents(), fact.Sequence):
				m.Events = append(m.Events, fact.Sequence)
				unchanged = nil
			}
			if fact.private {
				superseded = append(superseded, fact)
			}
		}
		return unchanged
	})
	return stored, superseded, err
}

// AnnounceMedia is [Feed.Announce] for a Media record: stored, its copy upstream deleted,
// deleted, in this order. The blobs of a tombstone must be gone. A fact that comes later
// than the deletion was announced is taken back.
func (f *Feed) AnnounceMedia(ctx context.Context, m store.Media) (store.Media, error) {
	return f.announceMedia(ctx, m, ofMedia(m))
}

// EraseMedia takes out of the feed what it has of a medium, of which m is the tombstone,
// and announces that it was deleted.
func (f *Feed) EraseMedia(ctx context.Context, m store.Media) error {
	var last []Fact
	for _, fact := range possibleOfMedia(m) {
		if fact.Type == stream.EventDeleted {
			last = append(last, fact)
		} else if err := f.Withdraw(ctx, fact); err != nil {
			return err
		}
	}
	_, err := f.announceMedia(ctx, m, last)
	return err
}

func (f *Feed) announceMedia(ctx context.Context, m store.Media, facts []Fact) (store.Media, error) {
	for _, fact := range facts {
		if fact.Sequence != 0 {
			continue
		}
		sequence, err := f.streams.Publish(ctx, fact.Event)
		if err != nil {
			return m, err
		}
		late := false
		m, err = f.store.UpdateMedia(ctx, m.Key(), func(m *store.Media) error {
			late = m.Removed != 0 && !slices.Contains([]uint64{m.Announced, m.UpstreamAnnounced, m.Removed}, sequence)
			fact.noteMedia(m, sequence)
			return nil
		})
		if err != nil {
			return m, err
		}
		if fact.Sequence = sequence; late {
			if err := f.Withdraw(ctx, fact); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

// Withdraw takes facts out of the feed. Of a fact that no record names yet a worker may
// have published the event and died: it is looked for, and a worker that is late cannot
// publish it any more for [stream.DuplicateWindow].
func (f *Feed) Withdraw(ctx context.Context, facts ...Fact) error {
	for _, fact := range facts {
		if fact.Sequence == 0 {
			// To publish it again tells where it is. What is published if it was not
			// there says nothing, and is true of a message that is being removed.
			var err error
			if fact.Sequence, err = f.streams.Publish(ctx, fact.bare()); err != nil {
				return err
			}
		}
		if _, err := f.streams.RemoveEvent(ctx, fact.Sequence, fact.Message); err != nil {
			return err
		}
	}
	return nil
}

// Clear takes out of the feed what must not outlive a message, of which m is the
// tombstone: everything of one that was erased, and of any other the text, the numbers
// and the links to its media. Besides are facts that the caller may have announced and no
// record implies. Doing it again is harmless.
func (f *Feed) Clear(ctx context.Context, m store.Message, besides ...Fact) error {
	if m.Erased {
		return f.Withdraw(ctx, append(f.ofMessage(m), besides...)...)
	}
	return f.WithdrawPrivate(ctx, m)
}

// WithdrawPrivate takes out of the feed what it has of a message's text and numbers,
// and of links to its media. The message may be a tombstone.
func (f *Feed) WithdrawPrivate(ctx context.Context, m store.Message) error {
	if m.Direction == store.Inbound {
		return nil
	}
	found := false
	for _, fact := range f.ofMessage(m) { // a tombstone does not tell which event is which
		if fact.Type == "" {
			entry, err := f.streams.Event(ctx, fact.Sequence)
			if err != nil && !errors.Is(err, stream.ErrNotKept) {
				return err
			}
			fact.private = err == nil && entry.Type == stream.EventReady
		}
		if !fact.private {
			continue
		}
		found = true
		if err := f.Withdraw(ctx, fact); err != nil {
			return err
		}
	}
	if found || m.Deleted.IsZero() {
		return nil
	}
	return f.Withdraw(ctx, unnotedReady(m))
}

// Restore compares the records of a message and its media with the feed, and announces
// again what was announced and is not there. It counts those events. The ready event of
// a message that still waits for a sender is not announced here: it is noted as
// missing, and whoever works on the message again makes it anew.
func (f *Feed) Restore(ctx context.Context, m store.Message, media []store.Media) (lost int, err error) {
	lost, err = f.restoreMessage(ctx, m)
	if err != nil {
		return lost, err
	}
	for _, medium := range media {
		n, err := f.restoreMedia(ctx, medium)
		lost += n
		if err != nil {
			return lost, err
		}
	}
	return lost, nil
}

func (f *Feed) restoreMessage(ctx context.Context, m store.Message) (int, error) {
	lost, err := f.lost(ctx, slices.DeleteFunc(f.ofMessage(m), func(fact Fact) bool { return fact.Data == nil }))
	if err == nil && waits(m) {
		var ready []Fact
		ready, err = f.lost(ctx, []Fact{notedReady(m)})
		lost = append(lost, ready...)
	}
	if err != nil || len(lost) == 0 {
		return 0, err
	}
	m, err = f.store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return store.ErrUnchanged
		}
		for _, fact := range lost {
			fact.note(m, 0)
		}
		return nil
	})
	if err != nil || !m.Deleted.IsZero() {
		return 0, err
	}
	if _, err = f.Announce(ctx, m); errors.Is(err, store.ErrDeleted) {
		return 0, nil
	}
	return len(lost), err
}

// waits tells whether an outgoing message that was ready still waits for a sender.
func waits(m store.Message) bool {
	return m.Outgoing != nil && m.Outgoing.Ready != 0 && m.Outgoing.Upstream.IsZero() && (m.Status == "queued" || m.Status == "accepted")
}

func (f *Feed) restoreMedia(ctx context.Context, m store.Media) (int, error) {
	lost, err := f.lost(ctx, slices.DeleteFunc(ofMedia(m), func(fact Fact) bool { return fact.Data == nil }))
	if err != nil || len(lost) == 0 {
		return 0, err
	}
	m, err = f.store.UpdateMedia(ctx, m.Key(), func(m *store.Media) error {
		for _, fact := range lost {
			fact.noteMedia(m, 0)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	_, err = f.AnnounceMedia(ctx, m)
	return len(lost), err
}

// lost are the facts among those given that were announced and are not in the feed.
func (f *Feed) lost(ctx context.Context, facts []Fact) ([]Fact, error) {
	var lost []Fact
	for _, fact := range facts {
		if fact.Sequence == 0 {
			continue
		}
		entry, err := f.streams.Event(ctx, fact.Sequence)
		if err != nil && !errors.Is(err, stream.ErrNotKept) {
			return nil, err
		}
		if err != nil || entry.ID != fact.ID {
			lost = append(lost, fact)
		}
	}
	return lost, nil
}
