// Package webhook posts signed webhooks as Twilio does, and again as the connection
// overrides in the fragment of their URL say
// (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/signature"
)

const (
	// Timeout is Twilio's for a webhook with its retries (error 11205).
	Timeout = 15 * time.Second

	// maxAnswer bounds what is read of an answer (TwiML is at most 64 kB, error
	// 11750).
	maxAnswer = 64 << 10
)

// Answer is the last answer to a webhook.
type Answer struct {
	Status   int    // of HTTP
	Body     string // the first 64 KiB of it
	Attempts int    // requests that were made
}

// Post posts a form, signed with a token, and retries as the fragment of the address
// says. An error means that there was no answer.
func Post(ctx context.Context, client *http.Client, address, token string, form url.Values) (a Answer, err error) {
	address, fragment, _ := strings.Cut(address, "#")
	if address == "" {
		return a, errors.New("simulate: no webhook is set")
	}
	overrides, err := url.ParseQuery(fragment)
	if err != nil {
		return a, fmt.Errorf("simulate: fragment of the webhook: %w", err)
	}
	retries := 1 // Twilio's default: once, when there was no connection
	if n, err := strconv.Atoi(overrides.Get("rc")); err == nil {
		retries = min(n, 5)
	}
	policies := strings.Split(cmp.Or(overrides.Get("rp"), "ct"), ",")
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	for a.Attempts = 1; ; a.Attempts++ {
		connected := false
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
		a.Status, a.Body, err = request(httptrace.WithClientTrace(ctx, trace), client, address, token, form)
		if a.Attempts > retries || ctx.Err() != nil || !retried(policies, connected, a.Status, err) {
			return a, err
		}
	}
}

// retried tells whether the policies ask for another try. Without any policy that is ct:
// when there was no connection.
func retried(policies []string, connected bool, status int, err error) bool {
	all := slices.Contains(policies, "all")
	switch {
	case err != nil && connected:
		return all || slices.Contains(policies, "rt")
	case err != nil:
		return all || slices.Contains(policies, "ct")
	}
	return status >= 500 && (all || slices.Contains(policies, "5xx")) ||
		status >= 400 && status < 500 && (all || slices.Contains(policies, "4xx"))
}

// request makes one signed request.
func request(ctx context.Context, client *http.Client, address, token string, form url.Values) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", fmt.Errorf("simulate: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	request.Header.Set("User-Agent", "TwilioProxy/1.1")
	request.Header.Set("Accept", "*/*")
	request.Header.Set("I-Twilio-Idempotency-Token", rand.Text())
	request.Header.Set("X-Twilio-Signature", signature.Sign(token, address, form))
	response, err := client.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("simulate: send webhook: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, "", fmt.Errorf("simulate: read answer: %w", err)
	}
	return response.StatusCode, string(body), nil
}
