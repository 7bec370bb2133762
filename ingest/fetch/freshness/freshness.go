// Package freshness says how long an HTTP response may be used again: the part of
// RFC 9111 that looks at header fields alone. It holds no response and asks no
// host.
package freshness

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"
)

// heuristicShare and heuristicMost bound how long a response is fresh that does
// not say so itself: a tenth of the time that it had not been modified, as RFC
// 9111 section 4.2.2 suggests, but an hour at most. Who replaces a picture under
// its old URL must not send the old one all day, and past the hour an answer
// costs a 304.
const (
	heuristicShare = 10
	heuristicMost  = time.Hour
)

// fields are the header fields that a response is judged by and served with.
var fields = []string{"Age", "Cache-Control", "Content-Type", "Date", "Etag", "Expires", "Last-Modified", "Vary"}

// Fields returns those of a response's header fields that its freshness depends on
// and that it is served with again.
func Fields(h http.Header) http.Header {
	kept := http.Header{}
	for _, name := range fields {
		if values := h.Values(name); len(values) > 0 {
			kept[name] = slices.Clone(values)
		}
	}
	return kept
}

// Update returns the fields of a stored response after a 304: those it names are
// replaced (RFC 9111 section 3.2). Age and Date are of one message.
func Update(old, notModified http.Header) http.Header {
	h := old.Clone()
	h.Del("Age")
	h.Del("Date")
	maps.Copy(h, Fields(notModified))
	return h
}

// directives reads Cache-Control. It is nil where that cannot be read, or forbids
// a cache that serves several accounts to keep the response: no-store and private
// (RFC 9111 sections 5.2.2.5 and 5.2.2.7), the latter even if only of some fields.
func directives(h http.Header) *cacheobject.ResponseCacheDirectives {
	d, err := cacheobject.ParseResponseCacheControl(strings.Join(h.Values("Cache-Control"), ", "))
	switch {
	case err != nil, d.NoStore, d.PrivatePresent:
		return nil
	case d.NoCache["No-Store"]: // after a field name without quotes, which the parser takes for a list
		return nil
	}
	return d
}

// Storable reports whether a response with these fields may be kept, and is worth
// it. Only Vary: * excludes one: the fields of our requests are always the same
// (RFC 9111 section 4.1).
func Storable(h http.Header, requested time.Time) bool {
	varies := slices.ContainsFunc(h.Values("Vary"), func(v string) bool { return strings.Contains(v, "*") })
	return !varies && directives(h) != nil && (HasValidator(h) || requested.Before(Until(h, requested)))
}

// HasValidator reports whether a host can be asked if a response is still valid: it
// has an ETag or a Last-Modified date.
func HasValidator(h http.Header) bool { return h.Get("Etag") != "" || h.Get("Last-Modified") != "" }

// Until returns when a response to a request of that time stops being fresh (RFC
// 9111 section 4.2.3). Its age is what Date or Age say, whichever is more. A
// response that is never fresh gets the time it was made or an earlier one.
func Until(h http.Header, requested time.Time) time.Time {
	since := requested.Add(-age(h))
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = requested
	}
	if date.Before(since) {
		since = date
	}
	return since.Add(lifetime(h, date))
}

// age reads Age, of which all but a first number is ignored (RFC 9111 section 5.1).
func age(h http.Header) time.Duration {
	first, _, _ := strings.Cut(h.Get("Age"), ",")
	seconds, err := strconv.ParseUint(strings.TrimSpace(first), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// lifetime is how long a response is fresh from its date on (RFC 9111 section
// 4.2.1). One that is to be validated before each use is never fresh.
func lifetime(h http.Header, date time.Time) time.Duration {
	d := directives(h)
	switch {
	case d == nil || d.NoCachePresent:
		return 0
	case d.SMaxAge >= 0:
		return time.Duration(d.SMaxAge) * time.Second
	case d.MaxAge >= 0:
		return time.Duration(d.MaxAge) * time.Second
	case len(h.Values("Expires")) > 0:
		expires, err := http.ParseTime(h.Get("Expires"))
		if err != nil { // such as 0: it has expired already (RFC 9111 section 5.3)
			return 0
		}
		return max(expires.Sub(date), 0)
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return 0
	}
	return min(max(date.Sub(modified), 0)/heuristicShare, heuristicMost)
}
