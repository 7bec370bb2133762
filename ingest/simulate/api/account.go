package api

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"mmspipe/ingest/simulate/cdn"
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

// message is what the API knows of a message.
type message struct {
	sid, direction, status  string
	from, to, body, service string
	created, updated, sent  time.Time // sent is zero as long as it is not
	code                    int       // why it failed
	media                   []*medium
	mediaSIDs               []string // of all that it was made with, there already or not
	late                    int      // lists of media that are still empty
	deleted                 bool

	form  url.Values // of the request that made it
	links []Fetched  // those that were read so far
	done  bool
}

// medium is a medium as the API knows it.
type medium struct {
	Media
	sid      string
	message  *message
	path     string
	object   *cdn.Object // its bytes
	deleted  bool
	requests int // for its bytes, at the API
}

// isThere tells whether the API has a medium: those of its message are there already, and
// it was not deleted. The caller holds the lock.
func (m *medium) isThere() bool { return m != nil && !m.deleted && m.message.late == 0 }

// rank orders the statuses of a message, which only moves up
// (https://www.twilio.com/docs/messaging/api/message-resource#message-status-values).
var rank = map[string]int{
	"accepted": 0, "queued": 1, "sending": 2, "sent": 3,
	"received": 4, "delivered": 4, "undelivered": 4, "failed": 4, "canceled": 4, "read": 5,
}

// advance moves a message to a status, never back. The caller holds the lock.
func (m *message) advance(status string) {
	if rank[status] <= rank[m.status] {
		return
	}
	m.status, m.updated = status, time.Now()
	if m.sent.IsZero() && rank[status] >= rank["sent"] {
		m.sent = m.updated
	}
}

// account is what the provider keeps of an account. Whoever calls its methods or reads its
// fields below mu holds mu.
type account struct {
	sid, token string
	origin     string // of the API

	mu       sync.Mutex
	rand     *rand.Rand
	numbers  []Number
	messages map[string]*message // by SID
	history  []string            // SIDs of messages, oldest first, deleted ones too
	media    map[string]*medium  // by SID
	accepted []*message          // that clients posted, in order
	deleted  []string            // SIDs of what clients deleted, in order
	bodies   map[string][]byte   // media that were read for clients, by SHA-256
}

// newSID makes up a SID. Only SIDs and numbers come from the seed, so that they do not
// depend on what is fetched meanwhile.
func (a *account) newSID(prefix string) string {
	return fmt.Sprintf("%s%016x%016x", prefix, a.rand.Uint64(), a.rand.Uint64())
}

// newMessageSID makes up a SID, whose prefix tells whether there are media.
func (a *account) newMessageSID(media int) string {
	if media > 0 {
		return a.newSID("MM")
	}
	return a.newSID("SM")
}

// newMediaSIDs makes up SIDs of media.
func (a *account) newMediaSIDs(n int) []string {
	sids := make([]string, n)
	for i := range sids {
		sids[i] = a.newSID("ME")
	}
	return sids
}

// add puts a message at its place in the history. It takes the place of one with the
// same SID.
func (a *account) add(m *message) {
	if known := a.messages[m.sid]; known != nil {
		a.history = slices.DeleteFunc(a.history, func(sid string) bool { return sid == m.sid })
	}
	a.messages[m.sid] = m
	// Of equal times the later comes after.
	i, _ := slices.BinarySearchFunc(a.history, m.created, func(sid string, at time.Time) int {
		return cmp.Or(a.messages[sid].created.Compare(at), -1)
	})
	a.history = slices.Insert(a.history, i, m.sid)
}

// attach gives a message a medium.
func (a *account) attach(m *message, sid string, media Media, at time.Time) *medium {
	h := &medium{
		Media: media, sid: sid, message: m,
		path:   accountsPath + a.sid + "/Messages/" + m.sid + "/Media/" + sid,
		object: &cdn.Object{Path: a.sid + "/" + sid[len("ME"):], Data: media.Data, ContentType: media.ContentType, Modified: at},
	}
	m.media = append(m.media, h)
	a.media[sid] = h
	return h
}

// message finds a message that is not deleted; nil if there is none.
func (a *account) message(sid string) *message {
	if m := a.messages[sid]; m != nil && !m.deleted {
		return m
	}
	return nil
}

// medium finds a medium of a message that is there; nil if there is none.
func (a *account) medium(messageSID, sid string) *medium {
	if h := a.media[sid]; h.isThere() && h.message.sid == messageSID {
		return h
	}
	return nil
}

// callbackForm is the form of a status callback
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status).
func (a *account) callbackForm(m *message, status string) url.Values {
	form := url.Values{
		"MessageSid": {m.sid}, "SmsSid": {m.sid}, "AccountSid": {a.sid}, "From": {m.from}, "To": {m.to},
		"MessageStatus": {status}, "SmsStatus": {status}, "ApiVersion": {apiVersion},
	}
	if m.service != "" {
		form.Set("MessagingServiceSid", m.service)
	}
	if m.code != 0 && (status == "failed" || status == "undelivered") {
		form.Set("ErrorCode", strconv.Itoa(m.code))
	}
	return form
}

// inboundForm holds all parameters of the webhook of an inbound message, empty ones too.
func inboundForm(account, message, from, to, body string, media int) url.Values {
	return url.Values{
		"MessageSid": {message}, "SmsSid": {message}, "SmsMessageSid": {message}, "AccountSid": {account},
		"From": {from}, "To": {to}, "Body": {body}, "NumMedia": {strconv.Itoa(media)}, "NumSegments": {strconv.Itoa(max(media, 1))},
		"SmsStatus": {"received"}, "ApiVersion": {apiVersion},
		"FromCity": {"SAN FRANCISCO"}, "FromState": {"CA"}, "FromZip": {"94103"}, "FromCountry": {"US"},
		"ToCity": {""}, "ToState": {"CA"}, "ToZip": {""}, "ToCountry": {"US"}, "ReferralNumMedia": {"0"},
	}
}
