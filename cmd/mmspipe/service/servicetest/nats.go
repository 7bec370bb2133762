package servicetest

import (
	"net"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// NATS is a nats-server on a port of loopback that can be stopped and started again.
type NATS struct {
	Options server.Options // may be changed while the server is stopped
	Server  *server.Server

	t testing.TB
}

// NewNATS returns a server that is not started yet, which syncs always.
func NewNATS(t testing.TB) *NATS {
	return &NATS{t: t, Options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
	}}
}

// StartNATS starts a server that is stopped when the test ends.
func StartNATS(t testing.TB) *NATS {
	t.Helper()
	n := NewNATS(t)
	n.Start()
	return n
}

// URL is where clients connect.
func (n *NATS) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(n.Options.Port) }

// Start starts the server, at the port that it had before, and waits until it
// answers.
func (n *NATS) Start() {
	n.t.Helper()
	options := n.Options // a server changes what it is given
	s, err := server.NewServer(&options)
	if err != nil {
		n.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(Patience) {
		n.t.Fatal("nats-server does not start")
	}
	if n.Server == nil {
		n.t.Cleanup(n.Stop)
	}
	n.Server = s
	n.Options.Port = s.Addr().(*net.TCPAddr).Port
}

// Stop stops the server if it runs.
func (n *NATS) Stop() {
	n.Server.Shutdown()
	n.Server.WaitForShutdown()
}
