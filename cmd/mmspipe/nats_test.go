package main

import (
	"net"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
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
