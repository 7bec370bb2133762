// Package outbound takes outgoing messages from what a client posted to the provider.
//
// # At most once
//
// A message is posted to the provider at most once; see [Sender]. What keeps it from
// leaving becomes its failure, with one of Twilio's codes, which its client is told.
//
// # When it leaves
//
// A message with a SendAt is prepared at once, and its Job waits in the queue until then:
// over restarts, and without asking the provider. What its client does to it meanwhile, to
// cancel or delete it, is decided by its record alone.
//
// # What leaves
//
// The media are fetched and stored first. Their pictures share the bytes that the
// profile leaves, and a message is ready when the last of its media is stored.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/outbound/route"
	"mmspipe/ingest/removal"
	"mmspipe/ingest/status"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Options are what a [Handler] works with. All up to Route are required.
type Options struct {
	Store    *store.Store
	Feed     *feed.Feed
	Preparer *Preparer
	Links    Links
	Status   *status.Recorder
	Removal  *removal.Remover
	Route    route.Func // chooses the profile of a message

	// Sender, if set, hands messages that are ready to the provider.
	Sender *Sender
	// Elsewhere takes the status callbacks of messages that no client posted here.
	Elsewhere func(context.Context, *stream.Delivery, webhook.Webhook, store.Message) error
}

// Handler handles Jobs about outgoing messages.
type Handler struct{ Options }

// New returns a Handler.
func New(o Options) *Handler { return &Handler{o} }

// Handle handles Jobs of kind [stream.Outbound].
func (h *Handler) Handle(ctx context.Context, d *stream.Delivery) error {
	m, err := h.posted(ctx, d)
	if err != nil {
		return err
	}
	m, err = h.advance(ctx, d, m)
	return h.conclude(ctx, d, m, err)
}

// Replay does the work of a message again that a client posted.
func (h *Handler) Replay(ctx context.Context, d *stream.Delivery, m store.Message) error {
	var err error
	if d.Cancels() {
		return h.conclude(ctx, d, m, h.cancel(ctx, m))
	}
	if d.SendsAgain() {
		m, err = h.sendAgain(ctx, d, m)
	}
	if err == nil {
		m, err = h.advance(ctx, d, m)
	}
	return h.conclude(ctx, d, m, err)
}

// posted makes sure of the record of a message that a client posted, and reads it.
func (h *Handler) posted(ctx context.Context, d *stream.Delivery) (store.Message, error) {
	m, err := h.Store.Message(ctx, d.Account, d.Message)
	if errors.Is(err, store.ErrNotFound) {
		form, wrong := d.Form()
		if wrong != nil {
			return m, wrong
		}
		m, _, err = h.Store.CreateMessage(ctx, store.NewOutgoing(d.Account, d.Message, form, d.Queued))
	}
	switch {
	case err != nil:
		return m, err
	case !m.Deleted.IsZero():
		return m, h.Removal.ClearUp(ctx, m)
	case m.Outgoing == nil:
		return m, fmt.Errorf("job %d: message %s is not one that a client posted", d.Sequence, m.SID)
	}
	return m, nil
}

// advance takes a message on from where its record says it is, and returns it as far as
// it got. What keeps it from leaving is an *[unsendable].
func (h *Handler) advance(ctx context.Context, d *stream.Delivery, m store.Message) (store.Message, error) {
	// 1. The feed is told what the record says.
	m, err := h.Feed.Announce(ctx, m)
	if err != nil {
		return m, err
	}
	// 2. A message that has come to an end is only looked after.
	if failure := m.Outgoing.Failure; failure != nil && failure.Job == d.Sequence {
		return m, h.tellFailure(ctx, m)
	}
	if m.Final() {
		return m, h.repair(ctx, d, m)
	}
	// 3. Its media are fetched, fitted and stored, and announced as ready when it is time.
	if m.Outgoing.Ready == 0 || d.Kind == stream.Replay {
		if m, err = h.route(ctx, m); err != nil {
			return m, err
		}
		if err := h.Preparer.Prepare(ctx, d, m); err != nil {
			return m, err
		}
		if time.Now().Before(m.SendAt()) {
			return m, waitFor(d, m)
		}
		if m, err = h.release(ctx, m); err != nil || m.Final() {
			return m, err
		}
		if m, err = h.ready(ctx, d, m); err != nil {
			return m, err
		}
	}
	// 4. It is handed to the provider. A Job that only verifies sends nothing: another
	// sender may have, where relaying was off when the message became ready.
	if h.Sender == nil || d.Kind != stream.Outbound && !d.SendsAgain() {
		return m, nil
	}
	return m, h.Sender.Send(ctx, d, m)
}

// route makes sure that the profile of a message with media is chosen. Once it is, it
// stays, whatever the rules become.
func (h *Handler) route(ctx context.Context, m store.Message) (store.Message, error) {
	if m.Outgoing.Profile != "" || m.NumMedia == 0 {
		return m, nil
	}
	profile := h.Route(m.To, m.From)
	return h.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return store.ErrDeleted
		}
		if m.Outgoing.Profile == "" {
			m.Outgoing.Profile = profile.Name
		}
		return nil
	})
}

// ready announces that all media of a message can be had.
func (h *Handler) ready(ctx context.Context, d *stream.Delivery, m store.Message) (store.Message, error) {
	if m.Outgoing.Ready != 0 {
		return m, nil
	}
	media, err := h.Links.Of(ctx, m)
	if err != nil {
		return m, err
	}
	m, err = h.Feed.Announce(ctx, m, feed.Ready(m, dueSince(d, m), media, h.Sender != nil))
	if err == nil {
		zerolog.Ctx(ctx).Info().Str("profile", m.Outgoing.Profile).Int("media", len(media)).Msg("ready")
	}
	return m, err
}

// repair makes damaged media of a message again that has come to an end. Whatever keeps
// it from that is not the message's failure any more.
func (h *Handler) repair(ctx context.Context, d *stream.Delivery, m store.Message) error {
	if d.Kind != stream.Replay || m.Outgoing.Ready == 0 {
		return nil
	}
	err := h.Preparer.Prepare(ctx, d, m)
	if _, ends := errors.AsType[*unsendable](err); ends {
		zerolog.Ctx(ctx).Error().Err(err).Msg("media of a message that has left could not be made again")
		return nil
	}
	return err
}

// conclude ends a try, which has taken m as far as that. What keeps the message from leaving becomes its failure; of one
// that was deleted nothing stays.
func (h *Handler) conclude(ctx context.Context, d *stream.Delivery, m store.Message, err error) error {
	if why, ends := errors.AsType[*unsendable](err); ends && ctx.Err() == nil {
		err = h.fail(ctx, d, m, why)
	}
	if !errors.Is(err, store.ErrDeleted) {
		return err
	}
	if m, err = h.Store.Message(ctx, d.Account, d.Message); err != nil {
		return err
	}
	return h.Removal.ClearUp(ctx, m)
}

// HandleStatus handles Jobs of kind [stream.Status].
func (h *Handler) HandleStatus(ctx context.Context, d *stream.Delivery) error {
	// 1. What does the callback say, and about which message here?
	hook, err := webhook.ParseJob(d.Job)
	if err != nil {
		return err
	}
	about, err := h.about(ctx, d, hook)
	if err != nil {
		return err
	}
	m, err := h.Store.Message(ctx, d.Account, about)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	known := err == nil
	if known && !m.Deleted.IsZero() { // it waits for nothing, also if an erasure took its Job from the queue
		return h.Removal.ClearUp(ctx, m, feed.Status(m, hook.Status, "", d.Queued))
	}
	// 2. Wait for the callbacks of the message that came before.
	first, err := d.First(ctx)
	switch {
	case err != nil:
		return err
	case !first:
		return ingest.NotYet("an earlier status of the message waits")
	case !known && about != hook.Message:
		return nil // it was named by a callback's URL, and never posted here
	case about == hook.Message && m.Outgoing == nil:
		return h.Elsewhere(ctx, d, hook, m)
	case m.Outgoing == nil:
		return fmt.Errorf("status callback of %s: message %s is not one that a client posted", hook.Message, about)
	}
	// 3. A callback under the provider's SID tells that SID, should it not be known:
	// the URL that names the message was given to the provider with it, and is signed.
	if about != hook.Message {
		if hook, err = h.adopt(ctx, m, hook); err != nil {
			return err
		}
	}
	// 4. The status is noted, announced, and passed on.
	return h.Status.Record(ctx, m, hook, d.Queued)
}

// about is the message here that a status callback is about: the one that its URL
// named, or the one that the provider's message is known to be.
func (h *Handler) about(ctx context.Context, d *stream.Delivery, hook webhook.Webhook) (store.MessageSID, error) {
	if d.Message != hook.Message {
		return d.Message, nil
	}
	owner, err := h.Store.Claimed(ctx, d.Account, hook.Message)
	if errors.Is(err, store.ErrNotFound) {
		return hook.Message, nil
	}
	return owner, err
}

// adopt notes the provider's SID of a message, and returns the callback with the
// message's own.
func (h *Handler) adopt(ctx context.Context, m store.Message, hook webhook.Webhook) (webhook.Webhook, error) {
	if m.Outgoing.Upstream.IsZero() {
		err := noteSent(ctx, h.Store, h.Feed, m, hook.Message, "")
		if errors.Is(err, errClaimed) { // its status is told all the same
			zerolog.Ctx(ctx).Error().Err(err).Msg("two messages that are alike were taken for each other")
		} else if err != nil {
			return hook, err
		}
	}
	form := maps.Clone(hook.Form)
	for _, name := range []string{"MessageSid", "SmsSid", "SmsMessageSid"} {
		if form.Has(name) {
			form.Set(name, m.SID.String())
		}
	}
	return webhook.Parse(form)
}
