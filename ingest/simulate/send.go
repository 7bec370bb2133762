package simulate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a message that is posted (Twilio's error dictionary).
const (
	maxMediaURLs = 10      // 21623
	maxBody      = 1600    // characters, 21617
	maxTotal     = 5 << 20 // bytes of all media, 11751
)

// Outcome is what comes of one message that a client posts. The zero value is
// accepted, answered, sent and delivered.
type Outcome struct {
	// Refuse is a status, such as 429 (with Retry-After: 1), 500 or 400, that the
	// request is answered with instead of being accepted.
	Refuse int
	// Code is Twilio's error code: of the refusal, 20000 and its status if 0; or of
	// a message that is accepted and then fails.
	Code int
	// Answer is what the client sees of a message that is accepted: ServerError;
	// Silent, which ends when the client hangs up; Reset; or, if empty, 201.
	Answer Fault
	// Callbacks are the statuses that are called back, in this order. If nil, sent
	// and delivered, or failed, and before these queued with a Messaging Service;
	// none if empty. A message whose media cannot be read fails in the usual order.
	Callbacks []string
}

// Fetched is what was read of a media link of a message that was accepted.
type Fetched struct {
	URL         string
	Head, Get   int // HTTP statuses, 0 without a whole answer
	ContentType string
	Size        int64  // bytes that were read
	SHA256      string // of these, in hexadecimal
}

// Accepted is a message that a client posted and that was accepted.
type Accepted struct {
	MessageSID string
	Form       url.Values
	Status     string
	Links      []Fetched // those that were read so far, in order
	Done       bool      // all links are read and all callbacks sent
}

// Script says what comes of the next messages that clients post, one each,
// whatever else is wrong with them. Those after are accepted and delivered.
func (s *Simulator) Script(outcomes ...Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, outcomes...)
}

// Accepted is the messages that were accepted, in that order.
func (s *Simulator) Accepted() []Accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Accepted, len(s.accepted))
	for i, m := range s.accepted {
		all[i] = Accepted{MessageSID: m.sid, Form: maps.Clone(m.form), Status: m.status, Links: slices.Clone(m.links), Done: m.done}
	}
	return all
}

// rank orders the statuses of a message, which only moves up
// (https://www.twilio.com/docs/messaging/api/message-resource#message-status-values).
var rank = map[string]int{
	"accepted": 0, "queued": 1, "sending": 2, "sent": 3,
	"received": 4, "delivered": 4, "undelivered": 4, "failed": 4, "canceled": 4, "read": 5,
}

// createMessage accepts a message, and starts its delivery.
func (s *Simulator) createMessage(c call) answer {
	var o Outcome
	if len(s.script) > 0 {
		o, s.script = s.script[0], s.script[1:]
	}
	if o.Refuse != 0 {
		return answer{status: o.Refuse, code: cmp.Or(o.Code, 20000+o.Refuse), message: cmp.Or(http.StatusText(o.Refuse), "Error")}
	}
	if refused := validate(c.form); refused.code != 0 {
		return refused
	}
	now := time.Now()
	m := &message{
		sid: s.messageSID(len(c.form["MediaUrl"])), direction: "outbound-api", status: "queued",
		to: c.form.Get("To"), from: c.form.Get("From"), body: c.form.Get("Body"), service: c.form.Get("MessagingServiceSid"),
		created: now, updated: now, form: c.form,
	}
	m.mediaSIDs = s.newMediaSIDs(len(c.form["MediaUrl"]))
	if m.from == "" {
		m.status = "accepted"
	}
	s.keep(m)
	s.accepted = append(s.accepted, m)
	a := answer{status: http.StatusCreated, body: s.messageView(m), fault: o.Answer}
	if o.Answer == ServerError {
		a = answer{status: http.StatusInternalServerError, code: 20500, message: "Internal Server Error"}
	}
	s.running.Go(func() { s.deliver(m, o) })
	return a
}

var (
	phoneNumber = regexp.MustCompile(`^([a-z]+:)?\+[1-9][0-9]{6,14}$`)    // E.164, of a channel
	sender      = regexp.MustCompile(`^[0-9]{5,6}$|^[0-9A-Za-z ]{1,11}$`) // short code, alphanumeric sender
)

// validate refuses what Twilio refuses at once; the answer is zero if nothing is
// wrong.
func validate(form url.Values) answer {
	to, from, links := form.Get("To"), form.Get("From"), form["MediaUrl"]
	switch {
	case to == "":
		return invalid(21604, "A 'To' phone number is required.")
	case !phoneNumber.MatchString(to):
		return invalid(21211, fmt.Sprintf("The 'To' number %s is not a valid phone number.", to))
	case from == "" && form.Get("MessagingServiceSid") == "":
		return invalid(21603, "A 'From' phone number is required.")
	case from != "" && !phoneNumber.MatchString(from) && !sender.MatchString(from):
		return invalid(21212, fmt.Sprintf("The 'From' number %s is not a valid phone number, shortcode, or alphanumeric sender ID.", from))
	case form.Get("Body") == "" && len(links) == 0 && from == "":
		return invalid(21619, "A text message body or media urls must be specified.")
	case form.Get("Body") == "" && len(links) == 0:
		return invalid(21602, "Message body is required.")
	case utf8.RuneCountInString(form.Get("Body")) > maxBody:
		return invalid(21617, "The concatenated message body exceeds the 1600 character limit.")
	case len(links) > maxMediaURLs:
		return invalid(21623, "Number of media files exceeds allowed limit")
	}
	for _, link := range links {
		if u, err := url.Parse(link); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return invalid(21620, "Media urls: "+strings.Join(links, ", ")+" are invalid. Please use only valid http and https urls")
		}
	}
	return answer{}
}

// deliver does what follows after a message was accepted.
func (s *Simulator) deliver(m *message, o Outcome) {
	unread := s.readLinks(m)
	statuses := o.Callbacks
	s.mu.Lock()
	m.code = cmp.Or(unread, o.Code)
	if m.from == "" {
		m.from = "+15005550006" // Twilio's test number, for the pool of the service
		if len(s.numbers) > 0 {
			m.from = s.numbers[0].PhoneNumber
		}
	}
	usual := []string{"sent", "delivered"}
	if m.code != 0 {
		usual = []string{"failed"}
	}
	if m.service != "" {
		usual = slices.Insert(usual, 0, "queued") // the first status, accepted, is not called back
	}
	s.mu.Unlock()
	if statuses == nil || unread != 0 && len(statuses) > 0 {
		statuses = usual
	}
	for _, status := range statuses {
		s.report(m, status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.advance(usual[len(usual)-1])
	m.done = true
}

// report moves a message to a status and calls it back. Nobody is told when
// nobody answers, as at Twilio.
func (s *Simulator) report(m *message, status string) {
	s.mu.Lock()
	m.advance(status)
	form := s.callback(m, status)
	s.mu.Unlock()
	if address := m.form.Get("StatusCallback"); address != "" {
		_, _ = s.post(s.ctx, address, Sent{MessageSID: m.sid, Form: form, token: s.o.Token})
	}
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

// readLinks reads the media of a message, one after the other, and returns the
// error code that it fails with, or 0.
func (s *Simulator) readLinks(m *message) int {
	code, total := 0, 0
	for i, address := range m.form["MediaUrl"] {
		fetched, data := s.readLink(address)
		s.mu.Lock()
		m.links = append(m.links, fetched)
		if len(data) > 0 {
			if s.bodies[fetched.SHA256] == nil {
				s.bodies[fetched.SHA256] = data
			}
			s.attach(m, m.mediaSIDs[i], Media{Data: s.bodies[fetched.SHA256], ContentType: fetched.ContentType}, time.Now())
		}
		s.mu.Unlock()
		total += len(data)
		code = cmp.Or(code, fetched.code())
	}
	if total > maxTotal {
		code = cmp.Or(code, 11751)
	}
	return code
}

// code is the error that a medium makes a message fail with, or 0.
func (f Fetched) code() int {
	switch {
	case f.Get != http.StatusOK:
		return 11200 // HTTP retrieval failure
	case f.Size == 0:
		return 63019 // nothing could be downloaded
	case f.ContentType == "":
		return 12300 // no acceptable content type
	}
	return 0
}

// readLink asks for a link's header and then for its body, which it returns if it
// came whole with a 200, or up to where it is too much.
func (s *Simulator) readLink(address string) (Fetched, []byte) {
	f := Fetched{URL: address}
	head, err := http.NewRequestWithContext(s.ctx, http.MethodHead, address, nil)
	if err != nil {
		return f, nil
	}
	head.Header.Set("User-Agent", "TwilioProxy/1.1")
	if response, err := s.client.Do(head); err == nil {
		f.Head = response.StatusCode
		_ = response.Body.Close()
	}
	get := head.Clone(s.ctx)
	get.Method = http.MethodGet
	response, err := s.client.Do(get)
	if err != nil {
		return f, nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxTotal+1))
	sum := sha256.Sum256(data)
	f.Get, f.ContentType = response.StatusCode, response.Header.Get("Content-Type")
	f.Size, f.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	if err != nil {
		f.Get = 0
	}
	if f.Get != http.StatusOK {
		return f, nil
	}
	return f, data
}
