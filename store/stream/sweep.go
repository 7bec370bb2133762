package stream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Sweep removes Jobs that are done and still in the queue. A server whose disk is
// full takes an Ack, fails to remove the Job and does not come back to it, not even
// when it is restarted (seen on nats-server 2.15.2); what is in the Job would stay
// for good. Jobs behind one that is not done are left for a later call.
func (s *Streams) Sweep(ctx context.Context) error {
	worker, err := s.worker.Info(ctx)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", durable, err)
	}
	jobs, err := s.jobs.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", jobsName, err)
	}
	// The consumer has no filter, so that all up to its floor is done.
	done := worker.AckFloor.Stream
	if jobs.State.Msgs == 0 || jobs.State.FirstSeq > done {
		return nil
	}
	if err := s.jobs.Purge(ctx, jetstream.WithPurgeSequence(done+1)); err != nil {
		return fmt.Errorf("purge jobs up to %d: %w", done, err)
	}
	return nil
}
