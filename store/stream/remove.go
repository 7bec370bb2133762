package stream

import (
	"context"
	"errors"
	"fmt"

	"mmspipe/store"

	"github.com/nats-io/nats.go/jetstream"
)

// RemoveEvent overwrites and removes the event at a sequence if it is about that
// message. It tells whether it was there.
func (s *Streams) RemoveEvent(ctx context.Context, sequence uint64, message store.MessageSID) (bool, error) {
	entry, err := s.Event(ctx, sequence)
	if errors.Is(err, ErrNotKept) {
		return false, nil
	}
	if err != nil || entry.Message != message {
		return false, err
	}
	if err := remove(ctx, s.feed, sequence); err != nil {
		return false, fmt.Errorf("remove event %d: %w", sequence, err)
	}
	return true, nil
}

// RemoveJobs overwrites and removes the queued Jobs that meant is true for, in
// hand or not. It reads the whole queue once; an error of meant ends it.
func (s *Streams) RemoveJobs(ctx context.Context, meant func(Job) (bool, error)) error {
	for sequence := uint64(1); ; sequence++ {
		msg, err := s.jobs.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject("mms.job.>")) // or the next
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read job %d: %w", sequence, err)
		}
		sequence = msg.Sequence
		job, err := decode(msg.Subject, msg.Header, msg.Data)
		if err != nil {
			continue // its delivery drops it
		}
		yes, err := meant(job)
		if err != nil {
			return err
		}
		if !yes {
			continue
		}
		if err := s.RemoveJob(ctx, sequence); err != nil {
			return err
		}
	}
}

// RemoveJob overwrites and removes the Job at a sequence, in hand or not. It is no
// error if it is gone.
func (s *Streams) RemoveJob(ctx context.Context, sequence uint64) error {
	if err := remove(ctx, s.jobs, sequence); err != nil {
		return fmt.Errorf("remove job %d: %w", sequence, err)
	}
	return nil
}

// remove overwrites and removes the message at a sequence, if it is there. The server
// does not tell why it could not remove one (error 10043, seen on nats-server 2.15.2):
// then it is looked for.
func remove(ctx context.Context, s jetstream.Stream, sequence uint64) error {
	err := s.SecureDeleteMsg(ctx, sequence)
	if err == nil {
		return nil
	}
	if _, look := s.GetMsg(ctx, sequence); errors.Is(look, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
