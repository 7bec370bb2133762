// Package operate is what people on call ask of the service: what failed, what is
// known of a message, how the queue is doing, to do work again, to find what never
// came, to erase, and to delete the provider's copies of what is kept.
//
// Nothing here stores media: that is queued as Jobs for the workers. All of it may be interrupted and begun again. A Job that is
// queued twice within [stream.DuplicateWindow] is queued once.
package operate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"time"

	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Operator answers for the accounts that the service works for. It may be used
// from many goroutines.
type Operator struct {
	Store    *store.Store
	Streams  *stream.Streams
	Accounts []store.AccountSID
	Upstream *url.URL // the provider's origin

	API *upstream.Client // the provider's API; nil: what needs it is an error
	Log zerolog.Logger
}

// ErrUnknown says that there is no record of a message.
var ErrUnknown = errors.New("message is not known")

// Query says which messages or failures are meant. Zero values mean all.
type Query struct {
	Account store.AccountSID
	Message store.MessageSID
	Media   store.MediaSID // asks for failures of this medium
	Reason  string         // of failures
	Since   time.Time      // when the message was received
	Until   time.Time
}

// Failure is a medium that was given up.
type Failure struct {
	Account store.AccountSID `json:"accountSid"`
	Message store.MessageSID `json:"messageSid"`
	Media   store.MediaSID   `json:"mediaSid"`
	store.Failure
}

// Failed yields failures, those of the newest message first, and of one message in
// the order of its media. It costs one read for each message that has any.
func (o *Operator) Failed(ctx context.Context, q Query) iter.Seq2[Failure, error] {
	return func(yield func(Failure, error) bool) {
		for m, err := range o.messages(ctx, q, true) {
			if err != nil {
				yield(Failure{}, err)
				return
			}
			for _, f := range failures(m, q) {
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// failures are those of a message that q asks for.
func failures(m store.Message, q Query) []Failure {
	var found []Failure
	for media, f := range m.Failures {
		if (q.Media == store.MediaSID{} || q.Media == media) && (q.Reason == "" || q.Reason == f.Reason) {
			found = append(found, Failure{m.Account, m.SID, media, f})
		}
	}
	slices.SortFunc(found, func(a, b Failure) int { return a.Index - b.Index })
	return found
}

// messages yields those that q asks for, the newest first: of one account after
// the other, or the one that is named.
func (o *Operator) messages(ctx context.Context, q Query, failed bool) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		for _, account := range o.Accounts {
			if q.Account != (store.AccountSID{}) && q.Account != account {
				continue
			}
			for m, err := range o.messagesOf(ctx, account, q, failed) {
				if !yield(m, err) || err != nil {
					return
				}
			}
		}
	}
}

func (o *Operator) messagesOf(ctx context.Context, account store.AccountSID, q Query, failed bool) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		if q.Message != (store.MessageSID{}) {
			m, err := o.Store.Message(ctx, account, q.Message)
			if !errors.Is(err, store.ErrNotFound) && m.Deleted.IsZero() {
				yield(m, err)
			}
			return
		}
		for entry, err := range o.Store.Messages(ctx, store.MessageQuery{Account: account, Failed: failed, Since: q.Since, Before: q.Until}) {
			if !yield(entry.Message, err) {
				return
			}
		}
	}
}

// Replayed is what a replay comes to.
type Replayed struct {
	Messages int  `json:"messages"` // that were meant
	Queued   int  `json:"queued"`   // of them; the others are in the queue already
	DryRun   bool `json:"dryRun"`   // nothing was queued
}

// Replay has messages worked on again: media that failed are tried again, and what
// is stored is verified and mended. Only messages with failures are meant unless
// all is set. seen is called after each. The Jobs' ids contain run, so that the
// same run that is begun again queues nothing twice.
func (o *Operator) Replay(ctx context.Context, q Query, all, dryRun bool, run string, seen func(Replayed)) (Replayed, error) {
	r := Replayed{DryRun: dryRun}
	for m, err := range o.messages(ctx, q, !all) {
		if err != nil {
			return r, err
		}
		if !all && len(failures(m, q)) == 0 {
			continue
		}
		r.Messages++
		if !dryRun {
			duplicate, err := o.Streams.PublishJob(ctx, stream.Job{
				Kind: stream.Replay, Account: m.Account, Message: m.SID, ID: fmt.Sprintf("replay:%s:%s:%s", m.Account, m.SID, run),
			})
			if err != nil {
				return r, err
			}
			if !duplicate {
				r.Queued++
			}
		}
		seen(r)
	}
	return r, nil
}
