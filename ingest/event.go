package ingest

import (
	"fmt"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// The data of events. Keys are in Twilio's camelCase, so that a consumer can
// join them with Twilio's own by accountSid, messageSid and mediaSid. No event
// holds a message's text, and numbers are hashed, but for mms.ready: whoever sends the
// message needs them. Its sequence is in the message's record, so that it goes when
// the message is erased.

type receivedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	Direction  store.Direction  `json:"direction"`
	FromHash   string           `json:"fromHash"`
	ToHash     string           `json:"toHash"`
	NumMedia   int              `json:"numMedia"`
}

type storedData struct {
	AccountSID   store.AccountSID `json:"accountSid"`
	MessageSID   store.MessageSID `json:"messageSid"`
	MediaSID     store.MediaSID   `json:"mediaSid"`
	Index        int              `json:"index"`
	ContentType  string           `json:"contentType"`
	Bytes        int64            `json:"bytes"`
	SHA256       string           `json:"sha256"`
	Width        int              `json:"width,omitempty"`
	Height       int              `json:"height,omitempty"`
	Variants     []variantData    `json:"variants"`
	Note         string           `json:"note,omitempty"`
	Attempts     int              `json:"attempts"`
	Milliseconds int64            `json:"milliseconds"`
}

type variantData struct {
	Name         string   `json:"name"`
	ContentType  string   `json:"contentType"`
	Bytes        int64    `json:"bytes"`
	SHA256       string   `json:"sha256"`
	Width        int      `json:"width"`
	Height       int      `json:"height"`
	Quality      int      `json:"quality,omitempty"`
	Scale        float64  `json:"scale"`
	PassThrough  bool     `json:"passThrough"`
	Lost         []string `json:"lost,omitempty"`
	Milliseconds int64    `json:"milliseconds"`
}

type failedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	MediaSID   *store.MediaSID  `json:"mediaSid,omitempty"` // absent when the message itself failed
	Index      int              `json:"index"`
	Reason     string           `json:"reason"`
	Detail     string           `json:"detail,omitempty"`
	Status     int              `json:"status,omitempty"`
	Attempts   int              `json:"attempts"`
}

// The reasons of failed events that are not a [fetch.Reason].
const (
	// reasonConflict: a webhook repeats a MessageSid with other content.
	reasonConflict = "conflict"
	// reasonUpstream: upstream does not have a message that was to be replayed, or
	// does not take one that was to be sent.
	reasonUpstream = "upstream"
	// reasonEmpty: a medium of an outgoing message has no bytes.
	reasonEmpty = "empty"
	// reasonType: a medium of an outgoing message is of a type that is not taken.
	reasonType = "type"
	// reasonCarrier: the media of an outgoing message do not fit its profile.
	reasonCarrier = "over-limit"
	// reasonExpired: an outgoing message was not ready within its validity period.
	reasonExpired = "expired"
	// reasonUnknown: nobody knows whether an outgoing message left.
	reasonUnknown = "unknown-outcome"
	// reasonDeleted: a medium of an outgoing message was deleted before it left.
	reasonDeleted = "deleted"
	// reasonForward: an application did not take a webhook.
	reasonForward = "forward"
)

type statusData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	Status     string           `json:"messageStatus"`
	ErrorCode  string           `json:"errorCode,omitempty"`
}

// readyData is what a sender of the message needs.
type readyData struct {
	AccountSID          store.AccountSID `json:"accountSid"`
	MessageSID          store.MessageSID `json:"messageSid"`
	To                  string           `json:"to"`
	From                string           `json:"from,omitempty"`
	MessagingServiceSID string           `json:"messagingServiceSid,omitempty"`
	Body                string           `json:"body"`
	Profile             string           `json:"profile,omitempty"` // absent without media
	Media               []readyMedium    `json:"media"`
	Relay               bool             `json:"relay"` // mmspipe sends it itself
}

// sentData is of a message that the provider has.
type sentData struct {
	AccountSID  store.AccountSID `json:"accountSid"`
	MessageSID  store.MessageSID `json:"messageSid"`
	UpstreamSID store.MessageSID `json:"upstreamSid"`
	FromHash    string           `json:"fromHash"`
	ToHash      string           `json:"toHash"`
	NumMedia    int              `json:"numMedia"`
}

// readyMedium is one medium that leaves.
type readyMedium struct {
	MediaSID    store.MediaSID `json:"mediaSid"`
	ContentType string         `json:"contentType"`
	Bytes       int64          `json:"bytes"`
	URL         string         `json:"url"` // a signed link, good for linkLife
}

type deletedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	MediaSID   store.MediaSID   `json:"mediaSid"`
}

// mediaSubject is the subject of an event about one medium.
func mediaSubject(message store.MessageSID, media store.MediaSID) string {
	return message.String() + "/" + media.String()
}

func storedEvent(m store.Media) stream.Event {
	data := storedData{
		AccountSID: m.Account, MessageSID: m.Message, MediaSID: m.SID, Index: m.Index,
		ContentType: m.ContentType, Bytes: m.Size, SHA256: m.SHA256, Width: m.Width, Height: m.Height,
		Variants: []variantData{}, Note: m.Note, Attempts: m.Attempts, Milliseconds: m.Milliseconds,
	}
	for _, v := range m.Variants {
		data.Variants = append(data.Variants, variantData{
			Name: v.Name, ContentType: v.ContentType, Bytes: v.Size, SHA256: v.SHA256,
			Width: v.Width, Height: v.Height, Quality: v.Quality, Scale: v.Scale,
			PassThrough: v.PassThrough, Lost: v.Lost, Milliseconds: v.Milliseconds,
		})
	}
	return stream.Event{
		Type: stream.EventStored, Account: m.Account,
		ID:      "stored:" + m.Account.String() + ":" + m.Message.String() + ":" + m.SID.String(),
		Subject: mediaSubject(m.Message, m.SID), Time: m.DateCreated, Data: data,
	}
}

func deletedEvent(m store.Media) stream.Event {
	return stream.Event{
		Type: stream.EventDeleted, Account: m.Account,
		ID:      "deleted:" + m.Account.String() + ":" + m.Message.String() + ":" + m.SID.String(),
		Subject: mediaSubject(m.Message, m.SID), Time: m.Deleted,
		Data: deletedData{AccountSID: m.Account, MessageSID: m.Message, MediaSID: m.SID},
	}
}

func receivedEvent(m store.Message, hash func(string) string) stream.Event {
	return stream.Event{
		Type: stream.EventReceived, Account: m.Account,
		ID:      "received:" + m.Account.String() + ":" + m.SID.String(),
		Subject: m.SID.String(), Time: m.DateCreated,
		Data: receivedData{
			AccountSID: m.Account, MessageSID: m.SID, Direction: m.Direction,
			FromHash: hash(m.From), ToHash: hash(m.To), NumMedia: m.NumMedia,
		},
	}
}

// statusEvent's id has no time in it: a status is announced once, however often
// its callback comes.
func statusEvent(h webhook, queued time.Time) stream.Event {
	return stream.Event{
		Type: stream.EventStatus, Account: h.account, ID: h.jobID(),
		Subject: h.message.String(), Time: queued,
		Data: statusData{AccountSID: h.account, MessageSID: h.message, Status: h.status, ErrorCode: h.form.Get("ErrorCode")},
	}
}

func readyEvent(m store.Message, queued time.Time, media []readyMedium, relay bool) stream.Event {
	e := bareReadyEvent(m)
	e.Time, e.Data = queued, readyData{
		AccountSID: m.Account, MessageSID: m.SID, To: m.To, From: m.From, MessagingServiceSID: m.Form.Get("MessagingServiceSid"),
		Body: m.Body, Profile: m.Outgoing.Profile, Media: media, Relay: relay,
	}
	return e
}

// bareReadyEvent is to the feed the same fact as readyEvent, and says nothing of the
// message.
func bareReadyEvent(m store.Message) stream.Event {
	return stream.Event{
		Type: stream.EventReady, Account: m.Account, ID: "ready:" + m.Account.String() + ":" + m.SID.String(),
		Subject: m.SID.String(), Time: m.DateCreated, Data: readyData{AccountSID: m.Account, MessageSID: m.SID},
	}
}

func sentEvent(m store.Message, hash func(string) string) stream.Event {
	return stream.Event{
		Type: stream.EventSent, Account: m.Account, ID: "sent:" + m.Account.String() + ":" + m.SID.String(),
		Subject: m.SID.String(), Time: m.DateUpdated,
		Data: sentData{
			AccountSID: m.Account, MessageSID: m.SID, UpstreamSID: m.Outgoing.Upstream,
			FromHash: hash(m.From), ToHash: hash(m.To), NumMedia: m.NumMedia,
		},
	}
}

// conflictEvent is a failed event of the message, not of a medium: what came is
// named by the Job that brought it, and only the names of what differs are told.
func conflictEvent(h webhook, d *stream.Delivery, differs []string) stream.Event {
	return stream.Event{
		Type: stream.EventFailed, Account: h.account, ID: "failed:" + h.jobID(),
		Subject: h.message.String(), Time: d.Queued,
		Data: failedData{
			AccountSID: h.account, MessageSID: h.message, Reason: reasonConflict,
			Detail: "a repeat differs in " + strings.Join(differs, ", "), Attempts: d.Attempt,
		},
	}
}

// failedEvent's id names the Job, so that a medium that fails again when it is
// replayed is a fact of its own.
func failedEvent(m store.Message, media store.MediaSID, f store.Failure) stream.Event {
	return stream.Event{
		Type: stream.EventFailed, Account: m.Account,
		ID:      fmt.Sprintf("failed:%s:%s:%s:%d", m.Account, m.SID, media, f.Job),
		Subject: mediaSubject(m.SID, media), Time: f.Date,
		Data: failedData{
			AccountSID: m.Account, MessageSID: m.SID, MediaSID: &media, Index: f.Index,
			Reason: f.Reason, Detail: f.Detail, Status: f.Status, Attempts: f.Attempts,
		},
	}
}

// forwardFailedEvent is a failed event of the message: of a webhook that was to be
// posted on, by its name among the message's forwards.
func forwardFailedEvent(account store.AccountSID, message store.MessageSID, what string, f store.Failure) stream.Event {
	return stream.Event{
		Type: stream.EventFailed, Account: account,
		ID:      fmt.Sprintf("failed:%s:%s:forward:%s:%d", account, message, what, f.Job),
		Subject: message.String(), Time: f.Date,
		Data: failedData{
			AccountSID: account, MessageSID: message, Reason: f.Reason, Detail: f.Detail, Status: f.Status, Attempts: f.Attempts,
		},
	}
}
