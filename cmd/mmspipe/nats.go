package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
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
	var login []nats.Option
	if s.natsListen != "" {
		password, err := secretFile(filepath.Join(s.data, "nats-password"))
		if err != nil {
			return nil, err
		}
		host, port, err := net.SplitHostPort(s.natsListen)
		if err != nil {
			return nil, fmt.Errorf("--nats-listen: %w", err)
		}
		options.Host, options.Username, options.Password = host, natsUser, string(password)
		if options.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("--nats-listen: %w", err)
		}
		login = []nats.Option{nats.UserInfo(natsUser, string(password))}
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

// connectNATS connects for good: the connection comes back by itself.
func (s *service) connectNATS(urls string, options ...nats.Option) (*nats.Conn, error) {
	options = append(options,
		nats.Name("mmspipe"), nats.MaxReconnects(-1),
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
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is not a loopback address", address)
	}
	return nil
}
