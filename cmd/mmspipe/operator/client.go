package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/verify"
	"mmspipe/store"
)

// Errors of a [Client].
var (
	ErrUnreachable = errors.New("the service does not answer")
	ErrKey         = errors.New("the service refuses the key")
	ErrNotFound    = errors.New("the service does not know it")
)

// Client asks the API of a running service. Its methods return [ErrUnreachable],
// [ErrKey] or [ErrNotFound], wrapped, or what the service answers. When ctx ends,
// the service stops what it was asked to do.
type Client struct {
	Address string // of the admin listener, HOST:PORT
	SID     string // of an operator's key
	Secret  string // of that key
}

// Failed yields the failures that q asks for, those of the newest message first.
func (c *Client) Failed(ctx context.Context, q operate.Query) iter.Seq2[operate.Failure, error] {
	return func(yield func(operate.Failure, error) bool) {
		body, err := c.call(ctx, http.MethodGet, "failed", values(q))
		if err != nil {
			yield(operate.Failure{}, err)
			return
		}
		defer body.Close()
		for decoder := json.NewDecoder(body); ; {
			var l line[operate.Failure]
			err := decoder.Decode(&l)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				err = brokeOff(err)
			case l.Error != "":
				err = errors.New(l.Error)
			case l.Result == nil:
				continue
			}
			if err != nil {
				yield(operate.Failure{}, err)
				return
			}
			if !yield(*l.Result, nil) {
				return
			}
		}
	}
}

// Status returns how the service is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "status", nil)
}

// Ready returns how the service and its dependencies are.
func (c *Client) Ready(ctx context.Context) (r health.Report, err error) {
	response, err := c.do(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return r, ErrKey
	case http.StatusOK, http.StatusServiceUnavailable:
		err = json.NewDecoder(response.Body).Decode(&r)
	default:
		err = fmt.Errorf("it answers %d", response.StatusCode)
	}
	if err != nil {
		return r, fmt.Errorf("%s is not the admin listener of mmspipe: %w", c.Address, err)
	}
	return r, nil
}

// Message returns what is known of a message, an [operate.Known] as JSON. Its text, its
// numbers, its form and its links are left out unless private is set.
func (c *Client) Message(ctx context.Context, sid string, private bool) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "messages/"+url.PathEscape(sid), url.Values{"private": {strconv.FormatBool(private)}})
}

// Replay is [operate.Failures.Replay].
func (c *Client) Replay(ctx context.Context, q operate.Query, all, dryRun bool, run string, seen func(operate.Replayed)) (operate.Replayed, error) {
	v := values(q)
	v.Set("all", strconv.FormatBool(all))
	v.Set("dryRun", strconv.FormatBool(dryRun))
	v.Set("run", run)
	return post(ctx, c, "replay", v, seen)
}

// Erase is [operate.Eraser.Erase].
func (c *Client) Erase(ctx context.Context, account store.AccountSID, number string, dryRun bool, seen func(operate.Receipt)) (operate.Receipt, error) {
	v := values(operate.Query{Account: account})
	v.Set("number", number)
	v.Set("dryRun", strconv.FormatBool(dryRun))
	return post(ctx, c, "erase", v, seen)
}

// Reconcile is [operate.Reconciler.Reconcile].
func (c *Client) Reconcile(ctx context.Context, o operate.ReconcileOptions, seen func(operate.Reconciled)) (operate.Reconciled, error) {
	v := values(operate.Query{Account: o.Account, Since: o.Since, Until: o.Until})
	v.Set("fix", strconv.FormatBool(o.Fix))
	return post(ctx, c, "reconcile", v, seen)
}

// DeleteUpstream is [operate.Copies.Delete], of media that are older than
// [UpstreamGrace].
func (c *Client) DeleteUpstream(ctx context.Context, dryRun bool, seen func(operate.DeletedUpstream)) (operate.DeletedUpstream, error) {
	return post(ctx, c, "delete-upstream", url.Values{"dryRun": {strconv.FormatBool(dryRun)}}, seen)
}

// Reindex is [operate.Indexer.Reindex].
func (c *Client) Reindex(ctx context.Context, dryRun bool, seen func(operate.Reindexed)) (operate.Reindexed, error) {
	return post(ctx, c, "reindex", url.Values{"dryRun": {strconv.FormatBool(dryRun)}}, seen)
}

// Verify is [verify.Verifier.Verify].
func (c *Client) Verify(ctx context.Context, fix bool, seen func(verify.Verified)) (verify.Verified, error) {
	return post(ctx, c, "verify", url.Values{"fix": {strconv.FormatBool(fix)}}, seen)
}

// get reads an answer that is one JSON value.
func get[T any](ctx context.Context, c *Client, path string, v url.Values) (answer T, err error) {
	body, err := c.call(ctx, http.MethodGet, path, v)
	if err != nil {
		return answer, err
	}
	defer body.Close()
	return answer, json.NewDecoder(body).Decode(&answer)
}

// post has work done that takes its time. It calls seen with the progress, and
// returns the result.
func post[R any](ctx context.Context, c *Client, path string, v url.Values, seen func(R)) (result R, err error) {
	body, err := c.call(ctx, http.MethodPost, path, v)
	if err != nil {
		return result, err
	}
	defer body.Close()
	for decoder := json.NewDecoder(body); ; {
		var l line[R]
		err := decoder.Decode(&l)
		switch {
		case err != nil:
			return result, brokeOff(err)
		case l.Error != "":
			return result, errors.New(l.Error)
		case l.Result != nil:
			return *l.Result, nil
		case l.Progress != nil:
			seen(*l.Progress)
		}
	}
}

// brokeOff is the error of an answer that ended before its result.
func brokeOff(err error) error {
	return fmt.Errorf("the service broke off; the same command goes on: %w", err)
}

// call makes a request of the API and returns the answer's body.
func (c *Client) call(ctx context.Context, method, path string, v url.Values) (io.ReadCloser, error) {
	response, err := c.do(ctx, method, "/operator/"+path, v)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusUnauthorized:
		return nil, ErrKey
	case response.StatusCode == http.StatusNotFound:
		return nil, ErrNotFound
	case response.StatusCode == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("the service cannot do this now: %s", strings.TrimSpace(string(text)))
	}
	return nil, fmt.Errorf("the service answers %d: %s", response.StatusCode, strings.TrimSpace(string(text)))
}

// do makes a request. Parameters go into the query of a GET and the form of a POST.
func (c *Client) do(ctx context.Context, method, path string, v url.Values) (*http.Response, error) {
	address := "http://" + c.Address + path
	var body io.Reader
	if method == http.MethodGet {
		address += "?" + v.Encode()
	} else {
		body = strings.NewReader(v.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(c.SID, c.Secret)
	if body != nil {
		request.Header.Set("Content-Type", formType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.Address, errors.Unwrap(err))
	}
	return response, nil
}
