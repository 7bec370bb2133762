package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"mmspipe/store"
)

// SendTimeout is that of posting a message, Twilio's own libraries' for any request
// (twilio-go, client/client.go).
const SendTimeout = 10 * time.Second

// sender posts messages, each on a connection of its own: one that was used before
// may be closed by the server while a request is written to it, and then nobody knows
// whether that arrived.
func sender() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Turn waits until the rate of the Client allows a message to be posted. The error is
// that of ctx.
func (c *Client) Turn(ctx context.Context) error { return c.limit.Wait(ctx) }

// Create posts a message, once, and without waiting for its [Client.Turn]. An error
// that is not an [*Error] is of this side, and nothing was posted; of an Error
// [Error.Outcome] tells what became of it. A request that is under way is not cut
// short by ctx: its answer must not be missed.
func (c *Client) Create(ctx context.Context, account store.AccountSID, form url.Values) (Message, error) {
	var m Message
	err := fmt.Errorf("account %s has no token", account)
	for _, token := range c.accounts[account] {
		err = c.createOnce(ctx, account, token, form, &m)
		if trouble, ok := errors.AsType[*Error](err); !ok || trouble.Status != http.StatusUnauthorized {
			return m, err
		}
	}
	return m, err
}

func (c *Client) createOnce(ctx context.Context, account store.AccountSID, token string, form url.Values, m *Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), SendTimeout)
	defer cancel()
	var connected atomic.Bool // the transport writes nothing before it has a connection, TLS and all
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin.String()+accountPath(account)+"/Messages.json", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.SetBasicAuth(account.String(), token)
	r.Header.Set("User-Agent", "mmspipe")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	trouble := &Error{Method: r.Method, Path: r.URL.Path}
	response, err := c.sender.Do(r)
	trouble.Written = connected.Load()
	if err != nil {
		trouble.Err = withoutURL(err)
		return trouble
	}
	defer response.Body.Close()
	trouble.Status, trouble.RetryAfter = response.StatusCode, retryAfter(response)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		trouble.Err = fmt.Errorf("read answer: %w", err)
		return trouble
	}
	if response.StatusCode != http.StatusCreated {
		return trouble.explain(body)
	}
	if err := m.UnmarshalJSON(body); err != nil {
		trouble.Err = fmt.Errorf("read answer: %w", err)
		return trouble
	}
	return nil
}

// Outcome is what became of a message that was posted and not answered with its
// resource.
type Outcome int

// The outcomes.
const (
	// Unknown: the provider may have taken it, or not.
	Unknown Outcome = iota
	// Unsent: it was not taken, and may be posted again.
	Unsent
	// Refused: it was not taken and never will be; Code and Text say why.
	Refused
)

// Outcome tells what became of a message whose [Client.Create] ended with e.
func (e *Error) Outcome() Outcome {
	switch {
	case !e.Written, e.Status == http.StatusTooManyRequests, e.Status == http.StatusUnauthorized:
		return Unsent // a wrong token can be mended while the message is valid
	case e.Status >= 400 && e.Status < 500 && e.Code != 0:
		return Refused
	}
	return Unknown
}
