package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mmspipe/store"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RemoveEvent overwrites and removes the event at a sequence if it is about that
// message. It tells whether it was there.
func (s *Streams) RemoveEvent(ctx context.Context, sequence uint64, message store.MessageSID) (bool, error) {
	entry, err := s.Event(ctx, sequence)
	if errors.Is(err, ErrNotKept) {
		return false, nil
	}
	if err != nil || !strings.Contains(entry.ID, ":"+message.String()) {
		return false, err
	}
	if err := s.feed.SecureDeleteMsg(ctx, sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, fmt.Errorf("remove event %d: %w", sequence, err)
	}
	return true, nil
}

// RemoveJobs overwrites and removes the queued Jobs that remove is true for, in
// hand or not. It reads the whole queue once; an error of remove ends it.
func (s *Streams) RemoveJobs(ctx context.Context, remove func(Job) (bool, error)) error {
	for sequence := uint64(1); ; sequence++ {
		msg, err := s.jobs.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject("mms.job.>")) // or the next
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read job %d: %w", sequence, err)
		}
		sequence = msg.Sequence
		job, err := parseSubject(msg.Subject)
		if err != nil {
			continue // its delivery drops it
		}
		job.ID, job.Data = msg.Header.Get(nats.MsgIdHdr), msg.Data
		yes, err := remove(job)
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
	err := s.jobs.SecureDeleteMsg(ctx, sequence)
	if err == nil {
		return nil
	}
	// The server does not tell apart why a message could not be removed (error
	// 10043, seen on nats-server 2.15.2).
	if _, look := s.jobs.GetMsg(ctx, sequence); errors.Is(look, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("remove job %d: %w", sequence, err)
}
