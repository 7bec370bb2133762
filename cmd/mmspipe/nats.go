package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// jobsMost and feedMost are the largest that the streams are made on the
	// embedded server: a million Jobs, and several million events.
	jobsMost = 2 << 30
	feedMost = 8 << 30

	// natsReconnect is the pause between two tries to come back.
	natsReconnect = 500 * time.Millisecond

	// monitorTimeout is how long a server's monitoring port may take.
	monitorTimeout = 3 * time.Second
)

// openStreams connects to NATS, the embedded one unless another is set, and
// opens the streams.
func (s *service) openStreams(ctx context.Context) error {
	limits := stream.Options{FeedAge: s.feedAge}
	var conn *nats.Conn
	var err error
	if s.natsURL != "" {
		conn, err = s.connectNATS(s.natsURL, natsCredentials(s.natsCreds)...)
		if err == nil {
			s.queue = "NATS at " + conn.ConnectedUrlRedacted()
		}
	} else {
		conn, err = s.embedNATS(&limits)
	}
	if err != nil {
		return err
	}
	if s.streams, err = stream.Open(ctx, conn, limits); err != nil {
		return err
	}
	s.reconnected = make(chan struct{}, 1)
	conn.SetReconnectHandler(func(*nats.Conn) {
		s.log.Info().Msg("NATS is back")
		select {
		case s.reconnected <- struct{}{}:
		default: // one that is waiting says it all
		}
	})
	s.classify(ctx)
	if class := s.class.Load(); s.requireDurable && !class.Durable() {
		return fmt.Errorf("--require-durable (MMSPIPE_REQUIRE_DURABLE): what the queue acknowledges may not survive power loss: class %s, %s", class.Class, class.reason)
	}
	return nil
}

// queueClass is the durability of the queue as it was last determined.
type queueClass struct {
	stream.Class
	reason string
}

// classify determines the durability of the queue, and warns where it is less
// than what people take an acknowledgement for.
func (s *service) classify(ctx context.Context) {
	var syncs map[string]bool
	if s.embedded != nil {
		syncs = s.embedded.syncs()
	} else {
		syncs = s.monitorNATS(ctx)
	}
	class, reason, err := s.streams.Class(ctx, syncs)
	if err != nil {
		class, reason = stream.Unknown, err.Error()
	}
	s.class.Store(&queueClass{class, reason})
	line := s.log.Info()
	if !class.Durable() {
		line = s.log.Warn().Str("hint", "what is acknowledged may not survive power loss; set sync_interval: always on every server and name their monitoring ports in MMSPIPE_NATS_MONITOR")
	}
	line.Str("class", string(class)).Str("reason", reason).Msg("queue durability")
}

// monitorNATS asks each server's monitoring port whether it syncs before it
// acknowledges. A server that does not answer is left out, which is warned of.
func (s *service) monitorNATS(ctx context.Context) map[string]bool {
	syncs := map[string]bool{}
	for _, address := range s.natsMonitor {
		name, always, err := askServer(ctx, address)
		if err != nil {
			s.log.Warn().Err(err).Msg("NATS server not seen")
			continue
		}
		syncs[name] = always
	}
	return syncs
}

// askServer reads /varz (https://docs.nats.io/running-a-nats-service/nats_admin/monitoring).
func askServer(ctx context.Context, address *url.URL) (name string, always bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.JoinPath("varz").String(), nil)
	if err != nil {
		return "", false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", false, err
	}
	defer response.Body.Close()
	var varz server.Varz
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&varz); err != nil || response.StatusCode != http.StatusOK {
		return "", false, fmt.Errorf("%s is not the monitoring port of a NATS server: status %d", address.Host, response.StatusCode)
	}
	return varz.Name, varz.JetStream.Config != nil && varz.JetStream.Config.SyncAlways, nil
}

// followReconnects does, until ctx ends, what is to be done after the connection
// came back: other servers may be there, or the same one restarted.
func (s *service) followReconnects(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reconnected:
			if err := s.streams.Wake(ctx); err != nil {
				s.log.Warn().Err(err).Msg("delayed jobs may wait a minute longer")
			}
			s.classify(ctx)
		}
	}
}

func natsCredentials(file string) []nats.Option {
	if file == "" {
		return nil
	}
	return []nats.Option{nats.UserCredentials(file)}
}

// embedNATS runs a nats-server in this process.
func (s *service) embedNATS(limits *stream.Options) (*nats.Conn, error) {
	dir := filepath.Join(s.data, "nats")
	var err error
	if limits.JobsMaxBytes, limits.FeedMaxBytes, err = streamSizes(dir); err != nil {
		return nil, err
	}
	syncTime, err := stream.SyncTime(s.data)
	if err != nil {
		return nil, err
	}
	limits.BatchFrom = stream.BatchFrom(syncTime)
	s.embedded = &embeddedNATS{log: s.log, options: server.Options{
		ServerName: "mmspipe", NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		// The streams have limits of their own; the server's must not be lower
		// than those of an earlier start.
		JetStreamMaxStore: 1 << 50,
	}}
	login, err := s.embedded.listen(s.natsListen, s.data)
	if err != nil {
		return nil, err
	}
	if err := s.embedded.start(); err != nil {
		return nil, err
	}
	s.onStop("embedded NATS", func(context.Context) error { s.embedded.stop(); return nil })
	s.log.Debug().Dur("sync_ms", syncTime).Int("batch_from", limits.BatchFrom).Msg("disk timed")
	s.queue = "embedded NATS in " + dir + ", synced to disk before every answer"
	return s.connectNATS("", append(login, nats.InProcessServer(s.embedded))...)
}

// connectNATS connects for good: the connection comes back by itself.
func (s *service) connectNATS(urls string, options ...nats.Option) (*nats.Conn, error) {
	options = append(options,
		// A login that is refused twice, as while an operator changes it, would
		// close the connection for good.
		nats.Name("mmspipe"), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(natsReconnect),
		nats.DisconnectErrHandler(func(conn *nats.Conn, err error) {
			if !conn.IsClosed() {
				s.log.Warn().Err(err).Msg("NATS is away")
			}
		}),
	)
	conn, err := nats.Connect(urls, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS (--nats-url, --nats-creds): %w", err)
	}
	s.onStop("NATS connection", func(context.Context) error {
		if err := conn.FlushTimeout(time.Second); err != nil && conn.IsConnected() {
			return err
		}
		conn.Close()
		return nil
	})
	return conn, nil
}

// streamSizes divides what is free for the streams, with what they hold now.
func streamSizes(dir string) (jobs, feed int64, err error) {
	free, _, err := space(filepath.Dir(dir))
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

// checkLoopback refuses an address that others could reach.
func checkLoopback(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address and a port, such as 127.0.0.1:4222", address)
	}
	if !to.Addr().IsLoopback() {
		return fmt.Errorf("%s is not a loopback address", address)
	}
	return nil
}
