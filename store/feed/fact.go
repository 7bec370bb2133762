package feed

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// Fact is something that happened to a message or to one of its media.
type Fact struct {
	// Event is how the feed tells it. Its ID and Type are empty of a fact of which a
	// record keeps the sequence alone.
	stream.Event
	Sequence uint64 // in the feed; 0 if no record names it yet

	// note writes the sequence to its place in a Message record, and tells whether
	// the fact still has one there. A nil note has none.
	note      func(*store.Message, uint64) bool
	noteMedia func(*store.Media, uint64) // the same, in a Media record
	private   bool                       // it holds numbers and text
}

// bare is the same fact to the server, and says that its message is being removed.
func (f Fact) bare() stream.Event {
	return stream.Event{
		Type: stream.EventDeleted, Account: f.Account, Message: f.Message, Media: f.Media, ID: f.ID, Time: f.Time,
		Data: deletedData{AccountSID: f.Account, MessageSID: f.Message, MediaSID: f.Media},
	}
}

// Of returns the facts that the records of a message and of its media imply, in the
// order in which they happened as far as the records tell. Those that are not announced
// yet have no Sequence.
func (f *Feed) Of(m store.Message, media []store.Media) []Fact {
	facts := f.ofMessage(m)
	for _, medium := range media {
		facts = append(facts, ofMedia(medium)...)
	}
	return facts
}

// Possible returns the facts of [Feed.Of], and the one that may be in the feed without
// a record that says so: that the message is ready.
func (f *Feed) Possible(m store.Message, media []store.Media) []Fact {
	facts := f.Of(m, media)
	if m.Outgoing != nil && m.Outgoing.Ready == 0 {
		facts = append(facts, unnotedReady(m))
	}
	return facts
}

func (f *Feed) ofMessage(m store.Message) []Fact {
	if m.DateCreated.IsZero() {
		return nil // it has no record
	}
	var facts []Fact
	if m.Deleted.IsZero() || m.Announced != 0 {
		facts = append(facts, f.received(m))
	}
	for _, media := range slices.SortedFunc(maps.Keys(m.Failures), compare) {
		facts = append(facts, mediaFailed(m, media))
	}
	if m.Unreadable != nil {
		facts = append(facts, unreadable(m))
	}
	if out := m.Outgoing; out != nil {
		if out.Ready != 0 {
			facts = append(facts, notedReady(m))
		}
		if !out.Upstream.IsZero() {
			facts = append(facts, f.sent(m))
		}
		if out.Failure != nil {
			facts = append(facts, notSent(m))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Forwards)) {
		if m.Forwards[name].Failure != nil {
			facts = append(facts, notForwarded(m, name))
		}
	}
	for _, sequence := range m.Events {
		if sequence != 0 {
			facts = append(facts, Fact{Event: stream.Event{Account: m.Account, Message: m.SID}, Sequence: sequence})
		}
	}
	return facts
}

func compare(a, b store.MediaSID) int { return strings.Compare(a.String(), b.String()) }

func ofMedia(m store.Media) []Fact {
	var facts []Fact
	if m.SHA256 != "" || m.Announced != 0 {
		facts = append(facts, stored(m))
	}
	if m.UpstreamAnnounced != 0 || !m.UpstreamDeleted.IsZero() && m.Deleted.IsZero() {
		facts = append(facts, upstreamDeleted(m))
	}
	if !m.Deleted.IsZero() && (m.SHA256 != "" || m.Announced != 0 || m.Removed != 0) {
		facts = append(facts, deleted(m))
	}
	return facts
}

// possibleOfMedia returns the facts of a medium's record, and the one that may be in the
// feed without a tombstone that says so: that its copy at the provider was deleted.
func possibleOfMedia(m store.Media) []Fact {
	facts := ofMedia(m)
	if !m.Deleted.IsZero() && !m.UpstreamDeleted.IsZero() && m.UpstreamAnnounced == 0 {
		facts = slices.Insert(facts, 0, upstreamDeleted(m))
	}
	return facts
}

// about is the event of a fact about a message.
func about(m store.Message, kind, id string, at time.Time, data any) stream.Event {
	return stream.Event{Type: kind, Account: m.Account, Message: m.SID, ID: id, Time: at, Data: data}
}

func (f *Feed) received(m store.Message) Fact {
	from, to := f.store.Parties(m)
	return Fact{
		Event: about(m, stream.EventReceived, fmt.Sprintf("received:%s:%s", m.Account, m.SID), m.DateCreated, receivedData{
			AccountSID: m.Account, MessageSID: m.SID, Direction: m.Direction,
			FromHash: from, ToHash: to, NumMedia: m.NumMedia,
		}),
		Sequence: m.Announced,
		note:     func(m *store.Message, sequence uint64) bool { m.Announced = sequence; return true },
	}
}

// mediaFailed says that a medium was given up. Its id names the Job, so that a medium
// that fails again when it is replayed is another fact.
func mediaFailed(m store.Message, media store.MediaSID) Fact {
	failure := m.Failures[media]
	try := failure.Job
	if try == 0 { // not a Job's, but an operator's
		try = uint64(failure.Date.UnixNano())
	}
	data := failedOf(m, failure)
	data.MediaSID, data.Index = &media, failure.Index
	event := about(m, stream.EventFailed, fmt.Sprintf("failed:%s:%s:%s:%d", m.Account, m.SID, media, try), failure.Date, data)
	event.Media = media
	return Fact{Event: event, Sequence: failure.Announced, note: func(m *store.Message, sequence uint64) bool {
		now, ok := m.Failures[media]
		if !ok || !now.Is(failure) { // it was stored meanwhile, or given up by another Job
			return false
		}
		now.Announced = sequence
		m.Failures[media] = now
		return true
	}}
}

// Leaving is one medium of an outgoing message that is ready.
type Leaving struct {
	MediaSID    store.MediaSID `json:"mediaSid"`
	ContentType string         `json:"contentType"`
	Bytes       int64          `json:"bytes"`
	URL         string         `json:"url"` // a signed link
}

// Ready says that all media of an outgoing message can be had, since a time. Relay
// tells whether mmspipe sends the message itself. It is the only fact with text and
// numbers in it: its event stays no longer than the record names it.
func Ready(m store.Message, at time.Time, media []Leaving, relay bool) Fact {
	fact := unnotedReady(m)
	fact.Time, fact.Data, fact.Sequence = at, readyData{
		AccountSID: m.Account, MessageSID: m.SID, To: m.To, From: m.From, MessagingServiceSID: m.Form.Get("MessagingServiceSid"),
		Body: m.Body, Profile: m.Outgoing.Profile, Media: media, Relay: relay,
	}, m.Outgoing.Ready
	return fact
}

// unnotedReady is that a message is ready, as far as the server knows it again.
func unnotedReady(m store.Message) Fact {
	return Fact{
		Event:   about(m, stream.EventReady, fmt.Sprintf("ready:%s:%s", m.Account, m.SID), m.DateCreated, nil),
		private: true,
		note: func(m *store.Message, sequence uint64) bool {
			if m.Outgoing == nil || m.Outgoing.Failure != nil {
				return false
			}
			m.Outgoing.Ready = sequence
			return true
		},
	}
}

func notedReady(m store.Message) Fact {
	fact := unnotedReady(m)
	fact.Sequence = m.Outgoing.Ready
	return fact
}

func (f *Feed) sent(m store.Message) Fact {
	from, to := f.store.Parties(m)
	return Fact{
		Event: about(m, stream.EventSent, fmt.Sprintf("sent:%s:%s", m.Account, m.SID), m.DateUpdated, sentData{
			AccountSID: m.Account, MessageSID: m.SID, UpstreamSID: m.Outgoing.Upstream,
			FromHash: from, ToHash: to, NumMedia: m.NumMedia,
		}),
		Sequence: m.Outgoing.Sent,
		note: func(m *store.Message, sequence uint64) bool {
			if m.Outgoing == nil {
				return false
			}
			m.Outgoing.Sent = sequence
			return true
		},
	}
}

// notSent says that an outgoing message was given up.
func notSent(m store.Message) Fact {
	failure := *m.Outgoing.Failure
	fact := Failed(m, failure)
	fact.note = func(m *store.Message, sequence uint64) bool {
		if m.Outgoing == nil || m.Outgoing.Failure == nil || !m.Outgoing.Failure.Is(failure) {
			return false
		}
		m.Outgoing.Failure.Announced = sequence
		return true
	}
	return fact
}

// unreadable says that a job about a message could not be read.
func unreadable(m store.Message) Fact {
	failure := m.Unreadable.Failure
	fact := Failed(m, failure)
	fact.note = func(m *store.Message, sequence uint64) bool {
		if m.Unreadable == nil || !m.Unreadable.Is(failure) {
			return false
		}
		m.Unreadable.Announced = sequence
		return true
	}
	return fact
}

// Failed says that a message was given up of which there may be no record.
func Failed(m store.Message, failure store.Failure) Fact {
	id := fmt.Sprintf("failed:%s:%s:%d", m.Account, m.SID, failure.Job)
	return Fact{Event: about(m, stream.EventFailed, id, failure.Date, failedOf(m, failure)), Sequence: failure.Announced}
}

func notForwarded(m store.Message, name string) Fact {
	failure := *m.Forwards[name].Failure
	fact := ForwardFailed(m, name, failure)
	fact.note = func(m *store.Message, sequence uint64) bool {
		forward, ok := m.Forwards[name]
		if !ok || forward.Failure == nil || !forward.Failure.Is(failure) { // it was posted meanwhile, or given up by another Job
			return false
		}
		now := *forward.Failure
		now.Announced = sequence
		forward.Failure = &now
		m.Forwards[name] = forward
		return true
	}
	return fact
}

// ForwardFailed says that an application did not take a webhook, by its name among the
// forwards of a message of which there may be no record.
func ForwardFailed(m store.Message, name string, failure store.Failure) Fact {
	id := fmt.Sprintf("failed:%s:%s:forward:%s:%d", m.Account, m.SID, name, failure.Job)
	return Fact{Event: about(m, stream.EventFailed, id, failure.Date, failedOf(m, failure)), Sequence: failure.Announced}
}

// Conflict says that a webhook repeats a MessageSid with other content, whose
// fingerprint is given. Only the names of what differs are told.
func Conflict(m store.Message, fingerprint string, at time.Time, attempts int, differs []string) Fact {
	id := fmt.Sprintf("failed:in:%s:%s:%s", m.Account, m.SID, fingerprint)
	return Fact{Event: about(m, stream.EventFailed, id, at, failedOf(m, store.Failure{
		Reason: store.ReasonConflict, Detail: "a repeat differs in " + strings.Join(differs, ", "), Attempts: attempts,
	}))}
}

// Status says that a message reached one of the provider's statuses. A status is one
// fact, however often its callback comes.
func Status(m store.Message, status, errorCode string, at time.Time) Fact {
	id := fmt.Sprintf("st:%s:%s:%s", m.Account, m.SID, status)
	return Fact{Event: about(m, stream.EventStatus, id, at, statusData{AccountSID: m.Account, MessageSID: m.SID, Status: status, ErrorCode: errorCode})}
}

// ofMedium is the event of a fact about a medium.
func ofMedium(m store.Media, kind, name string, at time.Time, data any) stream.Event {
	return stream.Event{
		Type: kind, Account: m.Account, Message: m.Message, Media: m.SID,
		ID: fmt.Sprintf("%s:%s:%s:%s", name, m.Account, m.Message, m.SID), Time: at, Data: data,
	}
}

func stored(m store.Media) Fact {
	fact := Fact{
		Event:     ofMedium(m, stream.EventStored, "stored", m.DateCreated, nil),
		Sequence:  m.Announced,
		noteMedia: func(m *store.Media, sequence uint64) { m.Announced = sequence },
	}
	if m.SHA256 != "" {
		fact.Data = storedOf(m)
	}
	return fact
}

func upstreamDeleted(m store.Media) Fact {
	return Fact{
		Event: ofMedium(m, stream.EventUpstreamDeleted, "upstream-deleted", m.UpstreamDeleted, upstreamDeletedData{
			AccountSID: m.Account, MessageSID: m.Message, MediaSID: m.SID, Bytes: m.Size, SHA256: m.SHA256,
		}),
		Sequence:  m.UpstreamAnnounced,
		noteMedia: func(m *store.Media, sequence uint64) { m.UpstreamAnnounced = sequence },
	}
}

func deleted(m store.Media) Fact {
	return Fact{
		Event:     ofMedium(m, stream.EventDeleted, "deleted", m.Deleted, deletedData{AccountSID: m.Account, MessageSID: m.Message, MediaSID: m.SID}),
		Sequence:  m.Removed,
		noteMedia: func(m *store.Media, sequence uint64) { m.Bare(); m.Removed = sequence },
	}
}
