// Package fetch downloads a bounded body from an address that is not trusted.
//
// # What is refused
//
// Only http and https, to public addresses on ports 80 and 443, unless
// [Options].Allow says otherwise. The address is checked when it is dialled,
// after DNS and for every connection, so that neither a redirect nor a name that
// resolves to something else the second time leads inside. Addresses that carry
// an IPv4 address within IPv6 are refused with the rest of what is not plain
// global unicast. No proxy is used: the guard would see the proxy's address.
//
// The one exception is the upstream origin, which the operator has configured:
// it may be dialled for the first URL wherever it is. A redirect to it is checked
// like any other.
//
// # Credentials
//
// They go to the upstream origin alone, scheme, host and port, and only with the
// first request: never to where it redirects.
//
// # What is decoded
//
// No compression is asked for. A host that sends gzip all the same is understood, as
// by browsers: what is written, kept and counted is the decoded body. Neither the
// bytes that are sent nor the decoded ones may be more than [Options].MaxBytes. Any
// other encoding is refused.
//
// # What is fair
//
// No host holds more than half of the slots, and none that is stuck keeps callers
// waiting: see [Options].Slots.
//
// # What is kept
//
// [Fetcher.FetchCached] reuses responses by the rules of RFC 9111, as a cache that
// is shared by several accounts:
//   - Only a 200 whose body came whole, of a known end, is kept; never one of the
//     upstream origin, nor one with no-store, private, a Cache-Control that can not
//     be read, or Vary: *. All other fields are the same in each of our requests,
//     so that no other Vary matters.
//   - It is fresh for its s-maxage, its max-age, or until it Expires; without any of
//     them for a tenth of the time since it was Last-Modified, up to an hour
//     (section 4.2.2). no-cache is never fresh.
//   - What is stale is served only after a 304 to its ETag and Last-Modified, never
//     because its host is down. What has neither is fetched again.
//   - Each response is kept for its own URL. A redirect is not kept: it is asked for
//     each time, and may lead to what is.
//
// The cache is our own: the libraries for it hold whole bodies in memory and do not
// bound the bytes on disk. Cache-Control is parsed by one.
package fetch

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/guard"
)

const (
	// maxRedirects is how many redirects are followed. Twilio needs one or two.
	maxRedirects = 5

	// maxRetryAfter bounds what a host may ask for.
	maxRetryAfter = time.Hour

	maxHeaderBytes = 64 << 10
)

// Options bound a [Fetcher]. Zero values mean the defaults.
type Options struct {
	Upstream *url.URL      // origin that may be dialled first, and gets credentials; none if nil
	Allow    []guard.Allow // addresses that may be dialled besides public ones
	MaxBytes int64         // of a body; 32 MiB
	Cache    *Cache        // of FetchCached; none if nil

	// Slots is how many fetches run at once; 16. No host, by name and port of the
	// first URL, has more than half of them. A caller waits for a full host only
	// while that makes progress: if in Patience it has answered nothing, the
	// fetch ends as Busy. After five failures in a row a host is left alone: all
	// end as CircuitOpen, but for one try after half a minute, then a minute, up
	// to five. What a redirect's target does is counted as the target's.
	Slots    int
	Patience time.Duration // 2 s

	ConnectTimeout time.Duration // TCP, and TLS as long again; 5 s
	IdleTimeout    time.Duration // without a byte; 15 s
	TotalTimeout   time.Duration // of a fetch with its redirects; 120 s
}

// Reason is why a fetch failed.
type Reason string

// The reasons. They are written into records and events.
const (
	BadStatus         Reason = "status"             // an answer other than 200; Error.Status has it
	Network           Reason = "network"            // DNS, connection, TLS, protocol
	Timeout           Reason = "timeout"            // to connect, without a byte, or in all
	ShortBody         Reason = "short-body"         // the body ended before its declared end, or that of its gzip stream
	TooLarge          Reason = "too-large"          // more than MaxBytes, declared, sent or decoded
	TooManyRedirects  Reason = "too-many-redirects" // more than five
	UnsupportedScheme Reason = "unsupported-scheme" // not an http or https URL
	ForbiddenAddress  Reason = "forbidden-address"  // refused by the guard
	Encoded           Reason = "encoded"            // compressed, although that was not asked for, and not by gzip
	Busy              Reason = "busy"               // the host's slots are taken and it makes no progress
	CircuitOpen       Reason = "circuit-open"       // the host has failed too often lately
)

// Error says what kept a body from being fetched. Its text has neither the query
// of a URL nor credentials.
type Error struct {
	Reason Reason
	Host   string // that was asked last
	Status int    // of its answer, 0 if there was none

	Redirected    bool          // the request was not for the first URL, but where that redirects
	Authenticated bool          // the host was sent credentials
	RetryAfter    time.Duration // that the host asks for, or its state here; at most an hour
	Err           error         // the cause, nil if the reason says it all; of what a host sent it quotes only the names in its certificate
}

// Error names the host and the reason.
func (e *Error) Error() string {
	text := fmt.Sprintf("fetch from %s: %s", e.Host, e.Reason)
	if e.Status != 0 {
		text += fmt.Sprintf(" %d", e.Status)
	}
	if e.Redirected {
		text += " after a redirect"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Credentials are those of Basic authentication.
type Credentials struct{ Username, Password string }

// Response describes a body that was fetched whole.
type Response struct {
	ContentType string // as the host declares it
	Size        int64
	Cached      bool // the body is the cache's: the host was not asked, or answered 304
}

// Fetcher downloads. It may be used from many goroutines.
type Fetcher struct {
	o        Options
	hosts    *hosts
	upstream *http.Transport // for first requests to the upstream origin
	guarded  *http.Transport // for all others
}

// New returns a Fetcher.
func New(o Options) *Fetcher {
	setDefault(&o.MaxBytes, 32<<20)
	o.MaxBytes = min(o.MaxBytes, math.MaxInt64-1) // one byte more is read
	setDefault(&o.Slots, 16)
	setDefault(&o.Patience, 2*time.Second)
	setDefault(&o.ConnectTimeout, 5*time.Second)
	setDefault(&o.IdleTimeout, 15*time.Second)
	setDefault(&o.TotalTimeout, 120*time.Second)
	dialer := net.Dialer{Timeout: o.ConnectTimeout}
	return &Fetcher{
		o: o, hosts: newHosts(o.Slots, o.Patience, o.IdleTimeout),
		upstream: transport(dialer.DialContext, o.ConnectTimeout),
		guarded:  transport(guard.Dial(o.Allow, dialer), o.ConnectTimeout),
	}
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func transport(dial func(ctx context.Context, network, address string) (net.Conn, error), timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:            dial,
		TLSHandshakeTimeout:    timeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is sent all the same is decoded here, within the limit
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
	}
}

// Fetch writes the body at rawURL to dst. cred may be nil. What keeps it from
// doing so is an [*Error], but for the end of ctx and an error of dst, which are
// returned as such. dst may have got a part of the body then.
func (f *Fetcher) Fetch(ctx context.Context, rawURL string, cred *Credentials, dst io.Writer) (Response, error) {
	u, err := parse(rawURL)
	if err != nil {
		return Response{}, err
	}
	return f.slotted(ctx, u, cred, nil, dst)
}

// parse reads the first URL of a fetch.
func parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, &Error{Reason: UnsupportedScheme, Host: hostOf(u)}
	}
	return u, nil
}

// slotted fetches within one of the host's slots. The cache may be nil.
func (f *Fetcher) slotted(ctx context.Context, u *url.URL, cred *Credentials, c *Cache, dst io.Writer) (Response, error) {
	t, err := f.hosts.begin(ctx, hostPort(u))
	if err != nil {
		return Response{}, err
	}
	response, err := f.fetch(ctx, t, u, cred, c, dst)
	t.end(err)
	return response, err
}

// fetch follows redirects to a body. A cache is asked for each URL on the way, as
// each response belongs to its own: a redirect itself is never kept.
func (f *Fetcher) fetch(parent context.Context, t *trip, u *url.URL, cred *Credentials, c *Cache, dst io.Writer) (Response, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	defer time.AfterFunc(f.o.TotalTimeout, func() { cancel(errTotal) }).Stop()
	answer := f.o.ConnectTimeout + f.o.IdleTimeout
	idle := time.AfterFunc(answer, func() { cancel(errIdle) })
	defer idle.Stop()

	trouble := &Error{}
	var at *resource
	defer func() { at.close() }()
	for hop := 0; ; hop++ {
		trouble.Host, trouble.Redirected, trouble.Authenticated = u.Host, hop > 0, hop == 0 && cred != nil && f.isUpstream(u)
		at.close()
		at = f.resource(c, u)
		if at.isFresh() {
			return at.stored.serve(dst)
		}
		if err := t.reach(hostPort(u)); err != nil {
			return Response{}, err
		}
		idle.Reset(answer)
		response, err := f.request(ctx, u, hop, cred, at)
		if err != nil {
			return Response{}, trouble.because(parent, ctx, err)
		}
		next, err := redirect(u, response)
		if err != nil {
			response.Body.Close()
			trouble.Reason = UnsupportedScheme
			return Response{}, trouble
		}
		if next == nil {
			defer response.Body.Close()
			if at.confirmed(response) {
				return at.renew(response, dst)
			}
			draft := at.draft(response)
			defer draft.discard()
			received, err := f.receive(parent, ctx, response, idle, draft.tee(dst), trouble)
			if err == nil {
				draft.keep()
			}
			return received, err
		}
		response.Body.Close()
		if hop == maxRedirects {
			trouble.Reason = TooManyRedirects
			return Response{}, trouble
		}
		u = next
	}
}

var (
	errTotal = errors.New("the fetch took too long")
	errIdle  = errors.New("no byte came for too long")
)

// request sends the request of one hop.
func (f *Fetcher) request(ctx context.Context, u *url.URL, hop int, cred *Credentials, at *resource) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, bare(u), nil)
	if err != nil {
		return nil, errors.New("malformed URL")
	}
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "mmspipe")
	via := f.guarded
	if hop == 0 && f.isUpstream(u) {
		via = f.upstream
		if cred != nil {
			request.SetBasicAuth(cred.Username, cred.Password)
		}
	}
	return at.roundTrip(via, request)
}

// bare is a URL as it is asked for: user information in it is nobody's
// credentials.
func bare(u *url.URL) string {
	plain := *u
	plain.User, plain.Fragment, plain.RawFragment = nil, "", ""
	return plain.String()
}

// isUpstream tells whether a URL is on the upstream origin.
func (f *Fetcher) isUpstream(u *url.URL) bool {
	up := f.o.Upstream
	return up != nil && u.Scheme == up.Scheme && hostPort(u) == hostPort(up)
}

// redirect returns where a response leads, nil if it is no redirect.
func redirect(from *url.URL, response *http.Response) (*url.URL, error) {
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	location := response.Header.Get("Location")
	if location == "" {
		return nil, nil
	}
	to, err := from.Parse(location)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" {
		return nil, errors.New("malformed Location")
	}
	return to, nil
}

// receive copies the body of the last response.
func (f *Fetcher) receive(parent, ctx context.Context, response *http.Response, idle *time.Timer, dst io.Writer, trouble *Error) (Response, error) {
	compressed, understood := encoding(response.Header)
	switch {
	case response.StatusCode != http.StatusOK:
		trouble.Reason, trouble.Status = BadStatus, response.StatusCode
		trouble.RetryAfter = parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
		return Response{}, trouble
	case response.ContentLength > f.o.MaxBytes:
		trouble.Reason = TooLarge
		return Response{}, trouble
	case !understood:
		trouble.Reason = Encoded
		return Response{}, trouble
	}
	body := &watched{r: io.LimitReader(response.Body, f.o.MaxBytes+1), idle: idle, limit: f.o.IdleTimeout}
	decoded := &decoder{body: body, compressed: compressed}
	n, err := io.Copy(dst, io.LimitReader(decoded, f.o.MaxBytes+1))
	switch {
	case err != nil && decoded.err == nil:
		return Response{}, fmt.Errorf("write body: %w", err)
	case n > f.o.MaxBytes, body.n > f.o.MaxBytes:
		trouble.Reason = TooLarge
		return Response{}, trouble
	case errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil:
		trouble.Reason = ShortBody
		return Response{}, trouble
	case errors.Is(err, gzip.ErrHeader): // it is something else
		trouble.Reason = Encoded
		return Response{}, trouble
	case err != nil && body.err == nil:
		trouble.Reason, trouble.Err = Network, errGzip
		return Response{}, trouble
	case err != nil:
		return Response{}, trouble.because(parent, ctx, body.err)
	}
	return Response{ContentType: response.Header.Get("Content-Type"), Size: n}, nil
}

// watched is a body whose reads the idle timer bounds, not what is done with the
// bytes in between. It counts them, and keeps its own error apart from that of where
// they are copied to.
type watched struct {
	r     io.Reader
	idle  *time.Timer
	limit time.Duration
	n     int64
	err   error
}

func (w *watched) Read(p []byte) (int, error) {
	w.idle.Reset(w.limit)
	n, err := w.r.Read(p)
	w.idle.Stop()
	w.n += int64(n)
	if err != io.EOF {
		w.err = err
	}
	return n, err
}

// because fills in the reason for err. What is the caller's context's is
// returned as that.
func (e *Error) because(parent, ctx context.Context, err error) error {
	if parent.Err() != nil {
		return parent.Err()
	}
	network, ofNetwork := errors.AsType[net.Error](err)
	switch cause := context.Cause(ctx); {
	case cause != nil:
		e.Reason, e.Err = Timeout, cause
	case errors.Is(err, guard.ErrForbidden):
		e.Reason = ForbiddenAddress
	case ofNetwork && network.Timeout():
		e.Reason, e.Err = Timeout, spoken(err)
	default:
		e.Reason, e.Err = Network, spoken(err)
	}
	return e
}

var errProtocol = errors.New("the answer is not HTTP, or too much of it")

// spoken returns what may be told of an error. net/http quotes what it can not
// read, which may be as long as a header and hold what was sent: a host that
// echoes the request would put the query of its URL into the error.
func spoken(err error) error {
	if connection, ok := errors.AsType[*net.OpError](err); ok {
		return connection
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return errProtocol
}

// parseRetryAfter reads seconds or a date (RFC 9110 section 10.2.3).
func parseRetryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		d = maxRetryAfter
	} else if date, err := http.ParseTime(s); err == nil {
		d = date.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// hostPort is the host of a URL in lower case with its port. Only ASCII is
// folded: the lower case of a dotted capital I is i, but to DNS these are two
// names, and who owns the one would be taken for the other.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	return net.JoinHostPort(strings.Map(lower, strings.TrimSuffix(u.Hostname(), ".")), port)
}

func hostOf(u *url.URL) string {
	if u == nil || u.Host == "" {
		return "nowhere"
	}
	return u.Host
}
