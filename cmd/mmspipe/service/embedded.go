package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

const (
	// natsStart is how long the embedded server may take to recover its streams.
	natsStart = time.Minute

	// natsUser may use the embedded server where it listens; the password is in
	// the data directory.
	natsUser = "mmspipe"
)

// embeddedNATS is a nats-server in this process. It syncs to disk before it
// acknowledges, and opens no port unless one is set. A server that has met an error
// when writing never writes again (seen on nats-server 2.15.2). So it can be
// replaced by a fresh one on the same directory; connections come back to that one
// by themselves.
type embeddedNATS struct {
	options server.Options
	log     zerolog.Logger

	mu     sync.Mutex
	server *server.Server
}

// start runs a server and waits until it has recovered its streams.
func (e *embeddedNATS) start() error {
	options := e.options // a server changes what it is given
	s, err := server.NewServer(&options)
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	s.SetLoggerV2(natsLog{e.log}, false, false, false)
	s.Start()
	e.mu.Lock()
	e.server = s
	e.mu.Unlock()
	if !s.ReadyForConnections(natsStart) {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("embedded NATS is not ready after %v", natsStart)
	}
	return nil
}

// stop returns when the server has closed its files, or when ctx ends.
func (e *embeddedNATS) stop(ctx context.Context) error {
	s := e.running()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.Shutdown()
		s.WaitForShutdown()
	}()
	return await(ctx, closed)
}

// restart replaces the server, once the old one has closed its files.
func (e *embeddedNATS) restart(ctx context.Context) error {
	if err := e.stop(ctx); err != nil {
		return err
	}
	return e.start()
}

func (e *embeddedNATS) running() *server.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.server
}

// InProcessConn is what a connection calls, also when it comes back.
func (e *embeddedNATS) InProcessConn() (net.Conn, error) {
	s := e.running()
	if !s.Running() {
		return nil, errors.New("embedded NATS is being restarted")
	}
	return s.InProcessConn()
}

// syncs tells by name whether the server syncs before it acknowledges, as the
// server itself has it.
func (e *embeddedNATS) syncs() map[string]bool {
	s := e.running()
	config := s.JetStreamConfig()
	return map[string]bool{s.Name(): config != nil && config.SyncAlways}
}

// listen has the server listen at an address, unless that is empty, with a password
// that is kept in the data directory. It returns what this process logs in with.
func (e *embeddedNATS) listen(address, data string) ([]nats.Option, error) {
	if address == "" {
		e.options.DontListen = true
		return nil, nil
	}
	password, err := secretFile(filepath.Join(data, "nats-password"))
	if err != nil {
		return nil, err
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen: %w", err)
	}
	e.options.Host, e.options.Port = to.Addr().String(), int(to.Port())
	if e.options.Port == 0 {
		e.options.Port = server.RANDOM_PORT // a port of 0 means NATS's own to the server
	}
	e.options.Username, e.options.Password = natsUser, string(password)
	return []nats.Option{nats.UserInfo(natsUser, string(password))}, nil
}

// natsLog logs what the embedded server complains about.
type natsLog struct{ log zerolog.Logger }

func (l natsLog) Noticef(string, ...any)         {}
func (l natsLog) Debugf(string, ...any)          {}
func (l natsLog) Tracef(string, ...any)          {}
func (l natsLog) Warnf(format string, v ...any)  { l.log.Warn().Msgf("NATS: "+format, v...) }
func (l natsLog) Errorf(format string, v ...any) { l.log.Error().Msgf("NATS: "+format, v...) }
func (l natsLog) Fatalf(format string, v ...any) { l.log.Error().Msgf("NATS: "+format, v...) }
