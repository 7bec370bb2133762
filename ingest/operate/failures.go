package operate

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"mmspipe/ingest/forward"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Failures lists what was given up, and tries it again. It may be used from many
// goroutines.
type Failures struct {
	Store    *store.Store
	Streams  *stream.Streams
	Accounts []store.AccountSID
	Log      zerolog.Logger
}

// Query says which messages or failures are meant. Zero values mean all.
type Query struct {
	Account store.AccountSID
	Message store.MessageSID
	Media   store.MediaSID // asks for failures of this medium
	Reason  string         // of failures
	Since   time.Time      // when the message was received
	Until   time.Time
}

// Failure is something of a message that was given up.
type Failure struct {
	Account store.AccountSID `json:"accountSid"`
	Message store.MessageSID `json:"messageSid"`
	Media   store.MediaSID   `json:"mediaSid,omitzero"`
	Forward string           `json:"forward,omitempty"` // a webhook that was to be posted on: "received", or a status
	store.Failure
}

// Of tells what of the message was given up: the SID of a medium, "forward" and its
// name, or "message" for an outgoing one as a whole.
func (f Failure) Of() string {
	switch {
	case !f.Media.IsZero():
		return f.Media.String()
	case f.Forward != "":
		return "forward " + f.Forward
	}
	return "message"
}

// List yields failures, those of the newest message first, and of one message
// those of its media in their order, before those of its webhooks and its own. It costs one read for each message that has any.
// A message whose record is damaged is a failure itself, of reason [store.ReasonDamaged].
func (f *Failures) List(ctx context.Context, q Query) iter.Seq2[Failure, error] {
	return func(yield func(Failure, error) bool) {
		for m, err := range f.messages(ctx, q, true) {
			if errors.Is(err, store.ErrDamaged) {
				if q.Media.IsZero() && (q.Reason == "" || q.Reason == store.ReasonDamaged) && !yield(unreadable(m, err), nil) {
					return
				}
				continue
			}
			if err != nil {
				yield(Failure{}, err)
				return
			}
			for _, failure := range failures(m, q) {
				if !yield(failure, nil) {
					return
				}
			}
		}
	}
}

// unreadable is the failure of a message whose record is damaged.
func unreadable(m store.Message, err error) Failure {
	return Failure{Account: m.Account, Message: m.SID, Failure: store.Failure{
		Reason: store.ReasonDamaged, Detail: err.Error() + "; mmspipe verify --fix", Date: m.DateCreated,
	}}
}

// failures are those of a message that q asks for.
func failures(m store.Message, q Query) []Failure {
	var found []Failure
	add := func(media store.MediaSID, forward string, f store.Failure) {
		if (q.Media.IsZero() || q.Media == media) && (q.Reason == "" || q.Reason == f.Reason) {
			found = append(found, Failure{m.Account, m.SID, media, forward, f})
		}
	}
	for media, f := range m.Failures {
		add(media, "", f)
	}
	slices.SortFunc(found, func(a, b Failure) int { return a.Index - b.Index })
	for _, name := range slices.Sorted(maps.Keys(m.Forwards)) {
		if f := m.Forwards[name].Failure; f != nil {
			add(store.MediaSID{}, name, *f)
		}
	}
	if m.Unreadable != nil {
		add(store.MediaSID{}, "", m.Unreadable.Failure)
	}
	if m.Outgoing != nil && m.Outgoing.Failure != nil {
		add(store.MediaSID{}, "", *m.Outgoing.Failure)
	}
	return found
}

// messages yields those that q asks for, the newest first: of one account after
// the other, or the one that is named. After a [store.ErrDamaged] it goes on.
func (f *Failures) messages(ctx context.Context, q Query, failed bool) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		for _, account := range f.Accounts {
			if !q.Account.IsZero() && q.Account != account {
				continue
			}
			for m, err := range f.messagesOf(ctx, account, q, failed) {
				if !yield(m, err) || err != nil && !errors.Is(err, store.ErrDamaged) {
					return
				}
			}
		}
	}
}

func (f *Failures) messagesOf(ctx context.Context, account store.AccountSID, q Query, failed bool) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		if !q.Message.IsZero() {
			m, err := f.Store.Message(ctx, account, q.Message)
			if !errors.Is(err, store.ErrNotFound) && m.Deleted.IsZero() {
				yield(m, err)
			}
			return
		}
		for entry, err := range f.Store.Messages(ctx, store.MessageQuery{Account: account, Failed: failed, Since: q.Since, Before: q.Until}) {
			if !yield(entry.Message, err) {
				return
			}
		}
	}
}

// Replayed is what a replay comes to.
type Replayed struct {
	Messages int  `json:"messages"`          // that were meant
	Queued   int  `json:"queued"`            // of them; the others are in the queue already
	Damaged  int  `json:"damaged,omitempty"` // that were meant and have a damaged record; they are left
	DryRun   bool `json:"dryRun"`            // nothing was queued
}

// Replay has messages worked on again: media that failed are tried again, and what
// is stored is verified and mended; webhooks that were given up are posted again; and
// an outgoing message that was given up is sent again, but never because of all. Only
// messages with failures are meant unless all is set. seen is called after each. The
// Jobs' ids contain run, so that the same run that is begun again queues nothing twice.
func (f *Failures) Replay(ctx context.Context, q Query, all, dryRun bool, run string, seen func(Replayed)) (Replayed, error) {
	r := Replayed{DryRun: dryRun}
	for m, err := range f.messages(ctx, q, !all) {
		if errors.Is(err, store.ErrDamaged) {
			logDamage(f.Log, err, "message cannot be replayed")
			r.Damaged++
			continue
		}
		if err != nil {
			return r, err
		}
		jobs, err := f.again(m, failures(m, q), all, run)
		if err != nil {
			return r, err
		}
		if len(jobs) == 0 {
			continue
		}
		r.Messages++
		if !dryRun {
			queued, err := f.queue(ctx, jobs)
			if err != nil {
				return r, err
			}
			if queued {
				r.Queued++
			}
		}
		seen(r)
	}
	return r, nil
}

// again returns the Jobs that try again what of a message failed.
func (f *Failures) again(m store.Message, failed []Failure, all bool, run string) ([]stream.Job, error) {
	var jobs []stream.Job
	work := stream.NewReplay(m.Account, m.SID, run)
	worked := all
	for _, failure := range failed {
		switch {
		case !failure.Media.IsZero():
			worked = true
		case failure.Forward != "":
			job, err := forward.Again(f.Store, m, failure.Forward, run)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, job)
		case failure.Reason == store.ReasonUnreadable: // no try can mend that
		case !all: // its media are tried again with it
			work = stream.NewSendAgain(m.Account, m.SID, run)
			worked = true
		}
	}
	if worked {
		jobs = append(jobs, work)
	}
	return jobs, nil
}

// queue publishes Jobs and tells whether any was not queued before.
func (f *Failures) queue(ctx context.Context, jobs []stream.Job) (queued bool, err error) {
	for _, job := range jobs {
		duplicate, err := f.Streams.PublishJob(ctx, job)
		if err != nil {
			return queued, err
		}
		queued = queued || !duplicate
	}
	return queued, nil
}
