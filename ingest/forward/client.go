package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"mmspipe/ingest/guard"
	"mmspipe/ingest/signature"
)

const (
	// connectTimeout is how long a connection may take, as Twilio has it
	// (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
	connectTimeout = 5 * time.Second

	// maxAnswer bounds TwiML: Twilio refuses more
	// (https://www.twilio.com/docs/api/errors/11750).
	maxAnswer = 64 << 10

	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10

	// perHost is how many posts to one host are under way at once: a quarter of
	// the workers that there are unless set otherwise.
	perHost = 4

	// userAgent is the one of Twilio's webhooks, which some applications look for.
	userAgent = "TwilioProxy/1.1"
)

// Client posts webhooks the way Twilio does: a signed form, answered within 15
// seconds. It may be used from many goroutines.
//
// Applications are at addresses that are not trusted, and clients choose some of
// them: the guard of package fetch holds, and redirects are not followed. No more
// than a few posts to one host are under way at once, so that one that is slow does
// not hold up the others. Errors name the host and what came of it, never a URL's
// path or query, the form or the signature.
type Client struct {
	client *http.Client

	mu   sync.Mutex
	busy map[string]int // posts under way, by host
}

// NewClient returns a Client that posts to public addresses on ports 80 and 443 and to
// those of allow.
func NewClient(allow []guard.Allow) *Client {
	return &Client{
		client: &http.Client{
			Timeout: postTimeout,
			Transport: &http.Transport{
				DialContext:            guard.Dial(allow, net.Dialer{Timeout: connectTimeout}),
				TLSHandshakeTimeout:    connectTimeout,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
				ForceAttemptHTTP2:      true,
				MaxResponseHeaderBytes: maxHeader,
				MaxIdleConnsPerHost:    perHost,
				IdleConnTimeout:        30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		busy: map[string]int{},
	}
}

// Post is what is posted.
type Post struct {
	URL   *url.URL // its user information becomes Basic authentication, its fragment is not sent
	Form  url.Values
	Token string // the auth token that signs it
	ID    string // the I-Twilio-Idempotency-Token: the same when it is posted again
}

// Answer is that of an application that took a webhook.
type Answer struct {
	Status int // 2xx
	// TwiML is the body if it is one that Twilio reads as such, and nil if not: a
	// whole answer 200 of at most 64 KiB, text/xml or application/xml.
	TwiML       []byte
	ContentType string // of TwiML
}

// Error says that an application did not take a webhook.
type Error struct {
	Host   string
	Status int    // of HTTP; 0 without an answer
	Reason string // why there is none
}

// Error names the host and what came of it.
func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("post to %s: answered %d", e.Host, e.Status)
	}
	return fmt.Sprintf("post to %s: %s", e.Host, e.Reason)
}

// ErrBusy says that as many posts to a host are under way as there may be.
var ErrBusy = errors.New("enough posts to the host are under way")

// Post posts a webhook. Any answer but 2xx is an [*Error], and so is the lack of
// one. The end of ctx is returned as its error; the application may have taken the
// webhook then, as after any error without a status.
func (c *Client) Post(ctx context.Context, hook Post) (Answer, error) {
	if hook.URL.Host == "" || hook.URL.Scheme != "http" && hook.URL.Scheme != "https" {
		return Answer{}, &Error{Host: hook.URL.Hostname(), Reason: "it is no http or https URL"}
	}
	if !c.enter(hook.URL.Host) {
		return Answer{}, ErrBusy
	}
	defer c.leave(hook.URL.Host)
	request, err := newRequest(ctx, hook)
	if err != nil {
		return Answer{}, &Error{Host: hook.URL.Hostname(), Reason: "it cannot be requested"}
	}
	response, err := c.client.Do(request)
	if ctx.Err() != nil {
		return Answer{}, ctx.Err()
	}
	if err != nil {
		return Answer{}, &Error{Host: hook.URL.Hostname(), Reason: reason(err)}
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return Answer{}, &Error{Host: hook.URL.Hostname(), Status: response.StatusCode}
	}
	return readAnswer(response), nil
}

func newRequest(ctx context.Context, hook Post) (*http.Request, error) {
	target := *hook.URL
	target.Fragment, target.RawFragment = "", ""
	if target.Path == "" {
		target.Path = "/" // what is signed is what the application sees
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(hook.Form.Encode()))
	if err != nil {
		return nil, err
	}
	header := request.Header
	header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	header.Set("Accept", "*/*")
	header.Set("User-Agent", userAgent)
	header.Set("X-Twilio-Signature", signature.Sign(hook.Token, target.String(), hook.Form))
	header.Set("I-Twilio-Idempotency-Token", hook.ID)
	return request, nil
}

// readAnswer keeps the body if it is TwiML. The application has taken the webhook
// whatever becomes of its answer.
func readAnswer(response *http.Response) Answer {
	answer := Answer{Status: response.StatusCode}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	contentType := response.Header.Get("Content-Type")
	mediaType, _, _ := mime.ParseMediaType(contentType)
	whole := err == nil && len(body) <= maxAnswer && len(bytes.TrimSpace(body)) > 0
	if whole && response.StatusCode == http.StatusOK && (mediaType == "text/xml" || mediaType == "application/xml") {
		answer.TwiML, answer.ContentType = body, contentType
	}
	return answer
}

// reason is why there is no answer, in words that quote nothing of the request.
func reason(err error) string {
	if errors.Is(err, guard.ErrForbidden) {
		return "its address is not to be connected to; MMSPIPE_FETCH_ALLOW permits exceptions"
	}
	if trouble, ok := errors.AsType[net.Error](err); ok && trouble.Timeout() {
		return "no answer in time"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "its name does not resolve"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not valid"
	}
	return "the connection failed"
}

// enter counts a post to a host, if there may be another.
func (c *Client) enter(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[host] >= perHost {
		return false
	}
	c.busy[host]++
	return true
}

func (c *Client) leave(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[host]--; c.busy[host] == 0 {
		delete(c.busy, host)
	}
}
