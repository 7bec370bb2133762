// Package api stands in for Twilio's REST API: the account, its phone numbers, its messages
// and their media, and what follows after a client posted a message. Shapes and error codes
// are those of Twilio's OpenAPI document (twilio-oai, twilio_api_v2010.json) and error
// dictionary (https://www.twilio.com/docs/api/errors).
//
// [Mishaps] say what goes wrong. Everything is kept in memory.
package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mmspipe/ingest/simulate/cdn"
)

// Options are what the API works with. All fields but Direct are required.
type Options struct {
	Account, Token string // whose API it is, and what opens it
	Origin         string // that it is served under
	CDN            *cdn.CDN
	Client         *http.Client // reads media links and calls statuses back
	Seed           uint64       // of the SIDs and numbers that are made up
	Direct         bool         // answer with a medium's bytes instead of redirecting to the CDN

	// Background runs what goes on after a request was answered, in a goroutine.
	Background func(func())
}

// API is the API of one account. Its methods may be called from many goroutines.
type API struct {
	*Mishaps
	account    *account
	cdn        *cdn.CDN
	direct     bool
	delivery   *delivery
	background func(func())
}

// New returns an API that knows nothing yet. What goes on in the background ends with ctx.
func New(ctx context.Context, o Options) *API {
	a := &account{
		sid: o.Account, token: o.Token, origin: o.Origin, rand: rand.New(rand.NewPCG(o.Seed, 0)),
		messages: map[string]*message{}, media: map[string]*medium{}, bodies: map[string][]byte{},
	}
	return &API{
		Mishaps: newMishaps(), account: a, cdn: o.CDN, direct: o.Direct, background: o.Background,
		delivery: &delivery{ctx: ctx, account: a, client: o.Client},
	}
}

// SetNumbers says which phone numbers the account has from now on.
func (s *API) SetNumbers(numbers ...Number) {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	s.account.numbers = slices.Clone(numbers)
}

// Deleted is the SIDs of messages and media that clients deleted, in that order.
// The media of a message that is deleted go with it and are not in it.
func (s *API) Deleted() []string {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	return slices.Clone(s.account.deleted)
}

// Operation is what a request of the API does, named as in Twilio's OpenAPI
// document and libraries.
type Operation string

// The operations that are played.
const (
	FetchAccount            Operation = "FetchAccount"
	ListIncomingPhoneNumber Operation = "ListIncomingPhoneNumber"
	FetchBalance            Operation = "FetchBalance"
	CreateMessageFeedback   Operation = "CreateMessageFeedback"
	CreateMessage           Operation = "CreateMessage"
	ListMessage             Operation = "ListMessage"
	FetchMessage            Operation = "FetchMessage"
	DeleteMessage           Operation = "DeleteMessage"
	ListMedia               Operation = "ListMedia"
	FetchMedia              Operation = "FetchMedia"
	DeleteMedia             Operation = "DeleteMedia"
	FetchContent            Operation = "FetchContent" // the bytes of a medium, which the document leaves out
)

// route is how one operation is answered, under the lock.
type route struct {
	operation Operation
	answer    func(*API, call) answer
}

// routes are by the method and the path below the account, * for a SID.
var routes = map[string]route{
	"GET /":                      {FetchAccount, (*API).fetchAccount},
	"GET /IncomingPhoneNumbers":  {ListIncomingPhoneNumber, (*API).listNumbers},
	"GET /Balance":               {FetchBalance, (*API).fetchBalance},
	"POST /Messages/*/Feedback":  {CreateMessageFeedback, (*API).createFeedback},
	"POST /Messages":             {CreateMessage, (*API).createMessage},
	"GET /Messages":              {ListMessage, (*API).listMessages},
	"GET /Messages/*":            {FetchMessage, (*API).fetchMessage},
	"DELETE /Messages/*":         {DeleteMessage, (*API).deleteMessage},
	"GET /Messages/*/Media":      {ListMedia, (*API).listMedia},
	"GET /Messages/*/Media/*":    {FetchMedia, (*API).fetchMedia},
	"DELETE /Messages/*/Media/*": {DeleteMedia, (*API).deleteMedia},
}

// call is a request that has found its route.
type call struct {
	operation      Operation
	path           string // as it was asked for
	message, media string // SIDs in the path
	query, form    url.Values
}

// answer is what a call is answered with.
type answer struct {
	status  int
	body    any       // sent as JSON; nothing if nil
	code    int       // of an error, which is the body then
	message string    // of an error
	fault   cdn.Fault // what the client sees of the answer, if not all: Silent, Reset or Truncate
}

// notFound is the answer to a path that leads nowhere.
func notFound(path string) answer {
	return answer{status: http.StatusNotFound, code: 20404, message: "The requested resource " + path + " was not found"}
}

// invalid is the answer to a parameter that cannot be.
func invalid(code int, message string) answer {
	return answer{status: http.StatusBadRequest, code: code, message: message}
}

// Serve answers as the provider's API. Paths that end in .json are its resources; of the
// others there is only the content of media.
func (s *API) Serve(w http.ResponseWriter, r *http.Request) {
	path, isJSON := strings.CutSuffix(r.URL.Path, ".json")
	below, ok := strings.CutPrefix(path+"/", accountsPath)
	account, below, _ := strings.Cut(below, "/")
	user, password, _ := r.BasicAuth()
	right := subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(s.account.sid+":"+s.account.token)) == 1
	switch {
	case !right || ok && account != s.account.sid:
		unauthorized(w, r)
	case !ok:
		notFound(r.URL.Path).write(w, r)
	case isJSON:
		s.answer(r, strings.TrimSuffix(below, "/")).write(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.serveContent(w, r)
	default:
		restError(w, r, http.StatusMethodNotAllowed, 20004, "Method not allowed")
	}
}

// answer finds the route of a request and takes it.
func (s *API) answer(r *http.Request, below string) answer {
	if err := r.ParseForm(); err != nil {
		return invalid(20001, "Invalid parameters.")
	}
	c := call{path: r.URL.Path, query: r.URL.Query(), form: r.PostForm}
	parts := strings.Split(below, "/")
	for i, sid := range map[int]*string{1: &c.message, 3: &c.media} {
		if i < len(parts) {
			*sid, parts[i] = parts[i], "*"
		}
	}
	shape := " /" + strings.Join(parts, "/")
	found, ok := routes[r.Method+shape]
	if !ok {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if _, other := routes[method+shape]; other {
				return answer{status: http.StatusMethodNotAllowed, code: 20004, message: "Method not allowed"}
			}
		}
		return notFound(c.path)
	}
	c.operation = found.operation
	if s.throttled(c.operation) {
		return answer{status: http.StatusTooManyRequests, code: 20429, message: "Too Many Requests"}
	}
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	return found.answer(s, c)
}

// write sends an answer, or what its fault leaves of it.
func (a answer) write(w http.ResponseWriter, r *http.Request) {
	switch {
	case a.fault == cdn.Silent:
		<-r.Context().Done()
	case a.fault == cdn.Reset:
		cdn.CutConnection(w)
	case a.code != 0:
		restError(w, r, a.status, a.code, a.message)
	case a.body == nil:
		w.WriteHeader(a.status)
	default:
		body, err := json.Marshal(a.body)
		if err != nil {
			panic(err) // of a type of this package that has no JSON
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(a.status)
		if a.fault == cdn.Truncate {
			body = body[:len(body)/2] // the server closes a connection whose body is short
		}
		_, _ = w.Write(body)
	}
}

// unauthorized answers as to wrong credentials.
func unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
	restError(w, r, http.StatusUnauthorized, 20003, "Authenticate")
}

// restError answers as Twilio's API does: in JSON where the path asks for it, and
// in XML where it has no suffix (https://www.twilio.com/docs/usage/twilios-response).
func restError(w http.ResponseWriter, r *http.Request, status, code int, message string) {
	info := fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code)
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	if strings.HasSuffix(r.URL.Path, ".json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": message, "more_info": info, "status": status})
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(message)) // a Builder takes everything
	fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException><Code>%d</Code><Message>%s</Message>"+
		"<MoreInfo>%s</MoreInfo><Status>%d</Status></RestException></TwilioResponse>", code, escaped.String(), info, status)
}
