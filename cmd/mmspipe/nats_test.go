package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// natsServer is a nats-server on a port of loopback that can be stopped and
// started again.
type natsServer struct {
	t       *testing.T
	options server.Options
	running *server.Server
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	n := &natsServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
	}}
	n.Start()
	n.options.Port = n.running.Addr().(*net.TCPAddr).Port
	t.Cleanup(n.Stop)
	return n
}

func (n *natsServer) ClientURL() string {
	return "nats://127.0.0.1:" + strconv.Itoa(n.options.Port)
}

// Start starts the server and waits until it answers.
func (n *natsServer) Start() {
	n.t.Helper()
	options := n.options
	s, err := server.NewServer(&options)
	if err != nil {
		n.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		n.t.Fatal("nats-server does not start")
	}
	n.running = s
}

// Stop stops the server if it runs.
func (n *natsServer) Stop() {
	n.running.Shutdown()
	n.running.WaitForShutdown()
}

func TestDivide(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct{ space, jobs, feed int64 }{
		{0, 1 << 20, 1 << 20},
		{gib, gib / 8, gib / 8},
		{16 * gib, 2 * gib, 2 * gib},
		{1000 * gib, 2 * gib, 8 * gib},
	} {
		if jobs, feed := divide(c.space); jobs != c.jobs || feed != c.feed {
			t.Errorf("divide(%d) = %d, %d; want %d, %d", c.space, jobs, feed, c.jobs, c.feed)
		}
	}
}

// TestEmbeddedListens: the embedded server, where it is opened, asks for the
// password that only the owner of the data directory can read.
func TestEmbeddedListens(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := &service{log: zerolog.Nop()}
	s.data, s.natsListen = t.TempDir(), address
	if _, err := s.embedNATS(&stream.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	if conn, err := nats.Connect("nats://" + address); !errors.Is(err, nats.ErrAuthorization) {
		conn.Close()
		t.Errorf("without a password: %v", err)
	}
	file := filepath.Join(s.data, "nats-password")
	password, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	conn, err := nats.Connect("nats://"+address, nats.UserInfo(natsUser, strings.TrimSpace(string(password))))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestRefusedLogin: a login that is refused for a time does not end the connection.
func TestRefusedLogin(t *testing.T) {
	n := startNATS(t)
	n.Stop()
	n.options.Username, n.options.Password = natsUser, "right"
	n.Start()
	s := &service{log: zerolog.Nop()}
	refused := make(chan struct{}, 8)
	conn, err := s.connectNATS(n.ClientURL(), nats.UserInfo(natsUser, "right"), nats.ReconnectWait(time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrAuthorization) {
				select {
				case refused <- struct{}{}:
				default:
				}
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	back := make(chan struct{}, 1)
	conn.SetReconnectHandler(func(*nats.Conn) { back <- struct{}{} })
	n.Stop()
	n.options.Password = "changed"
	n.Start()
	for range 3 {
		select {
		case <-refused:
		case <-time.After(patience):
			t.Fatal("the login is not refused three times")
		}
	}
	n.Stop()
	n.options.Password = "right"
	n.Start()
	select {
	case <-back:
	case <-time.After(patience):
		t.Fatalf("not connected again: %v", conn.Status())
	}
}
