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
	since time.Time // of the first publish without an answer; zero after an answer
	last  time.Time // of the last one without
}

// silenceAge is how long after the last publish without an answer nothing is known
// any more. A receiver that is not ready is sent nothing that could be answered.
const silenceAge = 15 * time.Second

func (s *silence) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered(err) {
		s.since = time.Time{}
		return
	}
	s.last = time.Now()
	if s.since.IsZero() {
		s.since = s.last
	}
}

func (s *silence) duration() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return 0
	}
	if time.Since(s.last) > silenceAge {
		s.since = time.Time{}
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
// last one had, or if none has been tried for 15 s. A server that met an error
// when it wrote answers none until it is restarted (seen on nats-server 2.15.2).
func (s *Streams) Stuck() time.Duration {
	return max(s.silentJobs.duration(), s.silentFeed.duration())
}

// Unstick forgets what Stuck knows, because the server was restarted.
func (s *Streams) Unstick() {
	s.silentJobs.note(nil)
	s.silentFeed.note(nil)
}
