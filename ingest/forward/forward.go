// Package forward posts webhooks on to applications, signed as Twilio signs.
//
// # Order
//
// Webhooks of one sender are posted in the order in which they were queued, and so are
// the status callbacks of one message. One that is not taken holds up those behind it,
// and nobody else's.
//
// # At least once
//
// Any answer 2xx takes a webhook. Everything else is tried again until the Job is too
// old; then it is a failure in the message's record and in the feed. An application that
// takes a webhook just before this process dies gets it twice, with the same
// idempotency token.
//
// # Who posts
//
// Workers do, through [Handler]. Where an application's answer is to reach Twilio, the
// receiver posts an inbound webhook first, through [Replier], and workers leave it alone
// until that must have ended.
package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// How long the parts of a webhook's way may take. Together they say how long workers
// leave a webhook alone that the receiver posts itself.
const (
	// QueueTimeout is how long a webhook waits for the queue. Twilio gives up after
	// 15 s in all (error 11205), so that five retries after 503 still fit.
	QueueTimeout = 2 * time.Second

	// postTimeout is that of one post in all, Twilio's own
	// (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
	postTimeout = 15 * time.Second

	// noteTimeout is how long the receiver may take to note what came of a post.
	noteTimeout = 2 * time.Second

	// ReplyHold is all of that and a little.
	ReplyHold = QueueTimeout + postTimeout + noteTimeout + time.Second

	// replyPatience is how long an application may take to have its answer given to
	// Twilio, which waits for 15 s in all (https://www.twilio.com/docs/api/errors/11205).
	replyPatience = 10 * time.Second
)

// Applications says where webhooks go.
type Applications struct {
	Accounts  ingest.Accounts // whose first tokens sign
	Targets   map[store.AccountSID]*url.URL
	PublicURL *url.URL // under which the media stored here are served
}

// Of is where the webhooks of a message are posted on: to whoever posted it to the
// API, or else to the account's application, nil if it has none. That is also where the
// callbacks of a Messaging Service would have gone. A message whose client wants to be
// called back at this service itself has none.
func (a Applications) Of(m store.Message) *url.URL {
	callback := m.Form.Get("StatusCallback")
	switch {
	case m.Outgoing == nil, callback == "" && m.Form.Get("MessagingServiceSid") != "":
		return a.Targets[m.Account]
	case callback == "":
		return nil
	}
	target, err := url.Parse(callback)
	if err != nil || rest.LeadsTo(a.PublicURL, target) { // it was checked when it was posted
		return nil
	}
	return target
}

// Job is the Job that posts a webhook on which a job of its own was queued for. Those of
// one sender have one order, and so have the callbacks of one message. With reply the
// receiver posts it first, unless it is a status callback: Twilio reads nothing in the
// answers to these.
func Job(s *store.Store, hook webhook.Webhook, reply bool) stream.Job {
	return stream.NewForward(hook.Job(s), reply && hook.Status == "")
}

// Again is the Job that posts a webhook of m again that was given up, by its name in
// m.Forwards. The run makes its id. It is an error if the webhook is not kept.
func Again(s *store.Store, m store.Message, name, run string) (stream.Job, error) {
	form := m.Forwards[name].Form
	if form == nil {
		form = m.Form
	}
	hook, err := webhook.Parse(form)
	if err != nil {
		return stream.Job{}, fmt.Errorf("forward %s of %s again: %w", name, m.SID, err)
	}
	order := m.SID.String()
	if hook.Status == "" {
		order = s.HashNumber(hook.From)
	}
	return stream.NewForwardAgain(m.Account, m.SID, name, order, run, form), nil
}

// Options are what a [Handler] works with. All up to GiveUp are required.
type Options struct {
	Applications
	Store  *store.Store
	Feed   *feed.Feed
	Client *Client
	GiveUp time.Duration // age of a Job at which an application is given up

	// Hold is how long workers leave a webhook alone that the receiver posts itself:
	// [ReplyHold] where there is a [Replier].
	Hold time.Duration
}

// Handler handles Jobs of kind [stream.Forward].
type Handler struct{ Options }

// New returns a Handler.
func New(o Options) *Handler { return &Handler{o} }

// Handle posts a webhook to its application.
func (h *Handler) Handle(ctx context.Context, d *stream.Delivery) error {
	hook, err := webhook.ParseJob(d.Job)
	if err != nil {
		return err
	}
	// 1. Wait for its turn: behind the receiver, and behind earlier ones of its order.
	if held := time.Until(d.Queued.Add(h.Hold)); held > 0 && d.Reply() {
		return &ingest.Later{Delay: held, Err: errors.New("the receiver posts it")}
	}
	first, err := d.First(ctx)
	if err != nil {
		return err
	}
	if !first {
		return ingest.NotYet("an earlier one of its sender or message waits")
	}
	// 2. Nothing of a message that was deleted is posted. One that was sent elsewhere
	// may have no record.
	m, err := h.Store.Message(ctx, d.Account, d.Message)
	switch {
	case errors.Is(err, store.ErrNotFound) && hook.Status == "":
		return ingest.NotYet("the message is not recorded")
	case errors.Is(err, store.ErrNotFound):
		m = store.Message{Account: d.Account, SID: d.Message}
	case err != nil:
		return err
	case !m.Deleted.IsZero():
		return store.ErrDeleted
	}
	// 3. What an earlier try has given up is only announced.
	if failure := m.Forwards[hook.Name()].Failure; failure != nil && failure.Job == d.Sequence {
		_, err := h.Feed.Announce(ctx, m)
		return err
	}
	target := h.Of(m)
	if target == nil {
		zerolog.Ctx(ctx).Warn().Msg("no application is set any more that the webhook could be posted to")
		return nil
	}
	// 4. Post it, once its media are stored or given up, and note what came of it.
	form, err := h.storedForm(ctx, hook, m)
	if err != nil {
		return err
	}
	answer, err := h.Client.Post(ctx, h.post(target, form, hook, h.Store))
	if err == nil {
		return noteTaken(ctx, h.Store, d.Job, hook.Name(), answer.Status)
	}
	return h.refused(ctx, d, hook, m, err)
}

// refused deals with a post that was not taken.
func (h *Handler) refused(ctx context.Context, d *stream.Delivery, hook webhook.Webhook, m store.Message, err error) error {
	trouble, ofApplication := errors.AsType[*Error](err)
	switch {
	case errors.Is(err, ErrBusy):
		return ingest.NotYet(err.Error())
	case !ofApplication:
		return err
	case time.Since(d.Queued) >= h.GiveUp:
		return h.giveUp(ctx, d, hook, m, trouble)
	}
	tries, err := noteTry(ctx, h.Store, d, hook.Name(), trouble)
	if err != nil {
		return err
	}
	return &ingest.Later{Delay: ingest.RetryDelay(tries, nil), Err: trouble}
}

// giveUp records that a webhook was not taken, with its form if that is kept nowhere
// else, and announces it. Without a record it is announced alone.
func (h *Handler) giveUp(ctx context.Context, d *stream.Delivery, hook webhook.Webhook, m store.Message, trouble *Error) error {
	zerolog.Ctx(ctx).Error().Err(trouble).Str("forward", hook.Name()).Msg("webhook was not taken; it is given up")
	failure := store.Failure{
		Reason: store.ReasonForward, Detail: trouble.Error(), Status: trouble.Status, Attempts: d.Attempt, Job: d.Sequence, Date: time.Now().UTC(),
	}
	recorded, err := noteFailure(ctx, h.Store, d.Job, hook, failure)
	switch {
	case errors.Is(err, store.ErrNotFound):
		_, err = h.Feed.Announce(ctx, m, feed.ForwardFailed(m, hook.Name(), failure))
	case err == nil:
		_, err = h.Feed.Announce(ctx, recorded)
	}
	return err
}

// post is what is posted for a webhook. Its idempotency token is made of what the
// webhook is, so that it never changes.
func (a Applications) post(target *url.URL, form url.Values, hook webhook.Webhook, s *store.Store) Post {
	token := ""
	if tokens := a.Accounts[hook.Account]; len(tokens) > 0 {
		token = tokens[0]
	}
	return Post{URL: target, Form: form, Token: token, ID: hook.Job(s).Token()}
}

// storedForm is a webhook's form with links to what is stored here in place of the
// media URLs. Those of media that were given up or deleted stay as they are, and the
// others are waited for.
func (h *Handler) storedForm(ctx context.Context, hook webhook.Webhook, m store.Message) (url.Values, error) {
	if hook.Status != "" || hook.NumMedia == 0 || m.Fingerprint != hook.Fingerprint() {
		return hook.Form, nil // a repeat with other content has no media here
	}
	var stored []store.MediaRef
	for _, ref := range h.Store.MediaOf(hook.Record(time.Time{})) {
		if _, failed := m.Failures[ref.Media]; failed {
			continue
		}
		record, err := h.Store.Media(ctx, ref.MediaKey)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, ingest.NotYet("its media are not stored")
		case err != nil:
			return nil, err
		case record.Deleted.IsZero():
			stored = append(stored, ref)
		}
	}
	return h.rewrite(hook.Form, stored), nil
}

// rewrite returns the form of a webhook with links to this origin in place of the URLs
// of stored media.
func (a Applications) rewrite(form url.Values, stored []store.MediaRef) url.Values {
	form = maps.Clone(form)
	for _, ref := range stored {
		link := a.PublicURL.JoinPath(rest.Prefix, "Accounts", ref.Account.String(), "Messages", ref.Message.String(), "Media", ref.Media.String())
		form["MediaUrl"+strconv.Itoa(ref.Index)] = []string{link.String()}
	}
	return form
}
