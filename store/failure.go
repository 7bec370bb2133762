package store

import "time"

// Failure says why a medium, a forward or an outgoing message was given up.
type Failure struct {
	Index    int       `json:"index"`            // N of MediaUrlN; 0 if it is of no medium
	Reason   string    `json:"reason"`           // one of those below, or a [mmspipe/ingest/fetch.Reason]
	Detail   string    `json:"detail,omitempty"` // for people
	Status   int       `json:"status,omitempty"` // last HTTP status of the host
	Attempts int       `json:"attempts"`
	Job      uint64    `json:"job"` // stream sequence of the job that gave up
	Date     time.Time `json:"date"`
	// Announced is the feed sequence of the failed event, 0 before it was
	// acknowledged.
	Announced uint64 `json:"announced,omitempty"`
}

// The reasons of failures that are not those of a download.
const (
	// ReasonConflict: a webhook repeats a MessageSid with other content.
	ReasonConflict = "conflict"
	// ReasonUpstream: the provider does not have a message that was to be replayed, or
	// does not take one that was to be sent.
	ReasonUpstream = "upstream"
	// ReasonEmpty: a host answers a medium without a byte.
	ReasonEmpty = "empty"
	// ReasonNoURL: a webhook counts media that it gives no URL of. All of them are one
	// failure, that of the first.
	ReasonNoURL = "no-url"
	// ReasonType: a medium of an outgoing message is of a type that is not taken.
	ReasonType = "type"
	// ReasonCarrier: the media of an outgoing message do not fit its profile.
	ReasonCarrier = "over-limit"
	// ReasonExpired: an outgoing message was not ready within its validity period.
	ReasonExpired = "expired"
	// ReasonUnknown: nobody knows whether an outgoing message left.
	ReasonUnknown = "unknown-outcome"
	// ReasonDeleted: a medium of an outgoing message was deleted before it left.
	ReasonDeleted = "deleted"
	// ReasonForward: an application did not take a webhook.
	ReasonForward = "forward"
	// ReasonUnreadable: a job about the message could not be read.
	ReasonUnreadable = "unreadable"
	// ReasonDamaged: an original is not what its record says.
	ReasonDamaged = "damaged"
)

// Is tells whether f and other are the same failure: of the same try of the same Job.
func (f Failure) Is(other Failure) bool { return f.Job == other.Job && f.Date.Equal(other.Date) }
