package simulate

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	apiVersion   = "2010-04-01"
	accountsPath = "/" + apiVersion + "/Accounts/"
)

// Number is a phone number of the account, and where its messages are sent.
type Number struct {
	PhoneNumber    string // +1…
	SMSURL         string
	SMSMethod      string // POST if empty
	SMSFallbackURL string
}

// SetNumbers says which phone numbers the account has from now on.
func (s *Simulator) SetNumbers(numbers ...Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = slices.Clone(numbers)
}

// message is what the API knows of a message.
type message struct {
	sid, direction, status  string
	from, to, body, service string
	created, updated, sent  time.Time // sent is zero as long as it is not
	code                    int       // why it failed
	media                   []*hosted
	mediaSIDs               []string // of all that it was made with, there already or not
	late                    int      // lists of media that are still empty
	deleted                 bool

	form  url.Values // of the request that made it
	links []Fetched
	done  bool
}

// Host keeps a message and its media as of a time, and sends nothing: a message
// whose webhook never came, or one sent elsewhere. Repeat sends its webhook
// after all. Data of media are kept as they are, and may be shared. A message
// with a SID that is known takes the other's place.
func (s *Simulator) Host(m Message, at time.Time) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := &message{
		sid: m.SID, direction: "inbound", status: "received", from: m.From, to: m.To, body: m.Body,
		created: at, updated: at, sent: at, late: m.Late,
	}
	if kept.sid == "" {
		kept.sid = s.messageSID(len(m.Media))
	}
	for _, number := range []*string{&kept.from, &kept.to} {
		if *number == "" {
			*number = fmt.Sprintf("+1415555%04d", s.rand.IntN(10000))
		}
	}
	s.keep(kept)
	sent := Sent{MessageSID: kept.sid, token: s.o.Token}
	if m.Forged {
		sent.token += "forged"
	}
	sent.Form = form(s.o.Account, kept.sid, kept.from, kept.to, m.Body, len(m.Media))
	kept.mediaSIDs = s.newMediaSIDs(len(m.Media))
	for i, medium := range m.Media {
		h := s.attach(kept, kept.mediaSIDs[i], medium, at)
		address := cmp.Or(medium.URL, s.origin+h.path)
		n := strconv.Itoa(i)
		sent.Form.Set("MediaUrl"+n, address)
		sent.Form.Set("MediaContentType"+n, medium.ContentType)
		sent.MediaSIDs, sent.MediaURLs = append(sent.MediaSIDs, h.sid), append(sent.MediaURLs, address)
	}
	if m.Outbound {
		kept.direction, kept.status = "outbound-api", "delivered"
		sent.Form = s.callback(kept, kept.status)
	}
	return sent
}

// messageSID makes up a SID, whose prefix tells whether there are media. The
// caller holds the lock.
func (s *Simulator) messageSID(media int) string {
	if media > 0 {
		return s.sid("MM")
	}
	return s.sid("SM")
}

// newMediaSIDs makes up SIDs of media. The caller holds the lock.
func (s *Simulator) newMediaSIDs(n int) []string {
	sids := make([]string, n)
	for i := range sids {
		sids[i] = s.sid("ME")
	}
	return sids
}

// keep puts a message at its place in the history. The caller holds the lock.
func (s *Simulator) keep(m *message) {
	if known := s.messages[m.sid]; known != nil {
		s.history = slices.DeleteFunc(s.history, func(sid string) bool { return sid == m.sid })
	}
	s.messages[m.sid] = m
	// Of equal times the later comes after.
	i, _ := slices.BinarySearchFunc(s.history, m.created, func(sid string, at time.Time) int {
		return cmp.Or(s.messages[sid].created.Compare(at), -1)
	})
	s.history = slices.Insert(s.history, i, m.sid)
}

// attach gives a message a medium. The caller holds the lock.
func (s *Simulator) attach(m *message, sid string, medium Media, at time.Time) *hosted {
	h := &hosted{
		Media: medium, sid: sid, message: m, modified: at,
		path: accountsPath + s.o.Account + "/Messages/" + m.sid + "/Media/" + sid,
	}
	m.media = append(m.media, h)
	s.media[sid] = h
	return h
}

// Deleted is the SIDs of messages and media that clients deleted, in that order.
// The media of a message that is deleted go with it and are not in it.
func (s *Simulator) Deleted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deleted)
}

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

// messageView shows a message. The caller holds the lock.
func (s *Simulator) messageView(m *message) messageJSON {
	path := accountsPath + s.o.Account + "/Messages/" + m.sid
	v := messageJSON{
		AccountSID: s.o.Account, APIVersion: apiVersion, Body: m.body, DateCreated: date(m.created), DateUpdated: date(m.updated),
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
func (s *Simulator) mediaView(h *hosted) any {
	return map[string]string{
		"account_sid": s.o.Account, "content_type": h.ContentType, "date_created": date(h.modified), "date_updated": date(h.modified),
		"parent_sid": h.message.sid, "sid": h.sid, "uri": h.path + ".json",
	}
}

func (s *Simulator) fetchAccount(c call) answer {
	path := accountsPath + s.o.Account
	return answer{status: http.StatusOK, body: map[string]any{
		"auth_token": s.o.Token, "date_created": date(time.Unix(0, 0)), "date_updated": date(time.Unix(0, 0)),
		"friendly_name": "simulated", "owner_account_sid": s.o.Account, "sid": s.o.Account, "status": "active", "type": "Full",
		"subresource_uris": map[string]string{"messages": path + "/Messages.json", "incoming_phone_numbers": path + "/IncomingPhoneNumbers.json"},
		"uri":              c.path,
	}}
}

// fetchBalance shows an account that has not paid (api.v2010.account.balance).
func (s *Simulator) fetchBalance(call) answer {
	return answer{status: http.StatusOK, body: map[string]string{"account_sid": s.o.Account, "balance": "0.00", "currency": "USD"}}
}

// createFeedback takes what a client says of a message, and keeps nothing of it
// (api.v2010.account.message.message_feedback).
func (s *Simulator) createFeedback(c call) answer {
	if s.messages[c.message] == nil {
		return notFound(c.path)
	}
	now := date(time.Now())
	return answer{status: http.StatusCreated, body: map[string]string{
		"account_sid": s.o.Account, "date_created": now, "date_updated": now, "message_sid": c.message,
		"outcome": c.form.Get("Outcome"), "uri": c.path,
	}}
}

// listNumbers shows of phone numbers what concerns messages.
func (s *Simulator) listNumbers(c call) answer {
	numbers := map[string]Number{}
	all := records{name: "incoming_phone_numbers"}
	for i, n := range s.numbers {
		sid := fmt.Sprintf("PN%032x", i+1)
		numbers[sid] = n
		all.sids = append(all.sids, sid)
	}
	wanted := c.query.Get("PhoneNumber")
	all.listed = func(sid string) bool { return wanted == "" || numbers[sid].PhoneNumber == wanted }
	all.view = func(sid string) any {
		n := numbers[sid]
		return map[string]any{
			"account_sid": s.o.Account, "api_version": apiVersion, "sid": sid, "friendly_name": n.PhoneNumber, "phone_number": n.PhoneNumber,
			"capabilities": map[string]bool{"mms": true, "sms": true, "voice": false, "fax": false},
			"sms_url":      n.SMSURL, "sms_method": cmp.Or(n.SMSMethod, http.MethodPost),
			"sms_fallback_url": n.SMSFallbackURL, "sms_fallback_method": http.MethodPost,
			"date_created": date(time.Unix(0, 0)), "date_updated": date(time.Unix(0, 0)),
			"uri": accountsPath + s.o.Account + "/IncomingPhoneNumbers/" + sid + ".json",
		}
	}
	return s.list(c, all)
}

// listMessages shows the newest first. Of a message that is not sent yet, the
// filters take the time at which it was made.
func (s *Simulator) listMessages(c call) answer {
	admits, ok := dateFilter(c.query, "DateSent")
	if !ok {
		return invalid(20001, "Invalid date value.")
	}
	to, from := c.query.Get("To"), c.query.Get("From")
	newest := slices.Clone(s.history)
	slices.Reverse(newest)
	return s.list(c, records{
		name: "messages", sids: newest,
		listed: func(sid string) bool {
			m := s.messages[sid]
			at := m.sent
			if at.IsZero() {
				at = m.created
			}
			return !m.deleted && (to == "" || m.to == to) && (from == "" || m.from == from) && admits(at)
		},
		view: func(sid string) any { return s.messageView(s.messages[sid]) },
	})
}

// known finds a message that is not deleted.
func (s *Simulator) known(sid string) *message {
	if m := s.messages[sid]; m != nil && !m.deleted {
		return m
	}
	return nil
}

func (s *Simulator) fetchMessage(c call) answer {
	m := s.known(c.message)
	if m == nil {
		return notFound(c.path)
	}
	return answer{status: http.StatusOK, body: s.messageView(m)}
}

func (s *Simulator) deleteMessage(c call) answer {
	m := s.known(c.message)
	if m == nil {
		return notFound(c.path)
	}
	if rank[m.status] < rank["sent"] {
		return answer{status: http.StatusConflict, code: 20009, message: "Cannot delete message because delivery has not been completed."}
	}
	m.deleted = true
	for _, h := range m.media {
		h.deleted = true
	}
	s.deleted = append(s.deleted, m.sid)
	return answer{status: http.StatusNoContent}
}

func (s *Simulator) listMedia(c call) answer {
	m := s.known(c.message)
	if m == nil {
		return notFound(c.path)
	}
	admits, ok := dateFilter(c.query, "DateCreated")
	if !ok {
		return invalid(20001, "Invalid date value.")
	}
	all := records{
		name:   "media_list",
		listed: func(sid string) bool { return s.media[sid].there() && admits(s.media[sid].modified) },
		view:   func(sid string) any { return s.mediaView(s.media[sid]) },
	}
	for _, h := range m.media {
		all.sids = append(all.sids, h.sid)
	}
	a := s.list(c, all)
	m.late = max(m.late-1, 0)
	return a
}

// asked finds the medium of a call.
func (s *Simulator) asked(c call) *hosted {
	if h := s.media[c.media]; h.there() && h.message.sid == c.message {
		return h
	}
	return nil
}

func (s *Simulator) fetchMedia(c call) answer {
	h := s.asked(c)
	if h == nil {
		return notFound(c.path)
	}
	return answer{status: http.StatusOK, body: s.mediaView(h)}
}

func (s *Simulator) deleteMedia(c call) answer {
	h := s.asked(c)
	if h == nil {
		return notFound(c.path)
	}
	h.deleted = true
	s.deleted = append(s.deleted, h.sid)
	return answer{status: http.StatusNoContent}
}
