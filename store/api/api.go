// Package api is the store over HTTP: the Message and Media resources of Twilio's
// REST API (https://www.twilio.com/docs/messaging/api/message-resource) and the feed
// of events.
//
// # What a client may read
//
// Records, lists and deletions need the credentials of their account. Content is
// open to whoever knows its URL, as in Twilio's resource, or needs credentials
// too: [Options].MediaAuth decides. What does not exist and what is another
// account's are answered alike.
//
// # What a client may send
//
// A message that is posted is checked, queued and recorded, in this order, and
// answered 201 when the queue has it. It is prepared, and sent where that is
// wanted, by workers.
//
// # What is damaged
//
// A record that cannot be read is left out of lists, with a line in the log, and is
// answered 502 by itself, as is content whose size is not what its record says. DELETE
// removes both.
//
// # What is passed through
//
// Where [Options].PassThrough is set, requests for other resources of an account are
// answered by it: for whoever may use the account, and with a key that may only read, for
// GET and HEAD. Nothing of messages is passed through but their Feedback, in no spelling
// of a path, and what holds secrets of an account only for its own token.
//
// # What is served
//
// Bytes of strangers. They are sent with a type that was told from themselves, in
// a sandbox without scripts, never sniffed, and as a download unless they are a
// raster picture, audio or video.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/damage"
	"mmspipe/store/feed"
	"mmspipe/store/link"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Options are what the API works with. All up to Log are required.
type Options struct {
	Store   *store.Store
	Streams *stream.Streams
	Feed    *feed.Feed
	Keys    *rest.Keys
	Links   link.Signer
	// PublicURL is the origin of this service: no status callback may lead there.
	PublicURL *url.URL
	Log       zerolog.Logger

	// Full, if set, tells that nothing can be queued now.
	Full func() bool

	// MediaAuth is "public": content needs no credentials, or "required": it
	// needs them, or a signed link, to which they lead.
	MediaAuth string
	// Presign, if set, makes the signed links to a blob where the object store
	// serves it itself.
	Presign func(ctx context.Context, key string, ttl time.Duration, contentType, disposition string) (*url.URL, error)
	// PassThrough, if set, answers for the resources of the provider's API that are not
	// served here.
	PassThrough PassThrough
	// MediaWait is how long the content of a medium is waited for while its message
	// is being worked on: for those who are told its URL before it is stored.
	MediaWait time.Duration
}

type api struct {
	Options
	damage *damage.Reporter
}

// New returns the handler of the API, for all paths below rest.Prefix and /feed.
// Every other path is 404.
func New(o Options) http.Handler {
	a := &api{o, &damage.Reporter{Store: o.Store, Feed: o.Feed, Streams: o.Streams}}
	return a.logged(a.serve)
}

// handler answers a request, or returns the error to answer with.
type handler func(w http.ResponseWriter, r *http.Request) error

// logged writes the errors of a handler, those that it panics with too, and one
// line in the log. Queries are not in it: signed links are secrets.
func (a *api) logged(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		counted := &counter{ResponseWriter: w, status: http.StatusOK}
		err := recovered(h, counted, r)
		if errors.Is(err, store.ErrDamaged) {
			err = fmt.Errorf("%w: %w", rest.Damaged(), err)
		}
		brokenOff := err != nil && counted.wrote
		if err != nil && !brokenOff {
			rest.WriteError(counted, r, err)
		}
		line := a.Log.Info()
		if brokenOff || counted.status >= http.StatusInternalServerError {
			line = a.Log.Error().Err(err)
		}
		line.Str("method", r.Method).Str("path", r.URL.Path).Int("status", counted.status).
			Int64("bytes", counted.bytes).Dur("ms", time.Since(start)).Msg("request")
		if errors.Is(err, http.ErrAbortHandler) { // or the client would take half an answer for a whole one
			panic(http.ErrAbortHandler)
		}
	})
}

// recovered turns a panic into an error.
func recovered(h handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // that is what net/http itself looks for
			err = fmt.Errorf("the answer broke off: %w", http.ErrAbortHandler)
		} else if p != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", rest.Internal(), p, debug.Stack())
		}
	}()
	return h(w, r)
}

// counter notes what is answered.
type counter struct {
	http.ResponseWriter
	status int
	wrote  bool
	bytes  int64
}

func (c *counter) WriteHeader(status int) {
	c.status, c.wrote = status, true
	c.ResponseWriter.WriteHeader(status)
}

// writeTimeout is how long a client may take for what is written at once, some 32
// KiB of a medium or one event: one that reads a byte a second is cut off, a long
// download is not.
const writeTimeout = 30 * time.Second

func (c *counter) Write(p []byte) (int, error) {
	c.wrote = true
	// Not every writer has deadlines; the server's own does.
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// serve finds the resource of a path.
func (a *api) serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/feed" {
		return a.feed(w, r)
	}
	p, ok := parsePath(r.URL.Path)
	switch {
	case !ok && a.PassThrough != nil:
		return a.passThrough(w, r)
	case !ok:
		return rest.NotFound(r)
	case p.suffix == ".csv" || p.suffix == ".html": // of older versions of the provider's API
		return rest.NotAcceptable()
	case p.message == "":
		return a.messages(w, r, p)
	case !p.isMedia:
		return a.message(w, r, p)
	case p.media == "":
		return a.list(w, r, p)
	case r.Method == http.MethodDelete:
		return a.delete(w, r, p)
	case p.suffix == "":
		return a.content(w, r, p)
	}
	return a.record(w, r, p)
}

// path is /2010-04-01/Accounts/{AC}/Messages[/{MM}[/Media[/{ME}]]], with a suffix.
// The SIDs are not parsed yet.
type path struct {
	account, message, media string
	isMedia                 bool // it is below /Media
	suffix                  string
}

// parsePath takes a path apart. The documentation's samples write Message for
// Messages, so both are read; only the latter is written.
func parsePath(s string) (path, bool) {
	tail, ok := strings.CutPrefix(s, rest.Prefix+"Accounts/")
	if !ok {
		return path{}, false
	}
	var p path
	for _, suffix := range []string{".json", ".xml", ".csv", ".html"} {
		if trimmed, ok := strings.CutSuffix(tail, suffix); ok {
			tail, p.suffix = trimmed, suffix
			break
		}
	}
	parts := strings.Split(tail, "/")
	if len(parts) < 2 || len(parts) > 5 || slices.Contains(parts, "") || parts[1] != "Messages" && parts[1] != "Message" {
		return path{}, false
	}
	p.account = parts[0]
	if len(parts) > 2 {
		p.message = parts[2]
	}
	if len(parts) > 3 {
		p.isMedia = true
		if parts[3] != "Media" {
			return path{}, false
		}
	}
	if len(parts) > 4 {
		p.media = parts[4]
	}
	return p, true
}

// authorize admits those that may use the path's account, to change it if write
// is set.
func (a *api) authorize(r *http.Request, p path, write bool) error {
	identity, err := a.Keys.Authenticate(r)
	switch {
	case err != nil:
		return err
	case !identity.MayUse(p.account):
		return rest.NotFound(r)
	case write && !identity.Write:
		return rest.Unauthorized()
	}
	return nil
}

// allow refuses methods other than these.
func allow(r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	return rest.MethodNotAllowed(methods...)
}
