package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// This file is the reverse of the constructors of facts: it makes records of events.

// told is an event with its data.
type told struct {
	stream.Entry
	Time time.Time
	Data json.RawMessage
}

func readTold(entry stream.Entry) (told, error) {
	t := told{Entry: entry}
	var e struct {
		Time time.Time
		Data json.RawMessage
	}
	if err := json.Unmarshal(entry.JSON, &e); err != nil {
		return t, fmt.Errorf("event %d: %w", entry.Sequence, err)
	}
	t.Time, t.Data = e.Time, e.Data
	return t, nil
}

// MessageFrom makes the record of a message of its events, as far as they tell: they have
// neither its form nor, but for an outgoing message that is ready, its text and its
// numbers, only their hashes. DateCreated is zero if the feed does not tell that it came.
// An event that is not this program's is an error.
func MessageFrom(account store.AccountSID, message store.MessageSID, entries []stream.Entry) (store.Message, error) {
	m := store.Message{Account: account, SID: message, Direction: store.Inbound}
	for _, entry := range entries {
		t, err := readTold(entry)
		if err == nil {
			err = t.addTo(&m)
		}
		if err != nil {
			return m, err
		}
	}
	if m.Status == "" {
		m.Status = "received"
		if m.Direction != store.Inbound {
			m.Status = "queued"
		}
	}
	return m, nil
}

// addTo writes into a record what an event says of its message.
func (t told) addTo(m *store.Message) error {
	m.DateUpdated = t.Time
	switch t.Type {
	case stream.EventReceived:
		var data receivedData
		if err := json.Unmarshal(t.Data, &data); err != nil {
			return err
		}
		m.DateCreated, m.Announced, m.NumMedia = t.Time, t.Sequence, data.NumMedia
		m.Direction, m.FromHash, m.ToHash = data.Direction, data.FromHash, data.ToHash
	case stream.EventReady:
		var data readyData
		if err := json.Unmarshal(t.Data, &data); err != nil {
			return err
		}
		m.From, m.To, m.Body = data.From, data.To, data.Body
		outgoing(m).Ready, outgoing(m).Profile = t.Sequence, data.Profile
	case stream.EventSent:
		var data sentData
		if err := json.Unmarshal(t.Data, &data); err != nil {
			return err
		}
		outgoing(m).Sent, outgoing(m).Upstream = t.Sequence, data.UpstreamSID
	case stream.EventStatus:
		var data statusData
		if err := json.Unmarshal(t.Data, &data); err != nil {
			return err
		}
		m.Advance(data.Status)
		m.Events = append(m.Events, t.Sequence)
	case stream.EventFailed:
		return t.addFailure(m)
	case stream.EventStored:
		var data storedData
		if err := json.Unmarshal(t.Data, &data); err != nil {
			return err
		}
		if over, failed := m.Failures[data.MediaSID]; failed {
			delete(m.Failures, data.MediaSID)
			m.Events = append(m.Events, over.Announced)
		}
	}
	return nil
}

func outgoing(m *store.Message) *store.Outgoing {
	if m.Outgoing == nil {
		m.Outgoing = &store.Outgoing{}
	}
	return m.Outgoing
}

// addFailure writes a failure of a medium into the record. The event of any other is only
// named: whoever does that work again decides anew.
func (t told) addFailure(m *store.Message) error {
	var data failedData
	if err := json.Unmarshal(t.Data, &data); err != nil {
		return err
	}
	if data.MediaSID == nil {
		m.Events = append(m.Events, t.Sequence)
		return nil
	}
	try, err := strconv.ParseUint(t.ID[strings.LastIndexByte(t.ID, ':')+1:], 10, 64)
	if err != nil {
		return err
	}
	if m.Failures == nil {
		m.Failures = map[store.MediaSID]store.Failure{}
	}
	if earlier := m.Failures[*data.MediaSID].Announced; earlier != 0 {
		m.Events = append(m.Events, earlier)
	}
	m.Failures[*data.MediaSID] = store.Failure{
		Index: data.Index, Reason: data.Reason, Detail: data.Detail, Status: data.Status, Attempts: data.Attempts,
		Job: try, Date: t.Time, Announced: t.Sequence,
	}
	return nil
}

// MediaFrom makes the record of a medium of the events of its message, which may be a
// tombstone. It is false if the feed tells neither that the medium was stored nor that it
// was deleted.
func MediaFrom(medium store.MediaKey, entries []stream.Entry) (store.Media, bool, error) {
	m := store.Media{Account: medium.Account, Message: medium.Message, SID: medium.Media}
	noted(&m, entries)
	found := false
	for _, entry := range entries {
		if !slices.Contains([]uint64{m.Announced, m.UpstreamAnnounced, m.Removed}, entry.Sequence) {
			continue
		}
		t, err := readTold(entry)
		if err != nil {
			return m, false, err
		}
		switch t.Type {
		case stream.EventStored:
			var data storedData
			if err := json.Unmarshal(t.Data, &data); err != nil {
				return m, false, fmt.Errorf("event %d: %w", t.Sequence, err)
			}
			found = true
			m.DateCreated, m.DateUpdated = t.Time, t.Time
			recordOf(&m, data)
		case stream.EventUpstreamDeleted:
			m.UpstreamDeleted = t.Time
		case stream.EventDeleted:
			found, m.Deleted = true, t.Time
		}
	}
	if !m.Deleted.IsZero() {
		m.Bare()
	}
	return m, found, nil
}

// recordOf is the reverse of storedOf.
func recordOf(m *store.Media, data storedData) {
	m.Index, m.ContentType, m.Size, m.SHA256 = data.Index, data.ContentType, data.Bytes, data.SHA256
	m.Width, m.Height, m.Note = data.Width, data.Height, data.Note
	m.Attempts, m.Milliseconds, m.Variants = data.Attempts, data.Milliseconds, nil
	for _, v := range data.Variants {
		m.Variants = append(m.Variants, store.Variant{
			Name: v.Name, ContentType: v.ContentType, Blob: store.Blob{Size: v.Bytes, SHA256: v.SHA256},
			Width: v.Width, Height: v.Height, Quality: v.Quality, Scale: v.Scale,
			PassThrough: v.PassThrough, Lost: v.Lost, Milliseconds: v.Milliseconds,
		})
	}
}

// Lost counts the events of a message and its media that were announced and are not in the
// feed. [Feed.Restore] announces them again.
func (f *Feed) Lost(ctx context.Context, m store.Message, media []store.Media) (int, error) {
	facts := slices.DeleteFunc(f.Of(m, media), func(fact Fact) bool { return fact.Data == nil })
	if waits(m) {
		facts = append(facts, notedReady(m))
	}
	lost, err := f.lost(ctx, facts)
	return len(lost), err
}
