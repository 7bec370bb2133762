package ingest

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mmspipe/ingest/relay"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// replyPatience is how long an application may take to have its answer given to
// Twilio, which waits for 15 s in all (https://www.twilio.com/docs/api/errors/11205).
const replyPatience = 10 * time.Second

// Replies has inbound webhooks posted by the receiver as soon as they are durable,
// so that an application's TwiML answers Twilio. Webhooks whose turn it is not, and
// those that are not taken, are left to the workers, and so are status callbacks, in
// whose answers Twilio reads nothing. [Options].Reply is to be set then.
type Replies struct {
	Poster   *relay.Client
	Upstream *url.URL // by which media are named, as in [Options]
}

// answer answers a webhook that is queued.
func (rc *Receiver) answer(w http.ResponseWriter, r *http.Request, forward stream.Job) {
	if rc.Replies == nil || forward.ID == "" || !isHeld(forward.ID) {
		writeTwiML(w, "text/xml", []byte(emptyTwiML))
		return
	}
	// The application is asked also if Twilio hangs up.
	ctx, cancel := context.WithTimeout(rc.Log.WithContext(context.WithoutCancel(r.Context())), replyPost)
	defer cancel()
	answered := make(chan relay.Answer, 1)
	go func() { answered <- rc.reply(ctx, forward) }()
	timer := time.NewTimer(rc.patience)
	defer timer.Stop()
	select {
	case answer := <-answered:
		if answer.TwiML == nil {
			answer.TwiML, answer.ContentType = []byte(emptyTwiML), "text/xml"
		}
		writeTwiML(w, answer.ContentType, answer.TwiML)
	case <-timer.C:
		writeTwiML(w, "text/xml", []byte(emptyTwiML))
		_ = http.NewResponseController(w).Flush() // whoever has gone needs no answer
		<-answered                                // the server is not stopped before
	}
}

// replyPost bounds the post and what is noted of it, within which workers leave the
// webhook alone.
const replyPost = 17 * time.Second

func writeTwiML(w http.ResponseWriter, contentType string, twiML []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(twiML)))
	_, _ = w.Write(twiML)
}

// reply posts a webhook, if it is its turn, and takes its Job from the queue when
// the application has taken it. Whatever goes wrong is left to the workers, who
// still have the Job: the answer is the zero value then.
func (rc *Receiver) reply(ctx context.Context, job stream.Job) relay.Answer {
	log := zerolog.Ctx(ctx).With().Stringer("accountSid", job.Account).Stringer("messageSid", job.Message).Logger()
	sequence, err := rc.Streams.First(ctx, job)
	if sequence == 0 {
		log.Info().Err(err).Msg("webhook is not posted yet: an earlier one of its sender waits")
		return relay.Answer{}
	}
	hook, err := parseJob(&stream.Delivery{Job: job, Sequence: sequence})
	if err != nil {
		log.Error().Err(err).Msg("webhook is not posted yet")
		return relay.Answer{}
	}
	form := rewrite(rc.Store, hook, rc.Replies.Upstream, rc.PublicURL, func(int) bool { return true })
	answer, err := rc.Replies.Poster.Post(ctx, webhookTo(rc.Forward[job.Account], form, rc.Accounts[job.Account], hook))
	if err == nil {
		err = rc.Streams.RemoveJob(ctx, sequence)
	}
	if err != nil {
		log.Warn().Err(err).Msg("webhook is left to the workers")
		return answer
	}
	if err := noteForwarded(ctx, rc.Store, job.Account, job.Message, hook.forwarded(), answer.Status); err != nil {
		log.Warn().Err(err).Msg("webhook was taken, which is not noted in its message's record")
	}
	return answer
}
