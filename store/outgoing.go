package store

import (
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
	if m.From == "" {
		m.Status = "accepted"
	}
	return m
}
