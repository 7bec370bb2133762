package simulate

import (
	"context"
	"maps"
	"net/url"
	"time"

	"mmspipe/ingest/simulate/webhook"
)

// Sent is a message that was sent, and how its webhook was answered.
type Sent struct {
	MessageSID string
	MediaSIDs  []string
	MediaURLs  []string
	Form       url.Values

	Status   int    // HTTP status of the last answer
	Body     string // of it
	Attempts int    // requests that were made

	forged bool // signed with another token
}

// Host keeps a message and its media as of a time, and sends nothing: its webhook never
// came, or somebody else sent the message. Repeat sends its webhook after all. Data of
// media are kept as they are, and may be shared. A message takes the place of one with the
// same SID.
func (s *Simulator) Host(m Message, at time.Time) Sent {
	hosted := s.API.Host(m, at)
	return Sent{MessageSID: hosted.MessageSID, MediaSIDs: hosted.MediaSIDs, MediaURLs: hosted.MediaURLs, Form: hosted.Form, forged: m.Forged}
}

// Send hosts a message's media and sends its webhook. An error means that there
// was no answer.
func (s *Simulator) Send(ctx context.Context, m Message) (Sent, error) {
	return s.post(ctx, s.Host(m, time.Now()))
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

// StatusCallback sends the status of a message to the webhook. The message need not be one
// that is kept here.
func (s *Simulator) StatusCallback(ctx context.Context, messageSID, status string) (Sent, error) {
	return s.post(ctx, Sent{MessageSID: messageSID, Form: s.StatusForm(messageSID, status)})
}

// post posts a form to the webhook, and notes the answer.
func (s *Simulator) post(ctx context.Context, sent Sent) (Sent, error) {
	token := s.o.Token
	if sent.forged {
		token += "forged"
	}
	answer, err := webhook.Post(ctx, s.client, s.target(), token, sent.Form)
	sent.Status, sent.Body, sent.Attempts = answer.Status, answer.Body, answer.Attempts
	return sent, err
}

func (s *Simulator) target() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhook
}
