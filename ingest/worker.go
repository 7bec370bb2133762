package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/relay"
	"mmspipe/ingest/upstream"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/link"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"
)

const (
	// jobDeadline ends a try: a message's media are fetched side by side, each
	// within two minutes, and fitted within seconds.
	jobDeadline = 10 * time.Minute

	// heartbeat keeps a Job in hand from being delivered again. It is a third
	// of the consumer's AckWait, so that two may be missed.
	heartbeat = 20 * time.Second

	// settleTimeout bounds the settling of a Job, which is done even when its own
	// time is over.
	settleTimeout = 10 * time.Second

	// holdPause is how long a worker that holds waits before it looks again.
	holdPause = 500 * time.Millisecond
)

// Options are what a [Worker] works with. All up to Log are required.
type Options struct {
	Store    *store.Store
	Streams  *stream.Streams
	Fetcher  *fetch.Fetcher
	Fitter   *resize.Fitter
	Profile  resize.Profile
	Accounts Accounts
	Upstream *url.URL
	Log      zerolog.Logger

	TempDir string        // where media are spooled; the system's if empty
	Jobs    int           // Jobs at once; 16 if 0
	GiveUp  time.Duration // age of a Job at which a medium or an application that is still to be had is given up; a day if 0
	Drain   time.Duration // time to finish the Jobs in hand when stopping; 20 s if 0

	// API, if set, is asked for messages to be replayed that have no record, and
	// for media that a webhook did not name.
	API *upstream.Client

	// PublicURL is the origin under which the media stored here are served, and
	// Links signs the links to them that a provider is given.
	PublicURL *url.URL
	Links     link.Signer
	// Forward is where each account's webhooks are posted on; nowhere if absent.
	Forward map[store.AccountSID]*url.URL
	// Poster posts them; one that reaches public addresses alone if nil.
	Poster *relay.Client
	// Reply says that the receiver posts inbound webhooks first; see [Replies].
	Reply bool
	// Relay says that outgoing messages that are ready are handed to the provider.
	Relay bool
	// Route chooses the profile of an outgoing message; Profile if nil.
	Route Route
	// FitCache keeps what was made of the pictures of outgoing messages, so that the
	// same picture is fitted once for many; nothing is kept if nil.
	FitCache *fetch.Cache

	// Hold, if set, tells that no Job is to be begun now.
	Hold func() bool
}

// Worker takes Jobs from the stream and does what they ask for.
type Worker struct {
	Options

	// pictures bounds how many pictures are in memory at once, whatever the
	// number of Jobs: fitting is bound by processors, fetching is not.
	pictures chan struct{}

	fits singleflight.Group // of outgoing messages, by fitName

	poison poison

	replyHold time.Duration // for which webhooks are left to the receiver if Reply is set
	settle    time.Duration // settleTime
}

// NewWorker returns a Worker that waits for [Worker.Run].
func NewWorker(o Options) *Worker {
	o.Jobs = cmp.Or(o.Jobs, 16)
	o.GiveUp = cmp.Or(o.GiveUp, 24*time.Hour)
	o.Drain = cmp.Or(o.Drain, 20*time.Second)
	if o.Poster == nil {
		o.Poster = relay.New(nil)
	}
	return &Worker{
		Options: o, pictures: make(chan struct{}, runtime.GOMAXPROCS(0)), poison: newPoison(), replyHold: replyHold, settle: settleTime,
	}
}

// Run takes Jobs until ctx ends. It returns when those in hand are finished or,
// after [Options].Drain, given back. Its goroutines have ended then.
func (w *Worker) Run(ctx context.Context) {
	// Jobs outlive ctx by the time to drain.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(w.Drain, func() { stop(errStopping) })
		context.AfterFunc(work, func() { timer.Stop() })
	})()

	var jobs sync.WaitGroup
	for range w.Jobs {
		jobs.Go(func() { w.pull(ctx, work) })
	}
	jobs.Wait()
}

// pull takes one Job after another.
func (w *Worker) pull(ctx, work context.Context) {
	for ctx.Err() == nil {
		if w.Hold != nil && w.Hold() {
			pause(ctx, holdPause)
			continue
		}
		delivery, err := w.Streams.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.Log.Error().Err(err).Msg("job not taken")
			}
			continue
		}
		w.do(work, delivery)
	}
}

// pause waits for a time, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// do tries one Job and settles it.
func (w *Worker) do(work context.Context, d *stream.Delivery) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(work, jobDeadline)
	defer cancel()
	log := w.Log.With().Str("kind", string(d.Kind)).Stringer("accountSid", d.Account).Stringer("messageSid", d.Message).
		Int("attempt", d.Attempt).Logger()
	ctx = log.WithContext(ctx)

	stop := beat(ctx, d)
	result := w.work(ctx, d)
	stop()

	log = log.With().Dur("ms", time.Since(start)).Logger()
	if err := settle(work, d, result); err != nil {
		log.Error().Err(err).Msg("job not settled; it will be delivered again")
		return
	}
	w.poison.settled(d)
	switch result.verb {
	case retry:
		line := log.Warn()
		if errors.Is(result.err, errNotYet) {
			line = log.Debug()
		}
		line.Err(result.err).Msg("job delayed")
	case handBack:
		log.Info().Msg("job handed back")
	default:
		log.Info().Msg("job done")
	}
}

// settle tells the stream what becomes of the Job. Every failure has been
// recorded where it happened, so that failed is an Ack here like done.
func settle(work context.Context, d *stream.Delivery, result outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), settleTimeout)
	defer cancel()
	switch result.verb {
	case retry:
		return d.Nak(ctx, backoff(d.Attempt, result.err))
	case handBack:
		return d.Nak(ctx, 0)
	}
	return d.Ack(ctx)
}

// beat says InProgress for d until the returned function is called.
func beat(ctx context.Context, d *stream.Delivery) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := d.InProgress(); err != nil {
					zerolog.Ctx(ctx).Warn().Err(err).Msg("job may be delivered to another worker")
				}
			}
		}
	})
	return func() { cancel(); beating.Wait() }
}

// work does what the Job asks for. Doing it again is harmless.
func (w *Worker) work(ctx context.Context, d *stream.Delivery) outcome {
	switch d.Kind {
	case stream.Inbound:
		return w.inbound(ctx, d)
	case stream.Outbound:
		return w.outbound(ctx, d)
	case stream.Status:
		return w.status(ctx, d)
	case stream.Replay:
		return w.replay(ctx, d)
	case stream.Forward:
		return w.forward(ctx, d)
	case stream.Delete:
		return w.judge(ctx, d, w.delete(ctx, d))
	}
	// A newer version queued it; its workers know what to do.
	return w.judge(ctx, d, fmt.Errorf("job of unknown kind %q", d.Kind))
}

// inbound takes an inbound message from its webhook to stored media.
func (w *Worker) inbound(ctx context.Context, d *stream.Delivery) outcome {
	hook, err := parseJob(d)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	message, err := w.receive(ctx, d, hook)
	if errors.Is(err, errConflict) {
		return w.judge(ctx, d, w.reportConflict(ctx, d, hook, message))
	}
	if errors.Is(err, errDeleted) {
		return w.judge(ctx, d, w.clear(ctx, d))
	}
	if err != nil {
		return w.judge(ctx, d, err)
	}
	return w.media(ctx, d, hook, message)
}

// clear removes what an earlier try may have stored while its message was deleted.
func (w *Worker) clear(ctx context.Context, d *stream.Delivery) error {
	zerolog.Ctx(ctx).Info().Msg("message was deleted; nothing is done")
	return w.Store.DeleteAllBlobs(ctx, d.Account, d.Message)
}

// media takes the media of a message side by side.
func (w *Worker) media(ctx context.Context, d *stream.Delivery, hook webhook, message store.Message) outcome {
	results := make([]outcome, len(hook.media))
	var media sync.WaitGroup
	for i := range hook.media {
		media.Go(func() { results[i] = w.medium(ctx, d, hook, message, i) })
	}
	media.Wait()
	return worst(results)
}

// parseJob reads the webhook out of its Job. The receiver has parsed it before,
// so an error means another version of this program; the Job is kept for it.
func parseJob(d *stream.Delivery) (webhook, error) {
	form, err := url.ParseQuery(string(d.Data))
	if err != nil {
		return webhook{}, fmt.Errorf("parse job %d: %w", d.Sequence, err)
	}
	hook, err := parseWebhook(form)
	if err != nil {
		return webhook{}, fmt.Errorf("parse job %d: %w", d.Sequence, err)
	}
	return hook, nil
}

// errConflict says that a MessageSid is known with other content.
var errConflict = errors.New("the message is known with other content")

// receive makes sure of the Message record and of its event. With errConflict
// it returns the record that was there first.
func (w *Worker) receive(ctx context.Context, d *stream.Delivery, hook webhook) (store.Message, error) {
	message, err := w.record(ctx, d, hook)
	if err != nil {
		return message, err
	}
	if !message.Deleted.IsZero() {
		return message, errDeleted
	}
	if message.Fingerprint != hook.fingerprint() {
		return message, errConflict
	}
	return w.announceMessage(ctx, message)
}

// announceMessage publishes the received event of a message that has none, and
// notes it in the record.
func (w *Worker) announceMessage(ctx context.Context, message store.Message) (store.Message, error) {
	if message.Announced != 0 {
		return message, nil
	}
	sequence, err := w.Streams.Publish(ctx, receivedEvent(message, w.Store.HashNumber))
	if err != nil {
		return message, err
	}
	zerolog.Ctx(ctx).Debug().Int("media", message.NumMedia).Msg("received")
	message, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		m.Announced = sequence
		return nil
	})
	if err == nil {
		err = w.withdraw(ctx, message, sequence)
	}
	return message, err
}

// withdraw takes an event out of the feed again whose message was deleted just
// before its record was to name the event: who deleted it did not know of it.
func (w *Worker) withdraw(ctx context.Context, message store.Message, sequence uint64) error {
	if message.Deleted.IsZero() {
		return nil
	}
	_, err := w.Streams.RemoveEvent(ctx, sequence, message.SID)
	return errors.Join(err, errDeleted)
}

// record returns the Message record, which a first delivery most likely has to
// create and a later one to read.
func (w *Worker) record(ctx context.Context, d *stream.Delivery, hook webhook) (store.Message, error) {
	if d.Attempt > 1 {
		message, err := w.Store.Message(ctx, hook.account, hook.message)
		if !errors.Is(err, store.ErrNotFound) {
			return message, err
		}
	}
	message, _, err := w.Store.CreateMessage(ctx, store.Message{
		Account: hook.account, SID: hook.message, Direction: store.Inbound, Status: "received",
		From: hook.from, To: hook.to, Body: hook.body, NumMedia: len(hook.media),
		Form: hook.form, Fingerprint: hook.fingerprint(),
		DateCreated: d.Queued, DateUpdated: d.Queued,
	})
	return message, err
}

// reportConflict announces a webhook that repeats a MessageSid with other
// content. The first one stays as it is.
func (w *Worker) reportConflict(ctx context.Context, d *stream.Delivery, hook webhook, first store.Message) error {
	differs := hook.differences(first)
	zerolog.Ctx(ctx).Error().Strs("differs", differs).Msg("webhook repeats a MessageSid with other content; the first is kept")
	return w.announceNoted(ctx, first, conflictEvent(hook, d, differs))
}

// announceNoted publishes an event and notes it in the message's record, so that
// it can be found when the message is to be erased.
func (w *Worker) announceNoted(ctx context.Context, m store.Message, e stream.Event) error {
	sequence, err := w.Streams.Publish(ctx, e)
	if err != nil {
		return err
	}
	m, err = w.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if slices.Contains(m.Events, sequence) {
			return errUnchanged
		}
		m.Events = append(m.Events, sequence)
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.withdraw(ctx, m, sequence)
}
