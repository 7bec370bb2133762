package store

import (
	"context"
	"net/url"
	"time"
)

// NewOutgoing is the record of a message that a client of the API posted at a
// time: everything that can be said of it before it is prepared.
func NewOutgoing(account AccountSID, sid MessageSID, form url.Values, at time.Time) Message {
	m := Message{
		Account: account, SID: sid, Direction: OutboundAPI, Status: "queued",
		From: form.Get("From"), To: form.Get("To"), Body: form.Get("Body"), NumMedia: len(form["MediaUrl"]),
		Form: form, DateCreated: at, DateUpdated: at, Outgoing: &Outgoing{},
	}
	switch {
	case !m.SendAt().IsZero():
		m.Status = "scheduled"
	case m.From == "":
		m.Status = "accepted"
	}
	return m
}

// SendAt is the time at which a client wants an outgoing message sent, zero if that is at
// once.
func (m Message) SendAt() time.Time {
	if m.Outgoing == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, m.Form.Get("SendAt"))
	if err != nil { // there is none: it was checked when it was posted
		return time.Time{}
	}
	return at.UTC()
}

// Due is since when an outgoing message is to be sent.
func (m Message) Due() time.Time {
	if at := m.SendAt(); at.After(m.DateCreated) {
		return at
	}
	return m.DateCreated
}

// CancelMessage cancels a message that is scheduled, at a time, and returns its record. Of
// any other message that is as it was, and so is a tombstone: the Status tells.
func (s *Store) CancelMessage(ctx context.Context, account AccountSID, message MessageSID, at time.Time) (Message, error) {
	return s.UpdateMessage(ctx, account, message, func(m *Message) error {
		if m.Status != "scheduled" || !m.Deleted.IsZero() {
			return ErrUnchanged
		}
		m.Status, m.DateUpdated = "canceled", at
		return nil
	})
}
