package main

import (
	"context"
	"time"

	"mmspipe/ingest"
)

// retentionTick is how often what has become too old is looked for.
const retentionTick = time.Hour

// startRetention removes, at start and every hour, what is older than
// MMSPIPE_RETENTION.
func (s *service) startRetention(context.Context) error {
	if s.retention == 0 || !s.roles.worker {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(retentionTick)
		defer tick.Stop()
		for ctx.Err() == nil {
			s.retain(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	s.onStop("retention", func(context.Context) error { cancel(); <-done; return nil })
	return nil
}

// retain is one sweep. An error ends it; the next one goes on.
func (s *service) retain(ctx context.Context) {
	eraser := ingest.Eraser{Store: s.records, Streams: s.streams, Upstream: s.upstream}
	limit := time.Now().Add(-s.retention)
	for account := range s.accounts {
		erased, err := eraser.Before(ctx, account, limit, false, func(ingest.Erased) {})
		line := s.log.Info()
		if err != nil && ctx.Err() == nil {
			line = s.log.Error().Err(err)
		}
		line.Stringer("accountSid", account).Time("before", limit).Int("messages", erased.Messages).Int("media", erased.Media).
			Int64("bytes", erased.Bytes).Int("events", erased.Events).Msg("retention")
	}
}
