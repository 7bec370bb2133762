package cdn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is something that goes wrong with a request for a medium, at the API or at the
// CDN.
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

// ServeObject answers with the bytes of an object, or with what a fault leaves of them.
func ServeObject(w http.ResponseWriter, r *http.Request, o *Object, fault Fault) {
	sum := sha256.Sum256(o.Data)
	w.Header().Set("Content-Type", o.ContentType)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	w.Header().Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(o.Data)))
	half := o.Data[:len(o.Data)/2]
	send := func(data []byte) {
		_, _ = w.Write(data)
		_ = http.NewResponseController(w).Flush()
	}
	switch fault {
	case WrongType:
		w.Header().Set("Content-Type", "text/html")
		send(o.Data)
	case Silent:
		<-r.Context().Done()
	case Stall:
		send(half)
		<-r.Context().Done()
	case Drip:
		drip(r, o.Data, send)
	case Truncate:
		send(half) // the server closes a connection whose body is short
	case Reset:
		send(half)
		CutConnection(w)
	case Endless:
		w.Header().Del("Content-Length")
		for block := make([]byte, 64<<10); r.Context().Err() == nil; {
			send(block)
		}
	default:
		send(o.Data)
	}
}

// CutConnection ends a connection with an RST. A FIN would look like [Truncate].
func CutConnection(w http.ResponseWriter) {
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
