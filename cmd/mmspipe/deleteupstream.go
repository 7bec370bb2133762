package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"mmspipe/ingest/operate"
)

const (
	// upstreamGrace is how long the provider's copy of a medium is kept at least, for
	// trouble here to show: as long as a Job is tried for.
	upstreamGrace = 24 * time.Hour

	// upstreamTick is the time between two looks for copies to delete.
	upstreamTick = 10 * time.Minute
)

// onCall does what people on call ask for, and what is done for them by the clock.
func (s *service) onCall() *operate.Operator {
	return &operate.Operator{
		Store: s.records, Streams: s.streams, Accounts: slices.Collect(maps.Keys(s.accounts)), Upstream: s.upstream, API: s.twilio, Log: s.log,
	}
}

// startDeleteUpstream deletes the provider's copies of media that are kept here, if
// that is set, until the service stops.
func (s *service) startDeleteUpstream() {
	if !s.deleteUpstream {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var deleting sync.WaitGroup
	deleting.Go(func() {
		tick := time.NewTicker(upstreamTick)
		defer tick.Stop()
		for {
			s.deleteCopies(ctx, time.Now().Add(-upstreamGrace))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	s.onStop("deletion of upstream's copies", func(context.Context) error { cancel(); deleting.Wait(); return nil })
}

// deleteCopies deletes those of media that came before a time.
func (s *service) deleteCopies(ctx context.Context, before time.Time) {
	r, err := s.onCall().DeleteUpstream(ctx, before, false, nil)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.Error().Err(err).Int("media", r.Media).Msg("not all of upstream's copies were deleted; the next look goes on")
	case r.Messages > 0:
		s.log.Info().Int("messages", r.Messages).Int("media", r.Media).Int("damaged", r.Damaged).Int("left", r.Left).Msg("upstream's copies deleted")
	}
}
