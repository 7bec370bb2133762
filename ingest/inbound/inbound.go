// Package inbound takes incoming messages from their webhooks to stored media, and
// messages that are known only to the provider: those whose webhook never came, and
// those that were sent through the provider itself.
package inbound

import (
	"context"
	"errors"
	"time"

	"mmspipe/ingest/media"
	"mmspipe/ingest/removal"
	"mmspipe/ingest/status"
	"mmspipe/ingest/upstream"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Options are what a [Handler] works with. All up to GiveUp are required.
type Options struct {
	Store   *store.Store
	Feed    *feed.Feed
	Media   *media.Pipeline
	Removal *removal.Remover
	Status  *status.Recorder
	GiveUp  time.Duration // age of a Job at which the provider's API is given up

	// API, if set, is asked for messages that have no record, and for media that a
	// webhook did not name.
	API *upstream.Client
	// Outgoing does the work of a message again that a client posted.
	Outgoing func(context.Context, *stream.Delivery, store.Message) error
}

// Handler handles Jobs about incoming messages.
type Handler struct{ Options }

// New returns a Handler.
func New(o Options) *Handler { return &Handler{o} }

// Handle handles Jobs of kind [stream.Inbound]: it takes a message from its webhook to
// stored media.
func (h *Handler) Handle(ctx context.Context, d *stream.Delivery) error {
	// 1. What does the webhook say?
	hook, err := webhook.ParseJob(d.Job)
	if err != nil {
		return err
	}
	// 2. The message's record, which the first delivery creates.
	m, err := h.record(ctx, d, hook)
	if err != nil {
		return err
	}
	// 3. A message that was deleted stays so. A repeat with other content changes
	// nothing and is reported.
	if !m.Deleted.IsZero() {
		zerolog.Ctx(ctx).Info().Msg("message was deleted; nothing is done")
		return h.Removal.ClearUp(ctx, m, feed.Conflict(m, hook.Fingerprint(), d.Queued, d.Attempt, nil))
	}
	if m.Fingerprint != hook.Fingerprint() {
		return h.reportConflict(ctx, d, hook, m)
	}
	// 4. The feed is told that it came.
	if m, err = h.Feed.Announce(ctx, m); err != nil {
		return err
	}
	// 5. Its media, side by side: each is stored, or given up.
	return h.Media.StoreAll(ctx, media.TryOf(d), m)
}

// record returns the Message record, which a first delivery most likely has to create
// and a later one to read.
func (h *Handler) record(ctx context.Context, d *stream.Delivery, hook webhook.Webhook) (store.Message, error) {
	if d.Attempt > 1 {
		m, err := h.Store.Message(ctx, hook.Account, hook.Message)
		if !errors.Is(err, store.ErrNotFound) {
			return m, err
		}
	}
	m, _, err := h.Store.CreateMessage(ctx, hook.Record(d.Queued))
	return m, err
}

// reportConflict announces a webhook that repeats a MessageSid with other content.
func (h *Handler) reportConflict(ctx context.Context, d *stream.Delivery, hook webhook.Webhook, first store.Message) error {
	differs := hook.Differences(first)
	zerolog.Ctx(ctx).Error().Strs("differs", differs).Msg("webhook repeats a MessageSid with other content; the first is kept")
	_, err := h.Feed.Announce(ctx, first, feed.Conflict(first, hook.Fingerprint(), d.Queued, d.Attempt, differs))
	return err
}

// Replay handles Jobs of kind [stream.Replay]: it does the work of a message again, from
// its record. Media that failed are tried again, what is stored is verified, and what
// was lost is fetched again.
func (h *Handler) Replay(ctx context.Context, d *stream.Delivery) error {
	// 1. The record; a message without one is made from what the provider knows of it.
	m, err := h.Store.Message(ctx, d.Account, d.Message)
	switch {
	case errors.Is(err, store.ErrNotFound) && h.API == nil:
		zerolog.Ctx(ctx).Error().Msg("message to be replayed is not known")
		return nil
	case errors.Is(err, store.ErrNotFound):
		m, err = h.recall(ctx, d)
	case err == nil && m.Deleted.IsZero() && m.Outgoing == nil && h.API != nil && d.AsksUpstream():
		m, err = h.complete(ctx, m)
	}
	if err != nil {
		return h.refused(ctx, d, err)
	}
	// 2. Nothing is done about a message that was deleted.
	if !m.Deleted.IsZero() {
		return h.Removal.ClearUp(ctx, m, feed.Failed(m, store.Failure{Job: d.Sequence}))
	}
	// 3. The rest of its way is that of its kind.
	if m.Outgoing != nil {
		return h.Outgoing(ctx, d, m)
	}
	if m, err = h.Feed.Announce(ctx, m); err != nil {
		return err
	}
	return h.Media.StoreAll(ctx, media.TryOf(d), m)
}
