package stream

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// silence notes since when publishes to a stream have had no answer.
type silence struct {
	mu    sync.Mutex
	since time.Time // zero after an answer
}

func (s *silence) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case answered(err):
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = time.Now()
	}
}

func (s *silence) duration() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return 0
	}
	return time.Since(s.since)
}

// answered tells whether the server was able to say what became of a publish. A
// stream that is full says so; one that could not write may say that it failed.
func answered(err error) bool {
	const storeFailed = 10077 // of nats-server's errors.json; full streams have it too
	api, ok := errors.AsType[*jetstream.APIError](err)
	return err == nil || ok && (api.ErrorCode != storeFailed || strings.Contains(api.Description, "maximum"))
}

// Stuck is how long publishes to one of the streams have had no answer; 0 if the
// last one had. A server that met an error when it wrote answers none until it is
// restarted (seen on nats-server 2.15.2).
func (s *Streams) Stuck() time.Duration {
	return max(s.silentJobs.duration(), s.silentFeed.duration())
}

// Unstick forgets what Stuck knows, because the server was restarted.
func (s *Streams) Unstick() {
	s.silentJobs.note(nil)
	s.silentFeed.note(nil)
}
