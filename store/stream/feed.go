package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mmspipe/store"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The types of events, which are also the subjects they are published on, each
// followed by the account.
const (
	EventReceived = "mms.received" // a message's webhook
	EventStored   = "mms.stored"   // a medium, with its variants
	EventFailed   = "mms.failed"   // a medium, or a message, that was given up
	EventReady    = "mms.ready"    // an outgoing message, all of it prepared
	EventSent     = "mms.sent"     // an outgoing message, handed to the provider
	EventStatus   = "mms.status"   // a status callback
	EventDeleted  = "mms.deleted"  // a medium

	EventUpstreamDeleted = "mms.upstream-deleted" // a medium's copy at the provider
)

var eventTypes = []string{EventReceived, EventStored, EventFailed, EventReady, EventSent, EventStatus, EventDeleted, EventUpstreamDeleted}

// Event is a fact to be published.
type Event struct {
	Type    string
	Account store.AccountSID
	Message store.MessageSID
	Media   store.MediaSID // zero if it is about the message itself
	ID      string         // of the fact, the same whenever it is published
	Time    time.Time
	Data    any // encoded as JSON
}

// Publish adds an event to the feed and returns its sequence when the server has
// acknowledged it, or an error when it has not within 5 s. A fact that was
// published before, within [DuplicateWindow], keeps its first sequence.
func (s *Streams) Publish(ctx context.Context, e Event) (sequence uint64, err error) {
	data, err := e.encode()
	if err != nil {
		return 0, fmt.Errorf("event %s: %w", e.ID, err)
	}
	msg := nats.NewMsg(e.Type + "." + e.Account.String())
	msg.Header.Set("Content-Type", event.ApplicationCloudEventsJSON)
	msg.Data = data
	// A server that cannot write does not answer; the job of the caller may have
	// minutes left.
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(feedName))
	s.silentFeed.note(err)
	if err != nil {
		return 0, fmt.Errorf("publish event %s: %w", e.ID, err)
	}
	return ack.Sequence, nil
}

// ErrNotKept says that the feed has no event at a sequence, or not any more.
var ErrNotKept = errors.New("the event is not kept")

// Event returns the event at a sequence, or [ErrNotKept].
func (s *Streams) Event(ctx context.Context, sequence uint64) (Entry, error) {
	msg, err := s.feed.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Entry{}, ErrNotKept
	}
	if err != nil {
		return Entry{}, fmt.Errorf("look up event %d: %w", sequence, err)
	}
	entry, err := newEntry(sequence, msg.Data)
	if err != nil {
		s.foreign.note(sequence)
		return Entry{}, ErrNotKept
	}
	return entry, nil
}

// subject is what the event is about: MM…, or MM…/ME… of a medium.
func (e Event) subject() string {
	if e.Media.IsZero() {
		return e.Message.String()
	}
	return e.Message.String() + "/" + e.Media.String()
}

// encode makes a CloudEvent of e (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
func (e Event) encode() ([]byte, error) {
	c := event.New()
	c.SetType(e.Type)
	c.SetSource("/2010-04-01/Accounts/" + e.Account.String())
	c.SetID(e.ID)
	c.SetSubject(e.subject())
	c.SetTime(e.Time)
	if err := c.SetData(event.ApplicationJSON, e.Data); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// Entry is an event as it is read from the feed.
type Entry struct {
	Sequence uint64
	ID       string
	Type     string
	Message  store.MessageSID // that it is about; zero if its subject names none
	// JSON is the CloudEvent on one line, with its sequence as the extension
	// attribute of that name, a decimal string.
	JSON []byte
}

// Query says which events to read.
type Query struct {
	Account store.AccountSID // all accounts if zero
	After   uint64           // the sequence read last; from the beginning if 0
	Since   time.Time        // only events published at or after it; After goes first
	Types   []string         // of the Event constants; all if empty
}

// subjects are those that the query asks for.
func (q Query) subjects() []string {
	account := "*"
	if !q.Account.IsZero() {
		account = q.Account.String()
	}
	types := q.Types
	if len(types) == 0 {
		types = eventTypes
	}
	subjects := make([]string, len(types))
	for i, t := range types {
		subjects[i] = t + "." + account
	}
	slices.Sort(subjects)
	return slices.Compact(subjects) // the server refuses the same filter twice
}

// ExpiredError says that events after a reader's position are no longer kept, or
// that the feed has never reached it.
type ExpiredError struct {
	After       uint64 // the reader's position
	First, Last uint64 // what is kept; Last is First-1 where that is nothing
}

// Error says what is kept.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("events after %d are not kept any more: the feed holds %d to %d", e.After, e.First, e.Last)
}

// Events returns up to limit events of the past, oldest first. A position that
// has fallen out of the feed is an [*ExpiredError]. Messages on the feed's subjects that
// are no events are left out; see [Streams.Foreign].
func (s *Streams) Events(ctx context.Context, q Query, limit int) ([]Entry, error) {
	consumer, stop, err := s.reader(ctx, q)
	if err != nil {
		return nil, err
	}
	defer stop()
	var entries []Entry
	pending := consumer.CachedInfo().NumPending
	for len(entries) < limit && pending > 0 {
		want := int(min(uint64(limit-len(entries)), pending))
		batch, err := consumer.Fetch(want, jetstream.FetchContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read feed: %w", err)
		}
		read := uint64(0)
		for msg := range batch.Messages() {
			read++
			entry, err := s.readEntry(msg)
			switch {
			case err != nil:
				return nil, err
			case entry != nil:
				entries = append(entries, *entry)
			}
		}
		if err := batch.Error(); err != nil {
			return nil, fmt.Errorf("read feed: %w", err)
		}
		pending -= min(read, pending)
		if read == 0 {
			break // what was pending has expired meanwhile
		}
	}
	return entries, nil
}

// Follow yields the events of the past and then those to come, without gap or
// repeat, until ctx ends or the loop is left. An error is the last thing that it
// yields; a position that has fallen out of the feed is an [*ExpiredError]. A reader
// that then falls so far behind that the feed drops what it has not read yet goes
// on after that.
func (s *Streams) Follow(ctx context.Context, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		consumer, stop, err := s.reader(ctx, q)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer stop()
		messages, err := consumer.Messages()
		if err != nil {
			yield(Entry{}, fmt.Errorf("read feed: %w", err))
			return
		}
		defer messages.Stop()
		defer context.AfterFunc(ctx, messages.Stop)()
		for {
			msg, err := messages.Next()
			if ctx.Err() != nil {
				yield(Entry{}, ctx.Err())
				return
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("read feed: %w", err))
				return
			}
			entry, err := s.readEntry(msg)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if entry != nil && !yield(*entry, nil) {
				return
			}
		}
	}
}

// readerIdle is how long the server keeps a reader's consumer that nobody asks,
// should its client vanish.
const readerIdle = time.Minute

// reader makes an ordered consumer for a query, which must be stopped.
func (s *Streams) reader(ctx context.Context, q Query) (jetstream.Consumer, func(), error) {
	info, err := s.feed.Info(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("stream %s: %w", feedName, err)
	}
	state := info.State
	if q.After > state.LastSeq || q.After > 0 && q.After+1 < state.FirstSeq {
		return nil, nil, &ExpiredError{After: q.After, First: state.FirstSeq, Last: state.LastSeq}
	}
	config := jetstream.OrderedConsumerConfig{FilterSubjects: q.subjects(), InactiveThreshold: readerIdle}
	switch {
	case q.After > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, q.After+1
	case !q.Since.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &q.Since
	}
	consumer, err := s.feed.OrderedConsumer(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("read feed: %w", err)
	}
	return consumer, func() { s.forget(consumer) }, nil
}

// forget removes a reader's consumer. One that is not found was replaced by the
// client after trouble, and the server forgets it by itself.
func (s *Streams) forget(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.feed.DeleteConsumer(ctx, consumer.CachedInfo().Name)
}

// newEntry reads an event. An error means that it is none.
func newEntry(sequence uint64, data []byte) (Entry, error) {
	var c event.Event
	if err := json.Unmarshal(data, &c); err != nil {
		return Entry{}, fmt.Errorf("read event %d: %w", sequence, err)
	}
	if !IsEventType(c.Type()) {
		return Entry{}, fmt.Errorf("read event %d: %.40q is no type of event", sequence, c.Type())
	}
	c.SetExtension("sequence", strconv.FormatUint(sequence, 10))
	line, err := json.Marshal(c)
	if err != nil {
		return Entry{}, fmt.Errorf("read event %d: %w", sequence, err)
	}
	about, _, _ := strings.Cut(c.Subject(), "/")
	message, _ := store.ParseMessageSID(about)
	return Entry{Sequence: sequence, ID: c.ID(), Type: c.Type(), Message: message, JSON: line}, nil
}

// readEntry makes an Entry of what a consumer delivers; nil of what is no event.
func (s *Streams) readEntry(msg jetstream.Msg) (*Entry, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read feed: %w", err)
	}
	entry, err := newEntry(meta.Sequence.Stream, msg.Data())
	if err != nil {
		s.foreign.note(meta.Sequence.Stream)
		return nil, nil //nolint:nilerr // it is no event, which is counted and stops nobody
	}
	return &entry, nil
}

// Foreign is what somebody else has published on the feed's subjects: messages that are
// no events.
type Foreign struct {
	Messages uint64 `json:"messages"` // that readers of this process met
	Last     uint64 `json:"last"`     // sequence of the last of them
}

// foreign counts them. Each is counted once, as long as readers go forward.
type foreign struct {
	mu sync.Mutex
	Foreign
}

func (f *foreign) note(sequence uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sequence > f.Last {
		f.Messages, f.Last = f.Messages+1, sequence
	}
}

// Foreign tells which messages on the feed's subjects are no events. They stop no
// reader: everybody passes over them.
func (s *Streams) Foreign() Foreign {
	s.foreign.mu.Lock()
	defer s.foreign.mu.Unlock()
	return s.foreign.Foreign
}

// Reader is a consumer of the feed.
type Reader struct {
	Name      string `json:"name"`
	Delivered uint64 `json:"delivered"` // sequence of the last event that it was given
	Pending   uint64 `json:"pending"`   // events that it has still to be given
}

// Readers returns the consumers of the feed, those of live clients among them.
func (s *Streams) Readers(ctx context.Context) ([]Reader, error) {
	readers := []Reader{}
	list := s.feed.ListConsumers(ctx)
	for info := range list.Info() {
		readers = append(readers, Reader{info.Name, info.Delivered.Stream, info.NumPending})
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list readers of the feed: %w", err)
	}
	return readers, nil
}

// IsEventType tells whether a name is one of the Event constants.
func IsEventType(name string) bool { return slices.Contains(eventTypes, name) }
