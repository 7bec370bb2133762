package service

import (
	"context"
	"time"

	"mmspipe/cmd/mmspipe/operator"
)

// upstreamTick is the time between two looks for copies to delete.
const upstreamTick = 10 * time.Minute

// deleteCopies deletes the provider's copies of media that are kept here for longer
// than [operator.UpstreamGrace].
func (s *service) deleteCopies(ctx context.Context) {
	r, err := s.operations().Copies.Delete(ctx, time.Now().Add(-operator.UpstreamGrace), false, nil)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.Error().Err(err).Int("media", r.Media).Msg("not all of the provider's copies were deleted; the next look goes on")
	case r.Messages > 0:
		s.log.Info().Int("messages", r.Messages).Int("media", r.Media).Int("damaged", r.Damaged).Int("left", r.Left).Msg("provider's copies deleted")
	}
}
