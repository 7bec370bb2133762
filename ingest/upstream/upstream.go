// Package upstream asks the provider's REST API for what it knows of messages and
// media, deletes its copies, posts messages, and passes on what is asked of it by others.
//
// It is not twilio-go, whose requests cannot be cancelled by a context, and which
// fetches pages ahead in a goroutine that nobody can stop.
//
// # What is promised
//
// Credentials go to the configured origin alone: redirects are not followed, and
// the next page of a list must be a path of that origin's API below the same
// account. All requests of a [Client] together keep to one rate. What is answered
// 429 or 5xx, or is cut off, is asked again with backoff, a few times; every
// request may be repeated, because it reads or deletes. What then still fails is an
// [*Error], or the context's error. To post a message is the exception: it is tried
// once, and its error tells whether it can have arrived.
package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mmspipe/store"

	"golang.org/x/time/rate"
)

const (
	// perSecond bounds the requests of a Client. Twilio publishes no rate for
	// these resources: it answers 429 above a concurrency that it sets for each
	// account (error 20429, https://www.twilio.com/docs/api/errors/20429). One
	// request at a time takes it some 60 ms (Twilio-Request-Duration of captured
	// answers), so that twenty a second are about one at a time.
	perSecond = 20

	// tries is how often a request is made in all: with backoff they span some 8 s.
	tries        = 6
	backoffFirst = 250 * time.Millisecond

	// maxRetryAfter is the longest that is waited for here. The caller of a
	// request that is to wait longer gets the error, and has better to do.
	maxRetryAfter = 30 * time.Second

	// timeout is that of one request. Twilio's own libraries take 10 s for one
	// message; a page has two hundred.
	timeout = 30 * time.Second

	// maxAnswer bounds an answer. A message takes about 2 kB, and its text may be
	// 1,600 characters of up to 6 bytes in JSON.
	maxAnswer = 8 << 20
)

// Client asks the API of one origin. It may be used from many goroutines.
type Client struct {
	origin   *url.URL
	accounts map[store.AccountSID][]string
	client   *http.Client
	sender   *http.Client
	passing  *http.Transport // of what is passed through
	limit    *rate.Limiter
}

// New returns a Client of the API at origin, which is a scheme and a host. Each
// account has its auth tokens: one, or during a rotation two, of which the second
// is tried when the first is answered 401.
func New(origin *url.URL, accounts map[store.AccountSID][]string) *Client {
	return &Client{
		origin:   &url.URL{Scheme: origin.Scheme, Host: origin.Host},
		accounts: accounts,
		client: &http.Client{
			Timeout:       timeout,
			Transport:     &http.Transport{IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		sender:  sender(),
		passing: &http.Transport{IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, ResponseHeaderTimeout: timeout, DisableCompression: true},
		limit:   rate.NewLimiter(perSecond, perSecond),
	}
}

// Error is an answer that is not the one asked for, or the lack of one.
type Error struct {
	Method, Path string
	Status       int           // of HTTP; 0 without a whole answer
	Code         int           // Twilio's (https://www.twilio.com/docs/api/errors); 0 if it gave none
	RetryAfter   time.Duration // what it asked for; 0 if nothing
	Err          error         // why there is no whole answer; nil otherwise

	// Text is the message that comes with Code. It may quote phone numbers: it is
	// not part of what Error says.
	Text string
	// Written says, of a message that was posted, that the provider may have got
	// some of it.
	Written bool
}

// Error names the request and what came of it.
func (e *Error) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s %s: %v", e.Method, e.Path, e.Err)
	case e.Code != 0:
		return fmt.Sprintf("%s %s: answered %d, code %d", e.Method, e.Path, e.Status, e.Code)
	}
	return fmt.Sprintf("%s %s: answered %d", e.Method, e.Path, e.Status)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Temporary tells whether the same request may be answered otherwise later. That
// the token is refused (401, 403) is temporary: an operator can mend it.
func (e *Error) Temporary() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status == 0 || e.Status >= 500
}

// again tells whether a request is repeated at once.
func (e *Error) again() bool {
	return e.Temporary() && e.Status != http.StatusUnauthorized && e.Status != http.StatusForbidden && e.RetryAfter <= maxRetryAfter
}

// accountPath is what all resources of an account are below.
func accountPath(account store.AccountSID) string { return "/2010-04-01/Accounts/" + account.String() }

// get reads a resource into v. The path may have a query.
func (c *Client) get(ctx context.Context, account store.AccountSID, path string, v any) error {
	return c.do(ctx, account, http.MethodGet, path, v)
}

// do makes a request until it is answered, and reads the answer into v unless it
// is nil.
func (c *Client) do(ctx context.Context, account store.AccountSID, method, path string, v any) error {
	for try := 1; ; try++ {
		err := c.withTokens(ctx, account, method, path, v)
		trouble, ok := errors.AsType[*Error](err)
		if !ok || ctx.Err() != nil || try == tries || !trouble.again() {
			return err
		}
		if err := pause(ctx, max(trouble.RetryAfter, backoff(try))); err != nil {
			return err
		}
	}
}

// backoff is the delay after the try-th try: twice as long each time, with jitter
// of a quarter either way.
func backoff(try int) time.Duration {
	delay := backoffFirst << (try - 1)
	return time.Duration(float64(delay) * (0.75 + rand.Float64()/2))
}

// pause waits for a time, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withTokens makes a request with each token of the account until one is taken.
func (c *Client) withTokens(ctx context.Context, account store.AccountSID, method, path string, v any) error {
	err := fmt.Errorf("account %s has no token", account)
	for _, token := range c.accounts[account] {
		err = c.once(ctx, account, token, method, path, v)
		if trouble, ok := errors.AsType[*Error](err); !ok || trouble.Status != http.StatusUnauthorized {
			return err
		}
	}
	return err
}

// once makes one request.
func (c *Client) once(ctx context.Context, account store.AccountSID, token, method, path string, v any) error {
	if err := c.limit.Wait(ctx); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, c.origin.String()+path, nil)
	if err != nil {
		return err
	}
	r.SetBasicAuth(account.String(), token)
	r.Header.Set("User-Agent", "mmspipe")
	trouble := &Error{Method: method, Path: r.URL.Path}
	response, err := c.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		trouble.Err = withoutURL(err)
		return trouble
	}
	defer response.Body.Close()
	trouble.Status, trouble.RetryAfter = response.StatusCode, retryAfter(response)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		trouble.Status, trouble.Err = 0, fmt.Errorf("read answer: %w", err)
		return trouble
	case len(body) > maxAnswer:
		return fmt.Errorf("%s %s: the answer is over %d bytes", method, r.URL.Path, maxAnswer)
	}
	return trouble.read(body, v)
}

// withoutURL is what an error of net/http says besides repeating the URL.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// retryAfter is what an answer asks for, in whole seconds; 0 if nothing.
func retryAfter(r *http.Response) time.Duration {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// read reads an answer into v, unless it is an error, which it becomes.
func (e *Error) read(body []byte, v any) error {
	if e.Status == http.StatusOK && v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			return fmt.Errorf("%s %s: read answer: %w", e.Method, e.Path, err)
		}
		return nil
	}
	if v == nil && e.Status >= 200 && e.Status < 300 {
		return nil
	}
	return e.explain(body)
}

// explain is e with what an answer says of the cause.
func (e *Error) explain(body []byte) *Error {
	var rest struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &rest) // a proxy's error need not be JSON
	e.Code, e.Text = rest.Code, rest.Message
	return e
}
