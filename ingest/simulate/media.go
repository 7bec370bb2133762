package simulate

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Media is one medium of a message.
type Media struct {
	Data        []byte
	ContentType string // as the webhook and the CDN declare it
	// Faults are what happens to the first requests, one each; the next is
	// answered as it should be.
	Faults []Fault
	// Always happens to every request after those of Faults.
	Always Fault
	// URL is sent as the MediaUrl instead of one that is hosted here.
	URL string
}

// Fault is something that goes wrong with a request for a medium.
type Fault string

// The faults. Those of the API happen before the redirect, those of the CDN
// after it.
const (
	NotFound     Fault = "404" // API: as for a medium that is not there yet
	Unauthorized Fault = "401" // API: although the credentials are right
	Gone         Fault = "410" // API
	TooMany      Fault = "429" // API, with Retry-After: 1
	ServerError  Fault = "500" // API
	Unavailable  Fault = "503" // API

	Forbidden    Fault = "403"           // CDN: as for a link that has expired
	RedirectLoop Fault = "redirect-loop" // CDN: redirects to itself
	Reset        Fault = "reset"         // CDN: the connection is reset in the middle of the body
	Stall        Fault = "stall"         // CDN: half of the body, then nothing
	Silent       Fault = "silent"        // CDN: accepts the request and never answers
	Drip         Fault = "drip"          // CDN: a byte a second
	Truncate     Fault = "truncate"      // CDN: half of what Content-Length declares
	WrongType    Fault = "wrong-type"    // CDN: text/html, whatever it is
	Endless      Fault = "endless"       // CDN: never stops sending
)

var faults = []Fault{
	NotFound, Unauthorized, Gone, TooMany, ServerError, Unavailable,
	Forbidden, RedirectLoop, Reset, Stall, Silent, Drip, Truncate, WrongType, Endless,
}

// RedirectTo is an API fault: the redirect leads to target.
func RedirectTo(target string) Fault { return Fault("redirect:" + target) }

// ParseFault reads a fault by its name. The error lists the names.
func ParseFault(name string) (Fault, error) {
	if slices.Contains(faults, Fault(name)) || strings.HasPrefix(name, "redirect:") {
		return Fault(name), nil
	}
	return "", fmt.Errorf("fault %q is none of redirect:URL, %s", name, strings.Join(strings.Fields(fmt.Sprint(faults)), ", "))
}

// hosted is a medium at its address.
type hosted struct {
	Media
	sid       string
	message   *message
	path      string
	modified  time.Time
	deleted   bool
	requests  int // at the API
	downloads int // at the CDN
}

// there tells whether a medium can be had: its message's are there already, and
// it has not been deleted. The caller holds the lock.
func (h *hosted) there() bool { return h != nil && !h.deleted && h.message.late == 0 }

// link is a signed URL of the CDN.
type link struct {
	medium  *hosted
	fault   Fault
	expires time.Time
}

// linkLife is Options.LinkLife unless set.
const linkLife = 4 * time.Hour

// Requests is how often a medium was asked for at the API.
func (s *Simulator) Requests(mediaSID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.media[mediaSID]; m != nil {
		return m.requests
	}
	return 0
}

// Downloads is how often a medium was asked for at the CDN with a good link.
func (s *Simulator) Downloads(mediaSID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.media[mediaSID]; m != nil {
		return m.downloads
	}
	return 0
}

// Signatures are those of all the CDN URLs that were given out, in no order: what a
// handler must not let be seen.
func (s *Simulator) Signatures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.links))
}

// ask finds a medium by its path and takes the fault that is due.
func (s *Simulator) ask(path string) (*hosted, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.media[path[strings.LastIndexByte(path, '/')+1:]]
	if !m.there() || m.path != path {
		return nil, ""
	}
	m.requests++
	if m.requests <= len(m.Faults) {
		return m, m.Faults[m.requests-1]
	}
	return m, m.Always
}

// serveContent is the provider's Media resource without a suffix: the bytes.
func (s *Simulator) serveContent(w http.ResponseWriter, r *http.Request) {
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
	case fault == Unauthorized:
		unauthorized(w, r)
	case s.o.Direct && fault == RedirectLoop:
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
	case status != 0 && (s.o.Direct || fault != Forbidden):
		restError(w, r, status, 20000+status, http.StatusText(status))
	case s.o.Direct:
		serveBody(w, r, m, fault)
	default:
		http.Redirect(w, r, s.sign(m, fault), http.StatusTemporaryRedirect)
	}
}

// sign makes a CDN URL for one request.
func (s *Simulator) sign(m *hosted, fault Fault) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.expiring) > 0 && now.After(s.links[s.expiring[0]].expires) {
		delete(s.links, s.expiring[0])
		s.expiring = s.expiring[1:]
	}
	expires := now.Add(cmp.Or(s.o.LinkLife, linkLife))
	signature := rand.Text()
	s.links[signature] = link{m, fault, expires}
	s.expiring = append(s.expiring, signature)
	return fmt.Sprintf("%s/%s/%s?Expires=%d&Signature=%s&Key-Pair-Id=SIMULATED",
		s.cdnURL, s.o.Account, m.path[len(m.path)-32:], expires.Unix(), signature)
}

// serveCDN is where the API redirects to. Like S3 it refuses a second way of
// authentication.
func (s *Simulator) serveCDN(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	l, ok := s.links[r.URL.Query().Get("Signature")]
	gone := ok && l.medium.deleted
	if ok && !gone {
		l.medium.downloads++
	}
	s.mu.Unlock()
	if gone {
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
		return
	}
	if !ok || time.Now().After(l.expires) || l.fault == Forbidden {
		http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
		return
	}
	if l.fault == RedirectLoop {
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		return
	}
	serveBody(w, r, l.medium, l.fault)
}

// serveBody sends a medium, well or badly.
func serveBody(w http.ResponseWriter, r *http.Request, m *hosted, fault Fault) {
	sum := sha256.Sum256(m.Data)
	w.Header().Set("Content-Type", m.ContentType)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	w.Header().Set("Last-Modified", m.modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(m.Data)))
	half := m.Data[:len(m.Data)/2]
	send := func(data []byte) {
		_, _ = w.Write(data)
		_ = http.NewResponseController(w).Flush()
	}
	switch fault {
	case WrongType:
		w.Header().Set("Content-Type", "text/html")
		send(m.Data)
	case Silent:
		<-r.Context().Done()
	case Stall:
		send(half)
		<-r.Context().Done()
	case Drip:
		drip(r, m.Data, send)
	case Truncate:
		send(half) // the server closes a connection whose body is short
	case Reset:
		send(half)
		reset(w)
	case Endless:
		w.Header().Del("Content-Length")
		for block := make([]byte, 64<<10); r.Context().Err() == nil; {
			send(block)
		}
	default:
		send(m.Data)
	}
}

// reset ends a connection with an RST instead of a FIN, which would look like
// Truncate.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// drip sends a byte a second.
func drip(r *http.Request, data []byte, send func([]byte)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range data {
		send(data[i : i+1])
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
