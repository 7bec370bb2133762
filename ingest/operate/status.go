package operate

import (
	"context"
	"encoding/json"
	"time"

	"mmspipe/store/stream"
)

// Status is how the service is doing.
type Status struct {
	stream.State
	OldestSeconds float64         `json:"oldestJobSeconds"`
	LastHour      map[string]int  `json:"lastHour"`            // events by type
	Failures      map[string]int  `json:"failures"`            // of the last hour, by reason
	Readers       []stream.Reader `json:"readers"`             // of the feed
	Truncated     bool            `json:"truncated,omitempty"` // the last hour had more events than were counted
}

const (
	// statusPage and statusMost bound what is read of the feed for a status.
	statusPage = 1000
	statusMost = 100_000
)

// Status counts what the feed says of the last hour and asks the streams.
func (i *Inspector) Status(ctx context.Context) (Status, error) {
	s := Status{LastHour: map[string]int{}, Failures: map[string]int{}}
	var err error
	if s.State, err = i.Streams.State(ctx); err != nil {
		return s, err
	}
	if !s.OldestJob.IsZero() {
		s.OldestSeconds = time.Since(s.OldestJob).Seconds()
	}
	if s.Readers, err = i.Streams.Readers(ctx); err != nil {
		return s, err
	}
	q := stream.Query{Since: time.Now().Add(-time.Hour)}
	for read := 0; ; {
		entries, err := i.Streams.Events(ctx, q, statusPage)
		if err != nil || len(entries) == 0 {
			return s, err
		}
		if read += len(entries); read > statusMost {
			s.Truncated = true
			return s, nil
		}
		for _, entry := range entries {
			s.count(entry)
			q.After = entry.Sequence
		}
	}
}

func (s *Status) count(entry stream.Entry) {
	s.LastHour[entry.Type]++
	if entry.Type != stream.EventFailed {
		return
	}
	var e struct{ Data struct{ Reason string } }
	if json.Unmarshal(entry.JSON, &e) == nil { // or somebody else published it
		s.Failures[e.Data.Reason]++
	}
}
