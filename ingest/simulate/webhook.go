package simulate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
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
	// webhookTimeout is Twilio's for a webhook with its retries (error 11205).
	webhookTimeout = 15 * time.Second

	// maxAnswer bounds what is read of an answer (TwiML is at most 64 kB, error
	// 11750).
	maxAnswer = 64 << 10
)

// Message is a message, inbound unless it says otherwise.
type Message struct {
	SID      string // made up if empty
	From, To string // made up if empty
	Body     string
	Media    []Media
	Forged   bool // signed with another token

	// Outbound is a message that somebody else sent through the API. Its webhook
	// is the status callback that it was delivered.
	Outbound bool
	// Late is how many lists of its media are empty, although it has some, before
	// these are there.
	Late int
}

// Sent is a message that was sent, and what came of it.
type Sent struct {
	MessageSID string
	MediaSIDs  []string
	MediaURLs  []string
	Form       url.Values

	Status   int    // HTTP status of the last answer
	Body     string // of it
	Attempts int    // requests that were made

	token string
}

// Send hosts a message's media and sends its webhook. An error means that there
// was no answer.
func (s *Simulator) Send(ctx context.Context, m Message) (Sent, error) {
	return s.post(ctx, s.target(), s.Host(m, time.Now()))
}

// Repeat sends a message's webhook again, as a retry does: the same parameters,
// the media where they were.
func (s *Simulator) Repeat(ctx context.Context, sent Sent) (Sent, error) {
	return s.post(ctx, s.target(), sent)
}

// Fallback sends a message's webhook again as Twilio does to a fallback URL: with
// the error and the URL that failed.
func (s *Simulator) Fallback(ctx context.Context, sent Sent) (Sent, error) {
	sent.Form = maps.Clone(sent.Form)
	sent.Form.Set("ErrorCode", "11200")
	sent.Form.Set("ErrorUrl", s.target())
	return s.post(ctx, s.target(), sent)
}

// StatusCallback sends the status of a message that was sent elsewhere to the
// webhook. The message need not be one that is kept here.
func (s *Simulator) StatusCallback(ctx context.Context, messageSID, status string) (Sent, error) {
	s.mu.Lock()
	m := cmp.Or(s.messages[messageSID], &message{sid: messageSID, from: "+15005550006", to: "+15005550009"})
	form := s.callback(m, status)
	s.mu.Unlock()
	return s.post(ctx, s.target(), Sent{MessageSID: messageSID, token: s.o.Token, Form: form})
}

// callback is the form of a status callback
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status).
// The caller holds the lock.
func (s *Simulator) callback(m *message, status string) url.Values {
	form := url.Values{
		"MessageSid": {m.sid}, "SmsSid": {m.sid}, "AccountSid": {s.o.Account}, "From": {m.from}, "To": {m.to},
		"MessageStatus": {status}, "SmsStatus": {status}, "ApiVersion": {apiVersion},
	}
	if m.service != "" {
		form.Set("MessagingServiceSid", m.service)
	}
	if m.code != 0 && (status == "failed" || status == "undelivered") {
		form.Set("ErrorCode", strconv.Itoa(m.code))
	}
	return form
}

// form holds what every webhook of an inbound message carries, what is empty too.
func form(account, message, from, to, body string, media int) url.Values {
	return url.Values{
		"MessageSid": {message}, "SmsSid": {message}, "SmsMessageSid": {message}, "AccountSid": {account},
		"From": {from}, "To": {to}, "Body": {body}, "NumMedia": {strconv.Itoa(media)}, "NumSegments": {strconv.Itoa(max(media, 1))},
		"SmsStatus": {"received"}, "ApiVersion": {apiVersion},
		"FromCity": {"SAN FRANCISCO"}, "FromState": {"CA"}, "FromZip": {"94103"}, "FromCountry": {"US"},
		"ToCity": {""}, "ToState": {"CA"}, "ToZip": {""}, "ToCountry": {"US"}, "ReferralNumMedia": {"0"},
	}
}

func (s *Simulator) target() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhook
}

// post sends a form, and again as the connection overrides of the address's
// fragment say (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
func (s *Simulator) post(ctx context.Context, address string, sent Sent) (Sent, error) {
	address, fragment, _ := strings.Cut(address, "#")
	if address == "" {
		return sent, errors.New("simulate: no webhook is set")
	}
	overrides, err := url.ParseQuery(fragment)
	if err != nil {
		return sent, fmt.Errorf("simulate: fragment of the webhook: %w", err)
	}
	retries := 1 // Twilio's default: once, when there was no connection
	if n, err := strconv.Atoi(overrides.Get("rc")); err == nil {
		retries = min(n, 5)
	}
	policies := strings.Split(cmp.Or(overrides.Get("rp"), "ct"), ",")
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	for sent.Attempts = 1; ; sent.Attempts++ {
		connected := false
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
		sent.Status, sent.Body, err = s.request(httptrace.WithClientTrace(ctx, trace), address, sent)
		if sent.Attempts > retries || ctx.Err() != nil || !retried(policies, connected, sent.Status, err) {
			return sent, err
		}
	}
}

// retried tells whether the policies ask for another try. Without any policy it
// is ct: where there was no connection.
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
func (s *Simulator) request(ctx context.Context, address string, sent Sent) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(sent.Form.Encode()))
	if err != nil {
		return 0, "", fmt.Errorf("simulate: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	request.Header.Set("User-Agent", "TwilioProxy/1.1")
	request.Header.Set("Accept", "*/*")
	request.Header.Set("I-Twilio-Idempotency-Token", rand.Text())
	request.Header.Set("X-Twilio-Signature", signature.Sign(sent.token, address, sent.Form))
	response, err := s.client.Do(request)
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
