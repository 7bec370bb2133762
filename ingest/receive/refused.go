package receive

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// refusedEach is how often one cause is logged. Strangers can have webhooks
	// refused as often as they like.
	refusedEach = time.Minute

	// refusedMost is how many causes are remembered. There are a few.
	refusedMost = 100

	// loggedMost cuts what a stranger can put into a line of the log, in bytes.
	loggedMost = 1000
)

// unsigned is the error of a webhook that no account has signed. It is answered as
// errForbidden; the log says more.
type unsigned struct {
	cause string
	form  url.Values // nil if it was not read
}

func (u *unsigned) Error() string { return u.cause }

func (u *unsigned) Unwrap() error { return errForbidden }

// refused remembers which causes were logged when.
type refused struct {
	mu     sync.Mutex
	causes map[string]*told
}

type told struct {
	at     time.Time
	silent int // refusals since then
}

// due tells whether a cause is to be logged now, and how many refusals were not logged
// since it last was.
func (d *refused) due(cause string) (now bool, silent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.causes[cause]
	if last != nil && time.Since(last.at) < refusedEach {
		last.silent++
		return false, 0
	}
	if len(d.causes) >= refusedMost || d.causes == nil {
		d.causes = map[string]*told{}
	}
	d.causes[cause] = &told{at: time.Now()}
	if last != nil {
		silent = last.silent
	}
	return true, silent
}

// logRefusal logs a refused webhook, once a minute for each cause, with what helps to
// find out why. Values of parameters do not reach the log, be they in the query or in
// the form: they are texts and numbers. Neither does the signature.
func (rc *Receiver) logRefusal(r *http.Request, why error, status int) {
	now, silent := rc.refused.due(why.Error())
	if !now {
		return
	}
	caller, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		caller = r.RemoteAddr
	}
	checked := cut(rc.origin + withoutValues(r.URL.RequestURI()))
	signed := checked
	if u, ok := errors.AsType[*unsigned](why); ok && u.form != nil && r.Method == http.MethodPost {
		signed += " and the names and values of " + strings.Join(slices.Sorted(maps.Keys(u.form)), ", ")
	}
	line := rc.Log.Warn().Int("status", status).Str("cause", why.Error()).Str("method", r.Method).
		Str("url", checked).Str("signed", cut(signed)).Str("caller", caller).Str("host", cut(r.Host))
	for name, header := range map[string]string{"forwardedFor": "X-Forwarded-For", "forwardedHost": "X-Forwarded-Host", "forwardedProto": "X-Forwarded-Proto"} {
		if value := r.Header.Get(header); value != "" {
			line = line.Str(name, cut(value))
		}
	}
	if silent > 0 {
		line = line.Int("moreSinceLastLine", silent)
	}
	line.Str("hint", "url is what was checked, and signed is what Twilio signs if it calls that URL; save such a request, with its headers and its body, and run: mmspipe doctor FILE").
		Msg("webhook refused")
}

// withoutValues is a path and query whose values are left out.
func withoutValues(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if name, _, ok := strings.Cut(pair, "="); ok {
			pairs[i] = name + "=…"
		}
	}
	return path + "?" + strings.Join(pairs, "&")
}

func cut(s string) string {
	if len(s) > loggedMost {
		return s[:loggedMost] + "…"
	}
	return s
}
