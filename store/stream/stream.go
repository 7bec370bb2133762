// Package stream is the two JetStream streams that the parts of mmspipe meet in:
// jobs to be done, and events that happened.
//
// # Jobs
//
// MMS_JOBS is a work queue: a Job stays until it is acknowledged and is gone
// then, and the personal data in it. A full queue refuses new Jobs rather than
// drop old ones, and nothing expires. Every Job is delivered at least once; a
// repeat of its ID within [DuplicateWindow] is recognised when it is published.
//
// # Events
//
// MMS_FEED keeps what happened for a time and drops the oldest when it is full.
// Events are CloudEvents 1.0 in structured JSON. The same fact always has the
// same id, so that publishing it twice within [DuplicateWindow] changes nothing;
// readers that must not see one twice after that compare ids. The order of events
// is that of their sequence, not of their time.
//
// # Why two
//
// In one stream with limits, acknowledging a Job would free nothing, a queue full
// of Jobs would refuse facts, and Jobs that nobody has done would expire.
//
// # Durability
//
// An acknowledged publish is as durable as its server makes it; [Streams.Class]
// tells how much that is. Jobs that are published at the same time share the
// server's syncs where [Options].BatchFrom allows it, and each is acknowledged only
// when it is durable itself.
package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	jobsName = "MMS_JOBS"
	feedName = "MMS_FEED"

	// durable is the consumer that all workers share.
	durable = "worker"

	// DuplicateWindow is how long the streams know an id again. Twilio's own
	// retries end after 15 s; fallback calls and redeliveries come later. Each id
	// takes about 126 bytes of server memory (measured on nats-server 2.15.2).
	DuplicateWindow = time.Hour

	// AckWait is how long a Job may be in hand without a sign of life.
	AckWait = time.Minute

	// maxPending bounds the Jobs that are in hand or wait out a delay. Those that
	// wait count too, so it must be far above the number of workers, or delayed
	// Jobs would hold up fresh ones. 50,000 of them slowed down a fresh one by 0.5
	// ms in the mean (measured on nats-server 2.15.2).
	maxPending = 1_000_000

	// defaultJobsBytes and defaultFeedBytes are for a server whose disk is not
	// known here. A Job takes about 2 kB, an event 1 kB.
	defaultJobsBytes = 1 << 30
	defaultFeedBytes = 4 << 30

	defaultFeedAge = 30 * 24 * time.Hour
)

// Options bound the streams.
type Options struct {
	// JobsMaxBytes and FeedMaxBytes are the sizes on disk. If 0, those of streams
	// that exist are left as they are, and new ones get 1 GiB and 4 GiB.
	JobsMaxBytes, FeedMaxBytes int64
	// FeedAge is how long an event is kept; 30 days if 0.
	FeedAge time.Duration
	// BatchFrom is the number of Jobs waiting to be published from which they
	// are, as one atomic batch; see [BatchFrom]. If 0 each is published by
	// itself, which any server with JetStream can do.
	BatchFrom int
}

// Streams publishes to both streams and reads from them. It may be used from
// many goroutines.
type Streams struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	jobs   jetstream.Stream
	feed   jetstream.Stream
	worker jetstream.Consumer

	committer *committer
	tries     tries

	silentJobs, silentFeed silence
	foreign                foreign
}

// Open makes the streams and the workers' consumer, or brings those that exist
// in line. Replicas, placement and sizes that an operator has set are kept. The
// account of conn needs JetStream and the right to manage both streams; an error
// says which of them was refused.
func Open(ctx context.Context, conn *nats.Conn, o Options) (*Streams, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	s := &Streams{conn: conn, js: js, committer: &committer{js: js, batchFrom: o.BatchFrom}, tries: tries{last: map[uint64]int{}}}
	if s.jobs, err = ensure(ctx, js, jobsConfig(o)); err != nil {
		return nil, err
	}
	if s.feed, err = ensure(ctx, js, feedConfig(o)); err != nil {
		return nil, err
	}
	if err := s.Wake(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Wake makes the server look at the Jobs that were in hand or delayed when it was
// restarted. By itself it does so only after a whole AckWait, due or not; a change
// of AckWait makes it look at once (seen on nats-server 2.15.2).
func (s *Streams) Wake(ctx context.Context) error {
	for _, wait := range []time.Duration{AckWait + time.Millisecond, AckWait} {
		worker, err := s.jobs.CreateOrUpdateConsumer(ctx, workerConfig(wait))
		if err != nil {
			return fmt.Errorf("create consumer %s of stream %s: %w", durable, jobsName, err)
		}
		if s.worker == nil {
			s.worker = worker
		}
	}
	return nil
}

func workerConfig(ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       durable,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1, // the worker decides when to give up
		MaxAckPending: maxPending,
	}
}

func jobsConfig(o Options) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        jobsName,
		Description: "mmspipe: messages to be worked on",
		Subjects:    []string{"mms.job.*.*.*", "mms.job.*.*.*.*"},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    o.JobsMaxBytes,
		Storage:     jetstream.FileStorage,
		Duplicates:  DuplicateWindow,

		AllowAtomicPublish: o.BatchFrom > 0,
	}
}

func feedConfig(o Options) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name:        feedName,
		Description: "mmspipe: what happened",
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxBytes:    o.FeedMaxBytes,
		MaxAge:      o.FeedAge,
		Storage:     jetstream.FileStorage,
		Duplicates:  DuplicateWindow,
		AllowDirect: true,
	}
	if config.MaxAge == 0 {
		config.MaxAge = defaultFeedAge
	}
	for _, t := range eventTypes {
		config.Subjects = append(config.Subjects, t+".*")
	}
	return config
}

// ensure creates a stream or updates the one that is there, without touching
// what is the operator's.
func ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	existing, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if want.MaxBytes == 0 {
			want.MaxBytes = defaultBytes(want.Name)
		}
		stream, err := js.CreateStream(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("create stream %s (is JetStream enabled for this account, with room for %d bytes?): %w", want.Name, want.MaxBytes, err)
		}
		return stream, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s (is JetStream enabled for this account?): %w", want.Name, err)
	}
	config := existing.CachedInfo().Config
	if config.Retention != want.Retention || config.Storage != want.Storage {
		return nil, fmt.Errorf("stream %s exists with retention %s and %s storage; it must be %s and %s: remove or rename it",
			want.Name, config.Retention, config.Storage, want.Retention, want.Storage)
	}
	if want.MaxBytes == 0 {
		want.MaxBytes = config.MaxBytes
	}
	config.Description, config.Subjects, config.Discard = want.Description, want.Subjects, want.Discard
	config.MaxBytes, config.MaxAge, config.Duplicates, config.AllowDirect = want.MaxBytes, want.MaxAge, want.Duplicates, want.AllowDirect
	config.AllowAtomicPublish = config.AllowAtomicPublish || want.AllowAtomicPublish
	stream, err := js.UpdateStream(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("update stream %s (may this account manage it?): %w", want.Name, err)
	}
	return stream, nil
}

func defaultBytes(name string) int64 {
	if name == jobsName {
		return defaultJobsBytes
	}
	return defaultFeedBytes
}

// State is what the streams hold at a moment.
type State struct {
	Jobs       uint64    `json:"jobs"` // not acknowledged, in hand or not
	JobsBytes  uint64    `json:"jobsBytes"`
	JobsMax    int64     `json:"jobsMaxBytes"`
	Waiting    uint64    `json:"waiting"` // never delivered yet
	InHand     int       `json:"inHand"`  // delivered, or waiting out a delay
	OldestJob  time.Time `json:"oldestJob,omitzero"`
	Events     uint64    `json:"events"`
	EventBytes uint64    `json:"eventBytes"`
	EventMax   int64     `json:"eventMaxBytes"`
	LastEvent  uint64    `json:"lastEvent"` // sequence
	Foreign    Foreign   `json:"foreign"`   // what is on the feed's subjects and is no event
}

// State asks the server for the state of both streams.
func (s *Streams) State(ctx context.Context) (State, error) {
	jobs, err := s.jobs.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("stream %s: %w", jobsName, err)
	}
	feed, err := s.feed.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("stream %s: %w", feedName, err)
	}
	worker, err := s.worker.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("consumer %s: %w", durable, err)
	}
	return State{
		Jobs: jobs.State.Msgs, JobsBytes: jobs.State.Bytes, JobsMax: jobs.Config.MaxBytes,
		Waiting: worker.NumPending, InHand: worker.NumAckPending, OldestJob: oldest(jobs.State),
		Events: feed.State.Msgs, EventBytes: feed.State.Bytes, EventMax: feed.Config.MaxBytes, LastEvent: feed.State.LastSeq, Foreign: s.Foreign(),
	}, nil
}

func oldest(s jetstream.StreamState) time.Time {
	if s.Msgs == 0 {
		return time.Time{}
	}
	return s.FirstTime
}
