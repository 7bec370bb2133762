package ingesttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// feedReader reads the feed of a [House].
type feedReader struct {
	testing.TB
	Streams *stream.Streams
	after   uint64 // the last event that is hidden; see House.Fresh
}

// Event is one event of the feed.
type Event struct {
	ID       string
	Type     string
	Sequence uint64
	Data     json.RawMessage
	JSON     string // all of it
}

// entries returns the events since [House.Fresh].
func (f *feedReader) entries() []stream.Entry {
	f.Helper()
	entries, err := f.Streams.Events(f.Context(), stream.Query{After: f.after}, 100_000)
	if _, gone := errors.AsType[*stream.ExpiredError](err); gone { // all before was removed
		entries, err = f.Streams.Events(f.Context(), stream.Query{}, 100_000)
	}
	if err != nil {
		f.Fatal(err)
	}
	return entries
}

// Events returns the events that name a message, in their order.
func (f *feedReader) Events(message string) []Event {
	f.Helper()
	var events []Event
	for _, entry := range f.entries() {
		if !strings.Contains(string(entry.JSON), message) {
			continue
		}
		var e struct{ Data json.RawMessage }
		if err := json.Unmarshal(entry.JSON, &e); err != nil {
			f.Fatal(err)
		}
		events = append(events, Event{entry.ID, entry.Type, entry.Sequence, e.Data, string(entry.JSON)})
	}
	return events
}

// EventTypes returns the types of [House.Events].
func (f *feedReader) EventTypes(message string) []string {
	f.Helper()
	var types []string
	for _, e := range f.Events(message) {
		types = append(types, e.Type)
	}
	return types
}

// Feed returns the JSON of all events.
func (f *feedReader) Feed() string {
	f.Helper()
	var all bytes.Buffer
	for _, e := range f.entries() {
		all.Write(e.JSON)
	}
	return all.String()
}

// Ready is what the ready event of a message tells a sender.
type Ready struct {
	To, From            string
	MessagingServiceSID string
	Body                string
	Profile             string
	Media               []feed.Leaving
	Relay               bool
}

// ReadyOf returns what the ready event of a message says; the zero value if there is none.
func (f *feedReader) ReadyOf(sid store.MessageSID) (ready Ready) {
	f.Helper()
	for _, e := range f.Events(sid.String()) {
		if e.Type != stream.EventReady {
			continue
		}
		if err := json.Unmarshal(e.Data, &ready); err != nil {
			f.Fatal(err)
		}
	}
	return ready
}
