package api

import (
	"fmt"
	"strconv"
	"time"
)

// messageJSON is a Message (twilio_api_v2010.json, api.v2010.account.message).
type messageJSON struct {
	AccountSID          string            `json:"account_sid"`
	APIVersion          string            `json:"api_version"`
	Body                string            `json:"body"`
	DateCreated         string            `json:"date_created"`
	DateSent            *string           `json:"date_sent"`
	DateUpdated         string            `json:"date_updated"`
	Direction           string            `json:"direction"`
	ErrorCode           *int              `json:"error_code"`
	ErrorMessage        *string           `json:"error_message"`
	From                *string           `json:"from"`
	MessagingServiceSID *string           `json:"messaging_service_sid"`
	NumMedia            string            `json:"num_media"`
	NumSegments         string            `json:"num_segments"`
	Price               *string           `json:"price"`
	PriceUnit           string            `json:"price_unit"`
	SID                 string            `json:"sid"`
	Status              string            `json:"status"`
	SubresourceURIs     map[string]string `json:"subresource_uris"`
	To                  string            `json:"to"`
	URI                 string            `json:"uri"`
}

// messageView shows a message.
func (a *account) messageView(m *message) messageJSON {
	path := accountsPath + a.sid + "/Messages/" + m.sid
	v := messageJSON{
		AccountSID: a.sid, APIVersion: apiVersion, Body: m.body, DateCreated: date(m.created), DateUpdated: date(m.updated),
		Direction: m.direction, From: nullable(m.from), MessagingServiceSID: nullable(m.service),
		NumMedia: strconv.Itoa(len(m.mediaSIDs)), NumSegments: strconv.Itoa(max(len(m.mediaSIDs), 1)), PriceUnit: "USD",
		SID: m.sid, Status: m.status, SubresourceURIs: map[string]string{"media": path + "/Media.json"}, To: m.to, URI: path + ".json",
	}
	if !m.sent.IsZero() {
		v.DateSent = new(date(m.sent))
	}
	if m.code != 0 && (m.status == "failed" || m.status == "undelivered") {
		v.ErrorCode, v.ErrorMessage = new(m.code), new(fmt.Sprintf("Error %d", m.code))
	}
	return v
}

// date shows a time as the API does (RFC 2822, GMT).
func date(t time.Time) string { return t.UTC().Format(time.RFC1123Z) }

// nullable is null for what is empty.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// mediaView shows a medium (api.v2010.account.message.media).
func (a *account) mediaView(h *medium) any {
	return map[string]string{
		"account_sid": a.sid, "content_type": h.ContentType, "date_created": date(h.object.Modified), "date_updated": date(h.object.Modified),
		"parent_sid": h.message.sid, "sid": h.sid, "uri": h.path + ".json",
	}
}
