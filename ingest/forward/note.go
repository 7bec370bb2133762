package forward

import (
	"context"
	"errors"
	"time"

	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// What becomes of a webhook is noted in the record of its message, if there is one. A
// message that was deleted is [store.ErrDeleted].

// noteTaken notes that an application took a webhook. A failure of an earlier Job is
// over then.
func noteTaken(ctx context.Context, s *store.Store, job stream.Job, name string, status int) error {
	_, err := note(ctx, s, job, name, func(m *store.Message, f *store.Forward) {
		keepEvent(m, f.Failure)
		f.Attempts++
		f.Status, f.Date, f.Failure, f.Form = status, time.Now().UTC(), nil, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// noteTry notes a try that came to nothing and returns how many there were. Where there
// is a record, the deliveries do not count in which it was not the Job's turn.
func noteTry(ctx context.Context, s *store.Store, d *stream.Delivery, name string, trouble *Error) (int, error) {
	m, err := note(ctx, s, d.Job, name, func(_ *store.Message, f *store.Forward) {
		f.Attempts++
		f.Status, f.Date = trouble.Status, time.Now().UTC()
	})
	if errors.Is(err, store.ErrNotFound) {
		return d.Attempt, nil
	}
	return m.Forwards[name].Attempts, err
}

// noteFailure notes that a webhook was given up.
func noteFailure(ctx context.Context, s *store.Store, job stream.Job, hook webhook.Webhook, failure store.Failure) (store.Message, error) {
	return note(ctx, s, job, hook.Name(), func(m *store.Message, f *store.Forward) {
		keepEvent(m, f.Failure)
		f.Attempts++
		failure.Attempts = f.Attempts
		f.Status, f.Date, f.Failure = failure.Status, failure.Date, &failure
		if hook.Status != "" {
			f.Form = hook.Form
		}
	})
}

// keepEvent keeps the event of a failure that is over among the message's others.
func keepEvent(m *store.Message, over *store.Failure) {
	if over != nil && over.Announced != 0 {
		m.Events = append(m.Events, over.Announced)
	}
}

func note(ctx context.Context, s *store.Store, job stream.Job, name string, change func(*store.Message, *store.Forward)) (store.Message, error) {
	return s.UpdateMessage(ctx, job.Account, job.Message, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return store.ErrDeleted
		}
		if m.Forwards == nil {
			m.Forwards = map[string]store.Forward{}
		}
		f := m.Forwards[name]
		change(m, &f)
		m.Forwards[name] = f
		return nil
	})
}
