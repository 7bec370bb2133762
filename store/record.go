package store

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Direction is the way of a message, in the words of Twilio's
// Message.direction.
type Direction string

// The two ways.
const (
	Inbound     Direction = "inbound"
	OutboundAPI Direction = "outbound-api"
)

// Message is the record of one message. It is written before any of its media
// and is the only place that holds the text and the parties.
type Message struct {
	Account   AccountSID `json:"accountSid"`
	SID       MessageSID `json:"sid"`
	Direction Direction  `json:"direction"`
	From      string     `json:"from"`
	To        string     `json:"to"`
	// FromHash and ToHash stand for From and To where a record was damaged and the
	// numbers are lost; see [Store.HashNumber]. The message is found by them.
	FromHash string `json:"fromHash,omitempty"`
	ToHash   string `json:"toHash,omitempty"`
	Body     string `json:"body"`
	NumMedia int    `json:"numMedia"`
	Status   string `json:"status"` // Twilio's Message.status; see [Message.Advance]

	// ErrorCode and ErrorMessage say why a message was not delivered, in Twilio's
	// terms; 0 and empty where it was, or may still be.
	ErrorCode    int    `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`

	// Form is the webhook as it was received, or what a client of the API posted:
	// all parameters of it.
	Form url.Values `json:"form,omitempty"`
	// Fingerprint is a hash of what a repeat of this message must agree on.
	Fingerprint string `json:"fingerprint"`

	DateCreated time.Time `json:"dateCreated"`
	DateUpdated time.Time `json:"dateUpdated"`
	DateSent    time.Time `json:"dateSent,omitzero"` // of an outgoing message, when it was

	// Outgoing is set for a message that a client posted to the API.
	Outgoing *Outgoing `json:"outgoing,omitempty"`
	// Forwards says what became of the message's webhooks that were to be posted on,
	// by what they told: "received", or a status.
	Forwards map[string]Forward `json:"forwards,omitempty"`

	// Unreadable is a job about the message that could not be read, nil if there was
	// none.
	Unreadable *Unreadable `json:"unreadable,omitempty"`

	// Announced is the feed sequence of the message's received event, 0 before
	// it was acknowledged.
	Announced uint64 `json:"announced,omitempty"`
	// Failures holds the media that were given up, by the SID they would have
	// had. A medium that is stored later leaves it.
	Failures map[MediaSID]Failure `json:"failures,omitempty"`
	// FailedEntry is the end of the key of the message's entry in the index of
	// those with failures. The Store makes it anew whenever a message gains its
	// first failure, so that who removes the entry of an earlier failure can
	// never remove this one's.
	FailedEntry string `json:"failedEntry,omitempty"`

	// Entries are keys of the index that lead to a tombstone and are still to be
	// removed.
	Entries []string `json:"entries,omitempty"`

	// Events holds the feed sequences of those of the message's events that
	// stand nowhere else in its records.
	Events []uint64 `json:"events,omitempty"`
	// EventsUnknown says of a tombstone that the record was damaged when the message
	// was deleted: the feed may have events of it that stand nowhere.
	EventsUnknown bool `json:"eventsUnknown,omitempty"`
	// Deleted makes the record a tombstone: the message is gone, and a late
	// worker must not bring it back.
	Deleted time.Time `json:"deleted,omitzero"`
	// Erased says of a tombstone that the feed keeps nothing of the message either,
	// but that its media were deleted.
	Erased bool `json:"erased,omitempty"`

	// Revision is made anew by each write, so that no two writes of a record
	// have the same ETag.
	Revision string `json:"revision"`

	etag string // of the stored record; what an update is conditional on
}

// MediaIndex is the N of the MediaUrlN that is the provider's address of a medium
// of m, at whatever origin it was when m was received, or -1 if there is none.
func (m Message) MediaIndex(media MediaSID) int {
	path := "/Accounts/" + m.Account.s + "/Messages/" + m.SID.s + "/Media/" + media.s
	for n := 0; n < m.NumMedia; n++ {
		if strings.HasSuffix(m.Form.Get("MediaUrl"+strconv.Itoa(n)), path) {
			return n
		}
	}
	return -1
}

// tombstone is what stays of a deleted message: nothing that anyone wrote, and
// no number, nor anything by which one could try numbers out.
func (m Message) tombstone() Message {
	return Message{
		Account: m.Account, SID: m.SID, Direction: m.Direction, NumMedia: m.NumMedia,
		DateCreated: m.DateCreated, DateUpdated: m.DateUpdated, Deleted: m.Deleted, Erased: m.Erased,
		Announced: m.Announced, Events: m.OtherEvents(), EventsUnknown: m.EventsUnknown, Entries: m.Entries,
	}
}

// OtherEvents are the feed sequences of all events about m itself that its record
// names, without its received event and those of its media that are stored.
func (m Message) OtherEvents() []uint64 {
	events := slices.Clone(m.Events)
	for _, failure := range m.Failures {
		events = append(events, failure.Announced)
	}
	for _, forward := range m.Forwards {
		if forward.Failure != nil {
			events = append(events, forward.Failure.Announced)
		}
	}
	if m.Unreadable != nil {
		events = append(events, m.Unreadable.Announced)
	}
	if out := m.Outgoing; out != nil {
		events = append(events, out.Ready, out.Sent)
		if out.Failure != nil {
			events = append(events, out.Failure.Announced)
		}
	}
	slices.Sort(events)
	events = slices.Compact(events)
	return slices.DeleteFunc(events, func(sequence uint64) bool { return sequence == 0 })
}

// failed tells whether anything of m was given up.
func (m Message) failed() bool {
	for _, forward := range m.Forwards {
		if forward.Failure != nil {
			return true
		}
	}
	return len(m.Failures) > 0 || m.Unreadable != nil || m.Outgoing != nil && m.Outgoing.Failure != nil
}

// Outgoing is how far a message is on its way out.
type Outgoing struct {
	// Profile is the name of the one that its pictures are fitted to, chosen once.
	Profile string `json:"profile,omitempty"`
	// Types are those that hosts declare of media whose bytes do not tell, by the
	// place of the MediaUrl.
	Types map[int]string `json:"types,omitempty"`
	// Ready is the feed sequence of its ready event, 0 before it was acknowledged.
	Ready uint64 `json:"ready,omitempty"`
	// Intent is since when the provider may have the message without our knowing.
	// It is zero before, and as soon as it is known.
	Intent time.Time `json:"intent,omitzero"`
	// Upstream is the message's SID at the provider, zero until it is known.
	Upstream MessageSID `json:"upstream,omitzero"`
	// Sent is the feed sequence of its sent event, 0 before it was acknowledged.
	Sent uint64 `json:"sent,omitempty"`
	// Failure is why it was given up, nil if it was not.
	Failure *Failure `json:"failure,omitempty"`
}

// Unreadable is a job that could not be read, with what it holds: nobody else has it.
type Unreadable struct {
	Failure
	Kind string `json:"kind"`
	Data string `json:"data"`
}

// Forward is what became of one webhook that was to be posted on.
type Forward struct {
	Attempts int       `json:"attempts"`
	Status   int       `json:"status,omitempty"`  // last HTTP status of the application
	Date     time.Time `json:"date"`              // of the last attempt
	Failure  *Failure  `json:"failure,omitempty"` // why it was given up, nil if it was not
	// Form is a status callback that was given up, so that it can be posted again.
	Form url.Values `json:"form,omitempty"`
}

// Blob says what the bytes of a stored object must be.
type Blob struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // lower-case hexadecimal
}

// Media is the record of one medium. It is written after its blobs, once: a
// visible record implies that they are there, with this size and hash.
type Media struct {
	Account     AccountSID `json:"accountSid"`
	Message     MessageSID `json:"parentSid"`
	SID         MediaSID   `json:"sid"`
	Index       int        `json:"index"`       // N of MediaUrlN
	ContentType string     `json:"contentType"` // of the original
	Blob                   // the original
	Width       int        `json:"width,omitempty"`  // pixels as seen, after EXIF orientation;
	Height      int        `json:"height,omitempty"` // 0 where it is no image or none that is decoded
	Variants    []Variant  `json:"variants,omitempty"`
	// Note says in words why there are no variants, or what is to be known of
	// the original, such as that it is over the carrier's limit.
	Note string `json:"note,omitempty"`

	Attempts     int       `json:"attempts"`     // deliveries of the job until it was stored
	Milliseconds int64     `json:"milliseconds"` // from the start of the fetch to the stored blobs
	DateCreated  time.Time `json:"dateCreated"`
	DateUpdated  time.Time `json:"dateUpdated"`

	// Announced is the feed sequence of the medium's stored event, 0 before it
	// was acknowledged.
	Announced uint64 `json:"announced,omitempty"`
	// Removed is the feed sequence of the medium's deleted event, 0 before it
	// was acknowledged.
	Removed uint64 `json:"removed,omitempty"`
	// UpstreamDeleted is when the provider's copy was deleted, because this one
	// is good; UpstreamAnnounced is the feed sequence of that event, 0 before it
	// was acknowledged.
	UpstreamDeleted   time.Time `json:"upstreamDeleted,omitzero"`
	UpstreamAnnounced uint64    `json:"upstreamAnnounced,omitempty"`
	// EventsUnknown is as in a [Message].
	EventsUnknown bool `json:"eventsUnknown,omitempty"`
	// Deleted makes the record a tombstone: the medium is gone or going, and a
	// late worker must not bring it back.
	Deleted time.Time `json:"deleted,omitzero"`

	// Revision is made anew by each write, so that no two writes of a record
	// have the same ETag.
	Revision string `json:"revision"`

	etag string // of the stored record; what an update is conditional on
}

// Key names the medium.
func (m Media) Key() MediaKey { return MediaKey{Account: m.Account, Message: m.Message, Media: m.SID} }

// TotalSize is the bytes of the original and of all variants.
func (m Media) TotalSize() int64 {
	total := m.Size
	for _, v := range m.Variants {
		total += v.Size
	}
	return total
}

// Bare takes everything from a tombstone that describes what it stood for: its SIDs
// and dates stay.
func (m *Media) Bare() {
	m.ContentType, m.Blob, m.Width, m.Height, m.Variants, m.Note = "", Blob{}, 0, 0, nil, ""
}

// Variant is one picture made from an original.
type Variant struct {
	Name        string `json:"name"` // a profile's name, or "thumb"
	ContentType string `json:"contentType"`
	Blob
	Width        int      `json:"width"`                 // pixels
	Height       int      `json:"height"`                // pixels
	Quality      int      `json:"quality,omitempty"`     // JPEG, 1 to 100
	Scale        float64  `json:"scale"`                 // width here by width of the original, 1 at most
	PassThrough  bool     `json:"passThrough,omitempty"` // the original's coded pixels, not encoded again
	Lost         []string `json:"lost,omitempty"`        // of "frames", "alpha", "metadata"
	Milliseconds int64    `json:"milliseconds"`
}
