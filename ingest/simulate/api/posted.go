package api

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mmspipe/ingest/simulate/cdn"
)

// Limits of a message that is posted (Twilio's error dictionary).
const (
	maxMediaURLs = 10      // 21623
	maxBody      = 1600    // characters, 21617
	maxTotal     = 5 << 20 // bytes of all media, 11751
)

// Accepted is a message that a client posted and that was accepted.
type Accepted struct {
	MessageSID string
	Form       url.Values
	Status     string
	Links      []Fetched // those that were read so far, in order
	Done       bool      // all links are read and all callbacks sent
}

// Accepted returns the messages that clients posted and that were accepted, in that order.
func (s *API) Accepted() []Accepted {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	all := make([]Accepted, len(s.account.accepted))
	for i, m := range s.account.accepted {
		all[i] = Accepted{MessageSID: m.sid, Form: maps.Clone(m.form), Status: m.status, Links: slices.Clone(m.links), Done: m.done}
	}
	return all
}

// createMessage accepts a message, and starts its delivery.
func (s *API) createMessage(c call) answer {
	o := s.outcome()
	if o.Refuse != 0 {
		return answer{status: o.Refuse, code: cmp.Or(o.Code, 20000+o.Refuse), message: cmp.Or(http.StatusText(o.Refuse), "Error")}
	}
	if refused := validate(c.form); refused.code != 0 {
		return refused
	}
	now := time.Now()
	m := &message{
		sid: s.account.newMessageSID(len(c.form["MediaUrl"])), direction: "outbound-api", status: "queued",
		to: c.form.Get("To"), from: c.form.Get("From"), body: c.form.Get("Body"), service: c.form.Get("MessagingServiceSid"),
		created: now, updated: now, form: c.form,
	}
	m.mediaSIDs = s.account.newMediaSIDs(len(c.form["MediaUrl"]))
	if m.from == "" {
		m.status = "accepted"
	}
	s.account.add(m)
	s.account.accepted = append(s.account.accepted, m)
	a := answer{status: http.StatusCreated, body: s.account.messageView(m), fault: o.Answer}
	if o.Answer == cdn.ServerError {
		a = answer{status: http.StatusInternalServerError, code: 20500, message: "Internal Server Error"}
	}
	s.background(func() { s.delivery.deliver(m, o) })
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
