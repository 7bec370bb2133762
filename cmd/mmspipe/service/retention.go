package service

import (
	"context"
	"time"

	"mmspipe/ingest/operate"
)

// retentionTick is the time between two looks for messages that are too old.
const retentionTick = time.Hour

// retain removes messages that are older than the retention. An error ends the call;
// the next one goes on.
func (s *service) retain(ctx context.Context) {
	limit := time.Now().Add(-s.Retention)
	for account := range s.Accounts {
		erased, err := s.operations().Eraser.EraseBefore(ctx, account, limit, func(operate.Erased) {})
		line := s.log.Info()
		if err != nil && ctx.Err() == nil {
			line = s.log.Error().Err(err)
		}
		line.Stringer("accountSid", account).Time("before", limit).Int("messages", erased.Messages).Int("media", erased.Media).
			Int64("bytes", erased.Bytes).Int("events", erased.Events).Msg("retention")
	}
}
