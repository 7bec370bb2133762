package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

const (
	// jobsMost and feedMost are the largest that the streams are made on the
	// embedded server: a million Jobs, and several million events.
	jobsMost = 2 << 30
	feedMost = 8 << 30

	// natsReconnect is the pause between two tries to come back.
	natsReconnect = 500 * time.Millisecond
)

// queue is the streams with the NATS that they are in.
type queue struct {
	log      zerolog.Logger
	streams  *stream.Streams
	embedded *embeddedNATS // nil where NATS is external
	monitor  []*url.URL    // monitoring ports of an external NATS
	where    string        // in words

	durability  atomic.Pointer[health.Durability] // as it was last determined
	reconnected chan struct{}                     // gets a value after the connection came back
}

// openQueue connects to NATS, to the embedded one unless another is set, opens the
// streams and begins to watch them. Where a queue must be durable and is not, that
// is an error.
func (s *service) openQueue(ctx context.Context) error {
	s.queue = &queue{log: s.log, monitor: s.NATS.Monitor, reconnected: make(chan struct{}, 1)}
	limits := stream.Options{FeedAge: s.FeedAge}
	var conn *nats.Conn
	var err error
	if s.NATS.URL != "" {
		conn, err = s.queue.connect(&s.parts, s.NATS.URL, natsCredentials(s.NATS.Creds)...)
		if err == nil {
			s.queue.where = "NATS at " + withoutLogins(conn.ConnectedUrl())
		}
	} else {
		conn, err = s.queue.embed(&s.parts, s.Data, s.NATS.Listen, &limits)
	}
	if err != nil {
		return err
	}
	if s.queue.streams, err = stream.Open(ctx, conn, limits); err != nil {
		return fmt.Errorf("%s: %w", s.queue.where, err)
	}
	conn.SetReconnectHandler(func(*nats.Conn) {
		s.log.Info().Msg("NATS is back")
		select {
		case s.queue.reconnected <- struct{}{}:
		default: // one that is waiting says it all
		}
	})
	s.queue.classify(ctx)
	if d := s.queue.durability.Load(); s.NATS.RequireDurable && !d.Class.Durable() {
		return fmt.Errorf("--require-durable (MMSPIPE_REQUIRE_DURABLE): what the queue acknowledges may not survive power loss: class %s, %s", d.Class, d.Reason)
	}
	s.parts.background("watch of reconnections", s.queue.followReconnects)
	s.parts.background("sweep of the queue", func(ctx context.Context) { every(ctx, sweepTick, s.queue.sweep) })
	s.parts.background("watch of the disk", func(ctx context.Context) {
		every(ctx, diskTick, func(ctx context.Context) {
			s.disk.look()
			if !s.disk.full() {
				s.queue.restartStuck(ctx)
			}
		})
	})
	return nil
}

func natsCredentials(file string) []nats.Option {
	if file == "" {
		return nil
	}
	return []nats.Option{nats.UserCredentials(file)}
}

// embed runs a nats-server in this process and connects to it.
func (q *queue) embed(parts *lifecycle, data, listen string, limits *stream.Options) (*nats.Conn, error) {
	dir := filepath.Join(data, "nats")
	var err error
	if limits.JobsMaxBytes, limits.FeedMaxBytes, err = streamSizes(dir); err != nil {
		return nil, err
	}
	syncTime, err := stream.SyncTime(data)
	if err != nil {
		return nil, err
	}
	limits.BatchFrom = stream.BatchFrom(syncTime)
	q.embedded = &embeddedNATS{log: q.log, options: server.Options{
		ServerName: "mmspipe", NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		// The streams have limits of their own; the server's must not be lower
		// than those of an earlier start.
		JetStreamMaxStore: 1 << 50,
	}}
	login, err := q.embedded.listen(listen, data)
	if err != nil {
		return nil, err
	}
	if err := q.embedded.start(); err != nil {
		return nil, err
	}
	parts.onStop("embedded NATS", q.embedded.stop)
	q.log.Debug().Dur("sync_ms", syncTime).Int("batch_from", limits.BatchFrom).Msg("disk timed")
	q.where = "embedded NATS in " + dir + ", synced to disk before every answer"
	return q.connect(parts, "", append(login, nats.InProcessServer(q.embedded))...)
}

// connect connects for good: the connection comes back by itself.
func (q *queue) connect(parts *lifecycle, urls string, options ...nats.Option) (*nats.Conn, error) {
	where := cmp.Or(withoutLogins(urls), "embedded")
	options = append(options,
		// A login that is refused twice, as while an operator changes it, would
		// close the connection for good.
		nats.Name("mmspipe"), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(natsReconnect),
		nats.DisconnectErrHandler(func(conn *nats.Conn, err error) {
			if !conn.IsClosed() {
				q.log.Warn().Err(err).Str("nats", where).Msg("NATS is away")
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			q.log.Warn().Err(err).Str("nats", where).Msg("NATS reports an error")
		}),
	)
	conn, err := nats.Connect(urls, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s (--nats-url, --nats-creds): %w", where, err)
	}
	parts.onStop("NATS connection", func(ctx context.Context) error {
		defer conn.Close()
		flushing, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := conn.FlushWithContext(flushing); err != nil && conn.IsConnected() {
			return err
		}
		return nil
	})
	return conn, nil
}

// withoutLogins is a list of URLs without the users, passwords and tokens in them.
func withoutLogins(urls string) string {
	var all []string
	for entry := range strings.SplitSeq(urls, ",") {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(entry), "://")
		if !ok {
			scheme, rest = "nats", scheme
		}
		if rest = rest[strings.LastIndex(rest, "@")+1:]; rest != "" {
			all = append(all, scheme+"://"+rest)
		}
	}
	return strings.Join(all, ",")
}

// streamSizes divides the space that is free, with what the streams hold now, among
// the streams.
func streamSizes(dir string) (jobs, feed int64, err error) {
	free, _, err := Space(filepath.Dir(dir))
	if err != nil {
		return 0, 0, err
	}
	held, err := sizeOf(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", dir, err)
	}
	jobs, feed = divide(free + held)
	return jobs, feed, nil
}

// divide gives the Jobs and the feed an eighth each of the space, which leaves the
// rest to media, and no more than they can use.
func divide(space int64) (jobs, feed int64) {
	const least = 1 << 20 // a server refuses smaller streams in practice
	return min(max(space/8, least), jobsMost), min(max(space/8, least), feedMost)
}

func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
