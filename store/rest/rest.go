// Package rest is the conventions of Twilio's REST API, version 2010-04-01:
// errors, representations, dates, pages and authentication
// (https://www.twilio.com/docs/usage/twilios-response).
//
// The suffix of a path decides its representation, whatever the Accept header
// says: .json is JSON, .xml and none are XML. Errors have the representation of
// the path they are about.
package rest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Prefix begins every path of the API.
const Prefix = "/2010-04-01/"

// Error is an answer other than success. Clients act on its code and status; the
// message is for people.
type Error struct {
	XMLName  xml.Name `json:"-" xml:"RestException"`
	Code     int      `json:"code" xml:"Code"`
	Message  string   `json:"message" xml:"Message"`
	MoreInfo string   `json:"more_info" xml:"MoreInfo"`
	Status   int      `json:"status" xml:"Status"`

	header map[string]string
}

// Error returns the code and the message.
func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// newError makes an Error whose page is that of its code
// (https://www.twilio.com/docs/api/errors).
func newError(status, code int, message string) *Error {
	return &Error{Status: status, Code: code, Message: message, MoreInfo: fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code)}
}

// BadRequest is 400/20001: a parameter has a bad value.
func BadRequest(message string) *Error { return newError(http.StatusBadRequest, 20001, message) }

// Refused is 400 with a code of the provider's own for what is wrong.
func Refused(code int, message string) *Error {
	return newError(http.StatusBadRequest, code, message)
}

// Unauthorized is 401/20003: the credentials are missing, wrong, or not enough.
func Unauthorized() *Error {
	e := newError(http.StatusUnauthorized, 20003, "Authenticate")
	e.header = map[string]string{"WWW-Authenticate": `Basic realm="Twilio API"`}
	return e
}

// NotFound is 404/20404: what the path names does not exist or is not the
// caller's.
func NotFound(r *http.Request) *Error {
	return newError(http.StatusNotFound, 20404, "The requested resource "+r.URL.Path+" was not found")
}

// MethodNotAllowed is 405/20004.
func MethodNotAllowed(allowed ...string) *Error {
	e := newError(http.StatusMethodNotAllowed, 20004, "Method not allowed")
	e.header = map[string]string{"Allow": strings.Join(allowed, ", ")}
	return e
}

// NotAcceptable is 406/20406: the representation is not one that there is.
func NotAcceptable() *Error {
	return newError(http.StatusNotAcceptable, 20406, "The requested representation is not available")
}

// Conflict is 409/20009: what is to be changed is still being worked on.
func Conflict(message string) *Error { return newError(http.StatusConflict, 20009, message) }

// TooLarge is 413/20413: the request's body is over the limit.
func TooLarge() *Error {
	return newError(http.StatusRequestEntityTooLarge, 20413, "Request body too large")
}

// TooManyRequests is 429/20429.
func TooManyRequests(wait time.Duration) *Error {
	e := newError(http.StatusTooManyRequests, 20429, "Too Many Requests")
	e.header = map[string]string{"Retry-After": fmt.Sprint(int(wait.Seconds()) + 1)}
	return e
}

// Internal is 500/20500: a fault of this program.
func Internal() *Error {
	return newError(http.StatusInternalServerError, 20500, "Internal server error")
}

// Damaged is 502/20502: what is stored is not what was stored. Trying again helps only
// when it was mended.
func Damaged() *Error {
	return newError(http.StatusBadGateway, 20502, "The stored resource is damaged")
}

// Unavailable is 503/20503: something that is needed is away for the moment.
func Unavailable() *Error {
	return newError(http.StatusServiceUnavailable, 20503, "Service unavailable, please try again")
}

// Write answers with v, which has the names of both representations in its
// tags, in the one that the path asks for.
func Write(w http.ResponseWriter, r *http.Request, status int, v any) error {
	var body []byte
	var err error
	contentType := "application/json"
	if IsJSON(r.URL.Path) {
		body, err = marshalJSON(v)
	} else {
		contentType = "application/xml"
		body, err = marshalXML(v)
	}
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone cannot be told
	return nil
}

// WriteError answers with err, or with 503 if that is not an [*Error]: then it is
// of something that the service needs, and its text is not for clients.
func WriteError(w http.ResponseWriter, r *http.Request, err error) (status int) {
	var e *Error
	if !errors.As(err, &e) {
		e = Unavailable()
	}
	for name, value := range e.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Cache-Control", "no-store")
	_ = Write(w, r, e.Status, e) // an Error can always be encoded
	return e.Status
}

// IsJSON tells whether a path's representation is JSON. What is not the
// provider's API has no other.
func IsJSON(path string) bool {
	return strings.HasSuffix(path, ".json") || !strings.HasPrefix(path, Prefix)
}

// marshalJSON leaves the & of URIs readable, as the provider does.
func marshalJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func marshalXML(v any) ([]byte, error) {
	inner, err := xml.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse>%s</TwilioResponse>", inner), nil
}

// Date is a time as the API writes it: RFC 2822 in GMT with a numeric zone, to
// the second. Twilio's library for Node parses the zone as the letters +0000.
type Date time.Time

// MarshalText writes the date, for JSON and XML alike.
func (d Date) MarshalText() ([]byte, error) {
	return time.Time(d).UTC().AppendFormat(nil, time.RFC1123Z), nil
}
