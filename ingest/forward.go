package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/relay"
	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	// turnFirst and turnMost bound the delay before a Job is looked at again whose
	// turn has not come. It doubles, so that a Job waits at most about as long again
	// as it had to, and thousands behind an application that is down for hours do not
	// keep the workers from other Jobs.
	turnFirst = 500 * time.Millisecond
	turnMost  = time.Minute

	// replyHold is how long workers leave a webhook alone that the receiver posts
	// itself: the publish and the post, each as long as they may take, and a
	// little.
	replyHold = publishTimeout + 15*time.Second + 3*time.Second
)

// isHeld tells by a Job's id whether the receiver posts it itself where there are
// [Replies].
func isHeld(id string) bool { return strings.HasPrefix(id, "fwd:in:") }

// delayed is an error with a delay of its own before the Job's next delivery.
type delayed struct {
	after time.Duration
	err   error
}

func (e *delayed) Error() string { return e.err.Error() }
func (e *delayed) Unwrap() error { return e.err }

// errNotYet says that a Job waits for something that is no trouble.
var errNotYet = errors.New("it is not its turn yet")

// notYet gives d back for a short time, the longer the more often it was.
func notYet(d *stream.Delivery, why string) error {
	delay := min(turnFirst<<min(d.Attempt-1, 10), turnMost)
	delay = time.Duration(float64(delay) * (0.75 + rand.Float64()/2))
	return &delayed{delay, fmt.Errorf("%w: %s", errNotYet, why)}
}

// forwardJob is the Job that posts a webhook on. Those of one sender are posted in
// the order in which they came, and so are the callbacks of one message.
func forwardJob(s *store.Store, hook webhook) stream.Job {
	job := stream.Job{
		Kind: stream.Forward, Account: hook.account, Message: hook.message, Order: hook.message.String(),
		ID: "fwd:" + hook.jobID(), Data: []byte(hook.form.Encode()),
	}
	if hook.status == "" {
		job.Order = s.HashNumber(hook.from)
	}
	return job
}

// ForwardAgain is the Job that posts a webhook of m again that was given up, by its
// name in m.Forwards. Its id contains run. It is an error if the webhook is not
// kept.
func ForwardAgain(s *store.Store, m store.Message, what, run string) (stream.Job, error) {
	form := m.Forwards[what].Form
	if form == nil {
		form = m.Form
	}
	hook, err := parseWebhook(form)
	if err != nil {
		return stream.Job{}, fmt.Errorf("forward %s of %s again: %w", what, m.SID, err)
	}
	job := forwardJob(s, hook)
	job.Message, job.ID = m.SID, fmt.Sprintf("fwd:replay:%s:%s:%s:%s", m.Account, m.SID, what, run)
	return job, nil
}

// forwarded is the name of a webhook in [store.Message.Forwards].
func (h webhook) forwarded() string {
	if h.status == "" {
		return "received"
	}
	return h.status
}

// forward posts a webhook to the application that it is for, when its turn has
// come. An application that takes it just before this worker dies gets it twice,
// with the same idempotency token.
func (w *Worker) forward(ctx context.Context, d *stream.Delivery) outcome {
	hook, err := parseJob(d)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	if held := time.Until(d.Queued.Add(w.replyHold)); w.Reply && held > 0 && isHeld(d.ID) {
		return w.judge(ctx, d, &delayed{held, fmt.Errorf("%w: the receiver posts it", errNotYet)})
	}
	first, err := d.First(ctx)
	if err == nil && !first {
		err = notYet(d, "an earlier one of its sender or message waits")
	}
	if err != nil {
		return w.judge(ctx, d, err)
	}
	message, err := w.Store.Message(ctx, d.Account, d.Message)
	known := err == nil
	switch {
	case errors.Is(err, store.ErrNotFound) && hook.status == "":
		return w.judge(ctx, d, notYet(d, "the message is not recorded"))
	case errors.Is(err, store.ErrNotFound): // of a message that was sent elsewhere
	case err != nil:
		return w.judge(ctx, d, err)
	case !message.Deleted.IsZero():
		zerolog.Ctx(ctx).Info().Msg("message was deleted; nothing is posted")
		return outcome{}
	}
	if failure := message.Forwards[hook.forwarded()].Failure; failure != nil && failure.Job == d.Sequence {
		return w.judge(ctx, d, w.announceForward(ctx, message, hook, *failure))
	}
	return w.postForward(ctx, d, hook, message, known)
}

// postForward posts a webhook once and notes what came of it.
func (w *Worker) postForward(ctx context.Context, d *stream.Delivery, hook webhook, message store.Message, known bool) outcome {
	message.Account = d.Account // also of a message without a record
	target := w.application(message)
	if target == nil {
		zerolog.Ctx(ctx).Warn().Msg("nothing is set any more that it is to be posted to")
		return outcome{}
	}
	form, err := w.storedForm(ctx, d, hook, message)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	answer, err := w.Poster.Post(ctx, webhookTo(target, form, w.Accounts[d.Account], hook))
	trouble, ofApplication := errors.AsType[*relay.Error](err)
	switch {
	case err == nil:
		return w.judge(ctx, d, noteForwarded(ctx, w.Store, d.Account, d.Message, hook.forwarded(), answer.Status))
	case errors.Is(err, relay.ErrBusy):
		return w.judge(ctx, d, notYet(d, err.Error()))
	case !ofApplication:
		return w.judge(ctx, d, err)
	}
	if time.Since(d.Queued) >= w.GiveUp {
		return w.judge(ctx, d, w.failForward(ctx, d, hook, known, trouble))
	}
	tries, err := w.noteTry(ctx, d, hook, trouble)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	return w.judge(ctx, d, &delayed{backoff(tries, nil), trouble})
}

// webhookTo is what is posted for a webhook. Its idempotency token, written as
// Twilio's are, is made of what the webhook is, so that it never changes.
func webhookTo(target *url.URL, form url.Values, tokens []string, hook webhook) relay.Webhook {
	sum := sha256.Sum256([]byte(hook.jobID()))
	id := fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	token := ""
	if len(tokens) > 0 {
		token = tokens[0]
	}
	return relay.Webhook{URL: target, Form: form, Token: token, ID: id}
}

// application is where a message's webhooks are posted on: to whoever posted it to
// the API, or else to the account's application, nil if it has none. That is also
// where the callbacks of a Messaging Service would have gone.
func (w *Worker) application(message store.Message) *url.URL {
	callback := message.Form.Get("StatusCallback")
	switch {
	case message.Outgoing == nil, callback == "" && message.Form.Get("MessagingServiceSid") != "":
		return w.Forward[message.Account]
	case callback == "":
		return nil
	}
	target, err := url.Parse(callback)
	if err != nil { // it was checked when it was posted
		return nil
	}
	return target
}

// storedForm is a webhook's form with links to what is stored here in place of the
// media URLs. Those of media that were given up or deleted stay as they are, and the
// others are waited for.
func (w *Worker) storedForm(ctx context.Context, d *stream.Delivery, hook webhook, message store.Message) (url.Values, error) {
	if hook.status != "" || len(hook.media) == 0 || message.Fingerprint != hook.fingerprint() {
		return hook.form, nil // a repeat with other content has no media here
	}
	stored := make([]bool, len(hook.media))
	for i, ref := range hook.media {
		sid, _ := w.Store.Identify(d.Account, d.Message, i, ref.url, w.Upstream)
		if _, failed := message.Failures[sid]; failed {
			continue
		}
		record, err := w.Store.Media(ctx, d.Account, d.Message, sid)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, notYet(d, "its media are not stored")
		case err != nil:
			return nil, err
		}
		stored[i] = record.Deleted.IsZero()
	}
	return rewrite(w.Store, hook, w.Upstream, w.PublicURL, func(i int) bool { return stored[i] }), nil
}

// rewrite returns the form of a webhook with links to this origin in place of those
// media URLs that stored tells true for.
func rewrite(s *store.Store, hook webhook, upstream, origin *url.URL, stored func(i int) bool) url.Values {
	form := maps.Clone(hook.form)
	for i, ref := range hook.media {
		if !stored(i) {
			continue
		}
		sid, _ := s.Identify(hook.account, hook.message, i, ref.url, upstream)
		link := origin.JoinPath(rest.Prefix, "Accounts", hook.account.String(), "Messages", hook.message.String(), "Media", sid.String())
		form["MediaUrl"+strconv.Itoa(i)] = []string{link.String()}
	}
	return form
}

// noteForwarded notes in the message's record, if there is one, that an application
// took a webhook. A failure of an earlier Job is over then.
func noteForwarded(ctx context.Context, s *store.Store, account store.AccountSID, message store.MessageSID, what string, status int) error {
	return noteForward(ctx, s, account, message, what, func(m *store.Message, f *store.Forward) {
		if f.Failure != nil {
			m.Events = append(m.Events, f.Failure.Announced)
		}
		f.Attempts++
		f.Status, f.Date, f.Failure, f.Form = status, time.Now().UTC(), nil, nil
	})
}

// noteForward changes what a message's record says of a webhook. Without a record
// there is nothing to change. A message that was deleted is errDeleted.
func noteForward(ctx context.Context, s *store.Store, account store.AccountSID, message store.MessageSID, what string, change func(*store.Message, *store.Forward)) error {
	_, err := s.UpdateMessage(ctx, account, message, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return errDeleted
		}
		if m.Forwards == nil {
			m.Forwards = map[string]store.Forward{}
		}
		f := m.Forwards[what]
		change(m, &f)
		m.Forwards[what] = f
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// noteTry notes a try that came to nothing and returns how many there were. The
// deliveries in which it was not the Job's turn do not count where there is a record.
func (w *Worker) noteTry(ctx context.Context, d *stream.Delivery, hook webhook, trouble *relay.Error) (int, error) {
	tries := d.Attempt
	err := noteForward(ctx, w.Store, d.Account, d.Message, hook.forwarded(), func(_ *store.Message, f *store.Forward) {
		f.Attempts++
		f.Status, f.Date = trouble.Status, time.Now().UTC()
		tries = f.Attempts
	})
	return tries, err
}

// failForward records that a webhook was given up, with its form if that is kept
// nowhere else, and announces it.
func (w *Worker) failForward(ctx context.Context, d *stream.Delivery, hook webhook, known bool, trouble *relay.Error) error {
	failure := store.Failure{
		Reason: reasonForward, Detail: trouble.Error(), Status: trouble.Status, Attempts: d.Attempt, Job: d.Sequence, Date: time.Now().UTC(),
	}
	zerolog.Ctx(ctx).Error().Err(trouble).Str("forward", hook.forwarded()).Msg("webhook was not taken; it is given up")
	if !known {
		_, err := w.Streams.Publish(ctx, forwardFailedEvent(d.Account, d.Message, hook.forwarded(), failure))
		return err
	}
	err := noteForward(ctx, w.Store, d.Account, d.Message, hook.forwarded(), func(m *store.Message, f *store.Forward) {
		if f.Failure != nil && f.Failure.Job != failure.Job {
			m.Events = append(m.Events, f.Failure.Announced)
		}
		f.Attempts++
		failure.Attempts = f.Attempts
		f.Status, f.Date, f.Failure = trouble.Status, failure.Date, &failure
		if hook.status != "" {
			f.Form = hook.form
		}
	})
	if err != nil {
		return err
	}
	message, err := w.Store.Message(ctx, d.Account, d.Message)
	if err != nil {
		return err
	}
	return w.announceForward(ctx, message, hook, failure)
}

// announceForward publishes the failed event of a webhook that was given up, if it
// has none, and notes it in the message's record.
func (w *Worker) announceForward(ctx context.Context, message store.Message, hook webhook, failure store.Failure) error {
	if failure.Announced != 0 {
		return nil
	}
	sequence, err := w.Streams.Publish(ctx, forwardFailedEvent(message.Account, message.SID, hook.forwarded(), failure))
	if err != nil {
		return err
	}
	message, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		f := m.Forwards[hook.forwarded()]
		if f.Failure == nil || f.Failure.Job != failure.Job { // posted meanwhile, or given up by another Job
			m.Events = append(m.Events, sequence)
			return nil
		}
		f.Failure.Announced = sequence
		return nil
	})
	if err != nil {
		return err
	}
	return w.withdraw(ctx, message, sequence)
}
