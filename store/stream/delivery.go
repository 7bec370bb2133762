package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mmspipe/store"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PublishJob queues a Job and returns when the server has acknowledged it. It
// tells whether the Job was queued before. After an error, also of ctx, the Job
// may be queued or not: publishing it again is safe. Calls at the same time
// share the server's syncs where [Options].BatchFrom is set.
func (s *Streams) PublishJob(ctx context.Context, job Job) (duplicate bool, err error) {
	ack, err := s.committer.publish(ctx, job.encode())
	s.silentJobs.note(err)
	if err != nil {
		return false, fmt.Errorf("publish %s job of %s: %w", job.Kind, job.Message, err)
	}
	return ack.Duplicate, nil
}

// Delivery is a Job in hand. It must be settled once, by Ack or Nak; if it is
// not, or [AckWait] passes without InProgress, it is delivered again.
type Delivery struct {
	Job
	Sequence uint64    // in the stream
	Attempt  int       // 1 at the first delivery
	Queued   time.Time // when the Job was published

	// Abandoned says that the try before this one was not settled here: the process
	// that had the Job may have died of it. It is also set where this process does
	// not know.
	Abandoned bool

	streams *Streams
	msg     jetstream.Msg
}

// First tells whether no Job of the same kind, account and order that was published
// earlier is still in the queue, and the Job itself is. Those that are not first are
// to be given back with a short delay. A Job without an order is first.
func (d *Delivery) First(ctx context.Context) (bool, error) {
	if d.order == "" {
		return true, nil
	}
	msg, err := firstOf(ctx, d.streams.jobs, d.Job)
	return msg != nil && msg.Sequence == d.Sequence, err
}

// First returns the sequence of a Job that was published if no other of the same
// kind, account and order is in the queue before it, and 0 otherwise.
func (s *Streams) First(ctx context.Context, job Job) (uint64, error) {
	msg, err := firstOf(ctx, s.jobs, job)
	if err != nil || msg == nil || msg.Header.Get(nats.MsgIdHdr) != job.id {
		return 0, err
	}
	return msg.Sequence, nil
}

// firstOf returns the oldest message in job's order, nil if there is none.
func firstOf(ctx context.Context, jobs jetstream.Stream, job Job) (*jetstream.RawStreamMsg, error) {
	subject := fmt.Sprintf("mms.job.%s.%s.*.%s", job.Kind, job.Account, job.order)
	msg, err := jobs.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject)) // or the next
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for jobs before %s: %w", job.Message, err)
	}
	return msg, nil
}

// Queued tells whether a Job that brings media of a message is in the queue, in hand or
// not.
func (s *Streams) Queued(ctx context.Context, account store.AccountSID, message store.MessageSID) (bool, error) {
	for _, subject := range []string{
		fmt.Sprintf("mms.job.*.%s.%s", account, message), // without an order
		fmt.Sprintf("mms.job.%s.%s.%s.*", Inbound, account, message),
		fmt.Sprintf("mms.job.%s.%s.%s.*", Status, account, message),
	} {
		_, err := s.jobs.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject)) // or the next
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, fmt.Errorf("look for jobs of %s: %w", message, err)
		}
	}
	return false, nil
}

// Ack removes the Job from the queue. It waits for the server's word.
func (d *Delivery) Ack(ctx context.Context) error {
	if err := d.msg.DoubleAck(ctx); err != nil {
		return fmt.Errorf("ack job %d: %w", d.Sequence, err)
	}
	return nil
}

// Nak gives the Job back, to be delivered again after delay. It waits for the
// server's word, like Ack: a Job that is given back when the program stops would
// otherwise wait out its AckWait. The protocol is NATS's own, of which the client
// has no call that waits (ADR-15 of nats-architecture-and-design).
func (d *Delivery) Nak(ctx context.Context, delay time.Duration) error {
	// Without a delay the server would forget the Nak when it restarts.
	nak := fmt.Sprintf(`-NAK {"delay":%d}`, max(delay, time.Millisecond).Nanoseconds())
	if _, err := d.streams.conn.RequestWithContext(ctx, d.msg.Reply(), []byte(nak)); err != nil {
		return fmt.Errorf("nak job %d: %w", d.Sequence, err)
	}
	d.streams.tries.settled(d)
	return nil
}

// InProgress says that the Job is still being worked on.
func (d *Delivery) InProgress() error {
	if err := d.msg.InProgress(); err != nil {
		return fmt.Errorf("hold job %d: %w", d.Sequence, err)
	}
	return nil
}

const (
	// pullWait is how long one request for a Job waits at the server, and so how
	// long Next may take to notice that its context has ended. A request is never
	// cut short: the server might have answered it already.
	pullWait = time.Second

	// pullPause keeps callers from asking in a tight loop while something is
	// wrong.
	pullPause = time.Second
)

// Next waits for a Job. Each caller asks for one, so that none waits in a buffer
// while its time runs. Trouble with the connection is waited out; other trouble,
// such as a Job that cannot be read, is returned, and the caller may ask again.
// When ctx ends, so does Next, within a second; a Job that came meanwhile is
// given back.
func (s *Streams) Next(ctx context.Context) (*Delivery, error) {
	for ctx.Err() == nil {
		msg, err := s.pull()
		if err == nil && msg == nil {
			continue
		}
		if err == nil {
			return s.deliver(ctx, msg)
		}
		if errors.Is(err, nats.ErrConnectionClosed) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pullPause):
		}
		if s.conn.IsConnected() {
			return nil, fmt.Errorf("pull job: %w", err)
		}
	}
	return nil, ctx.Err()
}

// pull asks for one message; there may be none.
func (s *Streams) pull() (jetstream.Msg, error) {
	batch, err := s.worker.Fetch(1, jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return nil, err
	}
	msg := <-batch.Messages()
	if msg != nil {
		return msg, nil
	}
	return nil, batch.Error()
}

// deliver makes a Delivery of a message. What no version of this program can
// have published is taken off the queue.
func (s *Streams) deliver(ctx context.Context, msg jetstream.Msg) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	job, err := decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("job %d is dropped: %w", meta.Sequence.Stream, err), msg.TermWithReason("malformed subject"))
	}
	d := &Delivery{Job: job, Sequence: meta.Sequence.Stream, Attempt: int(meta.NumDelivered), Queued: meta.Timestamp.UTC(), streams: s, msg: msg}
	d.Abandoned = s.tries.abandoned(d)
	if ctx.Err() != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullWait)
		defer cancel()
		// The other requests of a process that stops have ended by then. Otherwise the
		// Job would come to one after the other, each time as another attempt.
		return nil, errors.Join(ctx.Err(), d.Nak(back, pullWait))
	}
	return d, nil
}

// maxTries bounds the memory for settled tries to some 10 MB.
const maxTries = 100_000

// tries are the last tries of Jobs that this process has given back, by sequence.
type tries struct {
	mu   sync.Mutex
	last map[uint64]int
}

// settled notes that the try of d in hand came to an end and that another follows.
func (t *tries) settled(d *Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) >= maxTries {
		clear(t.last)
	}
	t.last[d.Sequence] = d.Attempt
}

// abandoned tells whether the try before d's was not settled by this process.
func (t *tries) abandoned(d *Delivery) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return d.Attempt > 1 && t.last[d.Sequence] != d.Attempt-1
}
