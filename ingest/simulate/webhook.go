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

// Message is an inbound message.
type Message struct {
	SID      string // made up if empty
	From, To string // made up if empty
	Body     string
	Media    []Media
	Forged   bool // signed with another token
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
	sent := s.host(m)
	sent.token = s.o.Token
	if m.Forged {
		sent.token += "forged"
	}
	return s.post(ctx, sent)
}

// Repeat sends a message's webhook again, as a retry does: the same parameters,
// the media where they were.
func (s *Simulator) Repeat(ctx context.Context, sent Sent) (Sent, error) {
	return s.post(ctx, sent)
}

// Fallback sends a message's webhook again as Twilio does to a fallback URL: with
// the error and the URL that failed.
func (s *Simulator) Fallback(ctx context.Context, sent Sent) (Sent, error) {
	sent.Form = maps.Clone(sent.Form)
	sent.Form.Set("ErrorCode", "11200")
	sent.Form.Set("ErrorUrl", s.target())
	return s.post(ctx, sent)
}

// StatusCallback sends the status of a message that was sent elsewhere
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status).
func (s *Simulator) StatusCallback(ctx context.Context, messageSID, status string) (Sent, error) {
	return s.post(ctx, Sent{MessageSID: messageSID, token: s.o.Token, Form: url.Values{
		"MessageSid": {messageSID}, "SmsSid": {messageSID}, "AccountSid": {s.o.Account},
		"From": {"+15005550006"}, "To": {"+15005550009"}, "MessageStatus": {status}, "SmsStatus": {status}, "ApiVersion": {"2010-04-01"},
	}})
}

// host gives a message and its media SIDs and makes the form.
func (s *Simulator) host(m Message) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := Sent{MessageSID: m.SID}
	if sent.MessageSID == "" {
		prefix := "SM"
		if len(m.Media) > 0 {
			prefix = "MM"
		}
		sent.MessageSID = s.sid(prefix)
	}
	number := func(given string) string {
		if given == "" {
			return fmt.Sprintf("+1415555%04d", s.rand.IntN(10000))
		}
		return given
	}
	sent.Form = form(s.o.Account, sent.MessageSID, number(m.From), number(m.To), m.Body, len(m.Media))
	for i, medium := range m.Media {
		sid := s.sid("ME")
		h := &hosted{
			Media: medium, modified: time.Now(),
			path: fmt.Sprintf("/2010-04-01/Accounts/%s/Messages/%s/Media/%s", s.o.Account, sent.MessageSID, sid),
		}
		s.media[sid] = h
		address := medium.URL
		if address == "" {
			address = s.origin + h.path
		}
		n := strconv.Itoa(i)
		sent.Form.Set("MediaUrl"+n, address)
		sent.Form.Set("MediaContentType"+n, medium.ContentType)
		sent.MediaSIDs, sent.MediaURLs = append(sent.MediaSIDs, sid), append(sent.MediaURLs, address)
	}
	return sent
}

// form holds what every webhook of an inbound message carries, what is empty too.
func form(account, message, from, to, body string, media int) url.Values {
	return url.Values{
		"MessageSid": {message}, "SmsSid": {message}, "SmsMessageSid": {message}, "AccountSid": {account},
		"From": {from}, "To": {to}, "Body": {body}, "NumMedia": {strconv.Itoa(media)}, "NumSegments": {strconv.Itoa(max(media, 1))},
		"SmsStatus": {"received"}, "ApiVersion": {"2010-04-01"},
		"FromCity": {"SAN FRANCISCO"}, "FromState": {"CA"}, "FromZip": {"94103"}, "FromCountry": {"US"},
		"ToCity": {""}, "ToState": {"CA"}, "ToZip": {""}, "ToCountry": {"US"}, "ReferralNumMedia": {"0"},
	}
}

func (s *Simulator) target() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhook
}

// post sends a form, and again as the connection overrides of the webhook's
// fragment say (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
func (s *Simulator) post(ctx context.Context, sent Sent) (Sent, error) {
	address, fragment, _ := strings.Cut(s.target(), "#")
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
