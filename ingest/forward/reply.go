package forward

import (
	"cmp"
	"context"
	"time"

	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Replier posts inbound webhooks as soon as they are durable, so that an application's
// TwiML answers Twilio. Whatever goes wrong is left to the workers, who still have the
// Job. All fields up to Client are required.
type Replier struct {
	Applications
	Store   *store.Store
	Streams *stream.Streams
	Client  *Client

	Patience time.Duration // how long Twilio may wait for the answer; 10 s if 0
}

// Reply posts a webhook, if it is its turn, and takes its Job from the queue when the
// application has taken it. It calls write once: with the application's answer, or with
// the zero value if there is none in time. It returns when all is noted, and
// the end of ctx does not end it: the application is asked also if Twilio hangs up.
func (r *Replier) Reply(ctx context.Context, job stream.Job, write func(Answer)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postTimeout+noteTimeout)
	defer cancel()
	answered := make(chan Answer, 1)
	go func() { answered <- r.reply(ctx, job) }()
	timer := time.NewTimer(cmp.Or(r.Patience, replyPatience))
	defer timer.Stop()
	select {
	case answer := <-answered:
		write(answer)
	case <-timer.C:
		write(Answer{})
		<-answered // the server is not stopped before
	}
}

// reply posts the webhook and notes what came of it.
func (r *Replier) reply(ctx context.Context, job stream.Job) Answer {
	log := zerolog.Ctx(ctx).With().Stringer("accountSid", job.Account).Stringer("messageSid", job.Message).Logger()
	answer, sequence, err := r.postFirst(ctx, job)
	if err == nil && sequence != 0 {
		err = r.Streams.RemoveJob(ctx, sequence)
	}
	switch {
	case err != nil:
		log.Warn().Err(err).Msg("webhook is left to the workers")
		return answer
	case sequence == 0:
		log.Info().Msg("webhook is not posted yet: an earlier one of its sender waits")
		return answer
	}
	if err := noteTaken(ctx, r.Store, job, webhook.Webhook{}.Name(), answer.Status); err != nil {
		log.Warn().Err(err).Msg("webhook was taken, which is not noted in its message's record")
	}
	return answer
}

// postFirst posts the webhook of a Job if it is its turn, and returns the Job's sequence
// then.
func (r *Replier) postFirst(ctx context.Context, job stream.Job) (Answer, uint64, error) {
	sequence, err := r.Streams.First(ctx, job)
	if err != nil || sequence == 0 {
		return Answer{}, 0, err
	}
	hook, err := webhook.ParseJob(job)
	if err != nil {
		return Answer{}, 0, err
	}
	form := r.rewrite(hook.Form, r.Store.MediaOf(hook.Record(time.Time{})))
	answer, err := r.Client.Post(ctx, r.post(r.Targets[job.Account], form, hook, r.Store))
	return answer, sequence, err
}
