package feed

import (
	"context"
	"slices"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// searchPage is how many events are read at once.
const searchPage = 1000

// Search returns all events of a message and its media that the feed keeps, in their
// order. It reads the account's whole feed: it is for a message whose record is damaged
// and does not name them.
func (f *Feed) Search(ctx context.Context, account store.AccountSID, message store.MessageSID) ([]stream.Entry, error) {
	var found []stream.Entry
	for after := uint64(0); ; {
		entries, err := f.streams.Events(ctx, stream.Query{Account: account, After: after}, searchPage)
		if err != nil || len(entries) == 0 {
			return found, err
		}
		for _, entry := range entries {
			if entry.Message == message {
				found = append(found, entry)
			}
			after = entry.Sequence
		}
	}
}

// FindMessage makes sure that a tombstone names all events of its message that the feed
// has, where the record was damaged and could not say: see
// [store.Message.EventsUnknown]. Those of its media are named by their own tombstones.
func (f *Feed) FindMessage(ctx context.Context, m store.Message) (store.Message, error) {
	if !m.EventsUnknown {
		return m, nil
	}
	entries, err := f.Search(ctx, m.Account, m.SID)
	if err != nil {
		return m, err
	}
	return f.store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		m.EventsUnknown = false
		for _, entry := range entries {
			switch {
			case entry.ID == f.received(*m).ID:
				m.Announced = entry.Sequence
			case !ofAnyMedium(entry) && !slices.Contains(m.Events, entry.Sequence):
				m.Events = append(m.Events, entry.Sequence)
			}
		}
		return nil
	})
}

// ofAnyMedium tells whether the record of a medium is the one that names an event.
func ofAnyMedium(entry stream.Entry) bool {
	return slices.Contains([]string{stream.EventStored, stream.EventDeleted, stream.EventUpstreamDeleted}, entry.Type)
}

// FindMedia is [Feed.FindMessage] for the tombstone of a medium.
func (f *Feed) FindMedia(ctx context.Context, m store.Media) (store.Media, error) {
	if !m.EventsUnknown {
		return m, nil
	}
	entries, err := f.Search(ctx, m.Account, m.Message)
	if err != nil {
		return m, err
	}
	return f.store.UpdateMedia(ctx, m.Key(), func(m *store.Media) error {
		m.EventsUnknown = false
		noted(m, entries)
		return nil
	})
}

// noted writes into the record of a medium where those of its events stand that are among
// some of its message.
func noted(m *store.Media, entries []stream.Entry) {
	for _, fact := range []Fact{stored(*m), upstreamDeleted(*m), deleted(*m)} {
		for _, entry := range entries {
			if entry.ID != fact.ID {
				continue
			}
			switch entry.Type {
			case stream.EventStored:
				m.Announced = entry.Sequence
			case stream.EventUpstreamDeleted:
				m.UpstreamAnnounced = entry.Sequence
			case stream.EventDeleted:
				m.Removed = entry.Sequence
			}
		}
	}
}
