package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"time"

	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// natsStart is how long the embedded server may take to recover its streams.
	natsStart = time.Minute

	// natsUser may use the embedded server where it listens; the password is in
	// the data directory.
	natsUser = "mmspipe"

	// jobsMost and feedMost are the largest that the streams are made on the
	// embedded server: a million Jobs, and several million events.
	jobsMost = 2 << 30
	feedMost = 8 << 30
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
	s.streams, err = stream.Open(ctx, conn, limits)
	return err
}

func natsCredentials(file string) []nats.Option {
	if file == "" {
		return nil
	}
	return []nats.Option{nats.UserCredentials(file)}
}

// embedNATS runs a nats-server in this process. It syncs to disk before it
// acknowledges, and opens no port unless one is set.
func (s *service) embedNATS(limits *stream.Options) (*nats.Conn, error) {
	dir := filepath.Join(s.data, "nats")
	var err error
	if limits.JobsMaxBytes, limits.FeedMaxBytes, err = streamSizes(dir); err != nil {
		return nil, err
	}
	options := &server.Options{
		ServerName: "mmspipe", DontListen: s.natsListen == "", NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		// The streams have limits of their own; the server's must not be lower
		// than those of an earlier start.
		JetStreamMaxStore: 1 << 50,
	}
	login, err := s.listenNATS(options)
	if err != nil {
		return nil, err
	}
	embedded, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	embedded.SetLoggerV2(natsLog{s.log}, false, false, false)
	embedded.Start()
	s.onStop("embedded NATS", func(context.Context) error {
		embedded.Shutdown()
		embedded.WaitForShutdown()
		return nil
	})
	if !embedded.ReadyForConnections(natsStart) {
		return nil, fmt.Errorf("embedded NATS is not ready after %v", natsStart)
	}
	s.queue = "embedded NATS in " + dir + ", synced to disk before every answer"
	return s.connectNATS("", append(login, nats.InProcessServer(embedded))...)
}

// listenNATS lets the embedded server listen where that is set, with a password
// that is kept in the data directory, and returns what this process logs in with.
func (s *service) listenNATS(options *server.Options) ([]nats.Option, error) {
	if s.natsListen == "" {
		return nil, nil
	}
	password, err := secretFile(filepath.Join(s.data, "nats-password"))
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddrPort(s.natsListen)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen: %w", err)
	}
	options.Host, options.Port = address.Addr().String(), int(address.Port())
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT // a port of 0 means NATS's own to the server
	}
	options.Username, options.Password = natsUser, string(password)
	return []nats.Option{nats.UserInfo(natsUser, string(password))}, nil
}

// connectNATS connects for good: the connection comes back by itself.
func (s *service) connectNATS(urls string, options ...nats.Option) (*nats.Conn, error) {
	options = append(options,
		// A login that is refused twice, as while an operator changes it, would
		// close the connection for good.
		nats.Name("mmspipe"), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(conn *nats.Conn, err error) {
			if !conn.IsClosed() {
				s.log.Warn().Err(err).Msg("NATS is away")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { s.log.Info().Msg("NATS is back") }),
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

// natsLog logs what the embedded server complains about.
type natsLog struct{ log zerolog.Logger }

func (l natsLog) Noticef(string, ...any)         {}
func (l natsLog) Debugf(string, ...any)          {}
func (l natsLog) Tracef(string, ...any)          {}
func (l natsLog) Warnf(format string, v ...any)  { l.log.Warn().Msgf("NATS: "+format, v...) }
func (l natsLog) Errorf(format string, v ...any) { l.log.Error().Msgf("NATS: "+format, v...) }
func (l natsLog) Fatalf(format string, v ...any) { l.log.Error().Msgf("NATS: "+format, v...) }

// streamSizes divides what is free for the streams, with what they hold now.
func streamSizes(dir string) (jobs, feed int64, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(dir), &disk); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	held, err := sizeOf(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", dir, err)
	}
	jobs, feed = divide(int64(disk.Bavail)*int64(disk.Bsize) + held) //nolint:unconvert // the types differ between systems
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
