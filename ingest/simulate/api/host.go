package api

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/simulate/cdn"
)

// Message is a message, inbound unless it says otherwise.
type Message struct {
	SID      string // made up if empty
	From, To string // made up if empty
	Body     string
	Media    []Media
	Forged   bool // its webhook is signed with another token

	// Outbound is a message that somebody else sent through the API. Its webhook
	// is the status callback that it was delivered.
	Outbound bool
	// Late is how many lists of its media are empty, although it has some, before
	// these are there.
	Late int
}

// Media is one medium of a message.
type Media struct {
	Data        []byte
	ContentType string // as the webhook and the CDN declare it
	// Faults are what happens to the first requests, one each; the next is
	// answered as it should be.
	Faults []cdn.Fault
	// Always happens to every request after those of Faults.
	Always cdn.Fault
	// URL is sent as the MediaUrl instead of one that is hosted here.
	URL string
}

// Hosted is a message that is kept, and the form of its webhook.
type Hosted struct {
	MessageSID string
	MediaSIDs  []string
	MediaURLs  []string
	Form       url.Values
}

// Host keeps a message and its media as of a time, and sends nothing. Data of media are
// kept as they are, and may be shared. A message takes the place of one with the same SID.
func (s *API) Host(m Message, at time.Time) Hosted {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	kept := &message{
		sid: m.SID, direction: "inbound", status: "received", from: m.From, to: m.To, body: m.Body,
		created: at, updated: at, sent: at, late: m.Late,
	}
	if kept.sid == "" {
		kept.sid = s.account.newMessageSID(len(m.Media))
	}
	for _, number := range []*string{&kept.from, &kept.to} {
		if *number == "" {
			*number = fmt.Sprintf("+1415555%04d", s.account.rand.IntN(10000))
		}
	}
	s.account.add(kept)
	hosted := Hosted{MessageSID: kept.sid}
	hosted.Form = inboundForm(s.account.sid, kept.sid, kept.from, kept.to, m.Body, len(m.Media))
	kept.mediaSIDs = s.account.newMediaSIDs(len(m.Media))
	for i, medium := range m.Media {
		h := s.account.attach(kept, kept.mediaSIDs[i], medium, at)
		address := cmp.Or(medium.URL, s.account.origin+h.path)
		n := strconv.Itoa(i)
		hosted.Form.Set("MediaUrl"+n, address)
		hosted.Form.Set("MediaContentType"+n, medium.ContentType)
		hosted.MediaSIDs, hosted.MediaURLs = append(hosted.MediaSIDs, h.sid), append(hosted.MediaURLs, address)
	}
	if m.Outbound {
		kept.direction, kept.status = "outbound-api", "delivered"
		hosted.Form = s.account.callbackForm(kept, kept.status)
	}
	return hosted
}

// StatusForm is the form of a status callback of a message, also of one that is not kept
// here.
func (s *API) StatusForm(messageSID, status string) url.Values {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	m := cmp.Or(s.account.messages[messageSID], &message{sid: messageSID, from: "+15005550006", to: "+15005550009"})
	return s.account.callbackForm(m, status)
}

// Requests returns how often a medium's bytes were asked for at the API.
func (s *API) Requests(mediaSID string) int {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	if m := s.account.media[mediaSID]; m != nil {
		return m.requests
	}
	return 0
}

// Downloads returns how often a medium was asked for at the CDN with a good link.
func (s *API) Downloads(mediaSID string) int {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	if m := s.account.media[mediaSID]; m != nil {
		return s.cdn.Downloads(m.object)
	}
	return 0
}

// ask finds a medium by its path, counts the request, and takes the fault that is due.
func (s *API) ask(path string) (*medium, cdn.Fault) {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	m := s.account.media[path[strings.LastIndexByte(path, '/')+1:]]
	if !m.isThere() || m.path != path {
		return nil, ""
	}
	m.requests++
	if m.requests <= len(m.Faults) {
		return m, m.Faults[m.requests-1]
	}
	return m, m.Always
}

// serveContent is the provider's Media resource without a suffix: the bytes.
func (s *API) serveContent(w http.ResponseWriter, r *http.Request) {
	if s.throttled(FetchContent) {
		restError(w, r, http.StatusTooManyRequests, 20429, "Too Many Requests")
		return
	}
	m, fault := s.ask(r.URL.Path)
	if m == nil {
		restError(w, r, http.StatusNotFound, 20404, "The requested resource "+r.URL.Path+" was not found")
		return
	}
	if target, ok := strings.CutPrefix(string(fault), "redirect:"); ok {
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		return
	}
	switch status, _ := strconv.Atoi(string(fault)); {
	case fault == cdn.Unauthorized:
		unauthorized(w, r)
	case s.direct && fault == cdn.RedirectLoop:
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
	case status != 0 && (s.direct || fault != cdn.Forbidden):
		restError(w, r, status, 20000+status, http.StatusText(status))
	case s.direct:
		cdn.ServeObject(w, r, m.object, fault)
	default:
		http.Redirect(w, r, s.cdn.Link(m.object, fault), http.StatusTemporaryRedirect)
	}
}
