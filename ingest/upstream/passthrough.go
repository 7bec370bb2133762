package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/rest"
)

const (
	// maxPassedBody bounds the body of a request that is passed on: forms are small.
	maxPassedBody = 256 << 10

	// maxPassedAnswer bounds an answer that is passed back. An hour of a call's recording
	// as a WAV file, the largest that the API answers, has some 60 MB.
	maxPassedAnswer = 64 << 20

	// passTimeout is for all of it.
	passTimeout = 2 * time.Minute
)

// PassThrough passes a request on to the same path of the API with the account's
// credentials, and the answer back unchanged. Whoever made it must be allowed to. Ours, if
// not zero, is the SID of a message in the path that the API knows as theirs: its name is
// changed on the way, and back.
//
// An error is returned before anything is answered. Where the answer breaks off later it
// panics with [http.ErrAbortHandler].
func (c *Client) PassThrough(w http.ResponseWriter, r *http.Request, account store.AccountSID, ours, theirs store.MessageSID) error {
	if len(c.accounts[account]) == 0 {
		return rest.NotFound(r)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPassedBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return rest.TooLarge()
	}
	if err != nil {
		return rest.BadRequest("The body could not be read.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), passTimeout)
	defer cancel()
	var broken error
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(c.origin)
			p.Out.Body, p.Out.ContentLength, p.Out.TransferEncoding = nil, 0, nil
			for _, name := range []string{"Authorization", "Connection", "Cookie", "Upgrade"} {
				p.Out.Header.Del(name)
			}
			if !ours.IsZero() {
				p.Out.URL.Path = strings.Replace(p.Out.URL.Path, ours.String(), theirs.String(), 1)
				p.Out.Header.Del("Accept-Encoding")
			}
		},
		Transport: &withTokens{client: c, account: account, body: body},
		ModifyResponse: func(response *http.Response) error {
			if response.ContentLength > maxPassedAnswer {
				return fmt.Errorf("the answer has %d bytes, over %d", response.ContentLength, maxPassedAnswer)
			}
			response.Body = http.MaxBytesReader(nil, response.Body, maxPassedAnswer)
			if ours.IsZero() {
				return nil
			}
			return rename(response, theirs.String(), ours.String())
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { broken = err },
		ErrorLog:     log.New(io.Discard, "", 0), // what it says is in the error, or in the panic
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
	if broken != nil {
		return fmt.Errorf("pass through %s %s: %w", r.Method, r.URL.Path, broken)
	}
	return nil
}

// rename changes a name in an answer.
func rename(response *http.Response, from, to string) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	body = bytes.ReplaceAll(body, []byte(from), []byte(to))
	response.Body = io.NopCloser(bytes.NewReader(body))
	return nil // the SIDs are equally long, and so is the body
}

// withTokens makes a request with each token of an account until one is taken, at the
// Client's rate.
type withTokens struct {
	client  *Client
	account store.AccountSID
	body    []byte
}

// RoundTrip implements [http.RoundTripper].
func (t *withTokens) RoundTrip(r *http.Request) (*http.Response, error) {
	tokens := t.client.accounts[t.account]
	for i, token := range tokens {
		if err := t.client.limit.Wait(r.Context()); err != nil {
			return nil, err
		}
		try := r.Clone(r.Context())
		try.SetBasicAuth(t.account.String(), token)
		if len(t.body) > 0 {
			try.Body, try.ContentLength = io.NopCloser(bytes.NewReader(t.body)), int64(len(t.body))
		}
		response, err := t.client.passing.RoundTrip(try)
		if err != nil || response.StatusCode != http.StatusUnauthorized || i == len(tokens)-1 {
			return response, err
		}
		response.Body.Close()
	}
	return nil, errors.New("the account has no token")
}
