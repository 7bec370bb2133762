package service_test

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// TestEmbeddedListens: the embedded server, where it is opened, asks for the
// password that only the owner of the data directory can read.
func TestEmbeddedListens(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	p := servicetest.Start(t, servicetest.Embedded, "--nats-listen="+address)
	if conn, err := nats.Connect("nats://" + address); !errors.Is(err, nats.ErrAuthorization) {
		conn.Close()
		t.Errorf("without a password: %v", err)
	}
	file := filepath.Join(p.Config.Data, "nats-password")
	password, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	conn, err := nats.Connect("nats://"+address, nats.UserInfo("mmspipe", strings.TrimSpace(string(password))))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// door lets clients of a NATS server in, or not.
type door struct {
	closed  atomic.Bool
	refused atomic.Int32 // logins
}

// Check implements server.Authentication.
func (d *door) Check(server.ClientAuthentication) bool {
	if d.closed.Load() {
		d.refused.Add(1)
		return false
	}
	return true
}

// TestRefusedLogin: a login that is refused for a time does not end the connection.
func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	d := &door{}
	n := servicetest.NewNATS(t)
	n.Options.CustomClientAuthentication = d
	n.Start()
	p := servicetest.Start(t, servicetest.Embedded, "--nats-url="+n.URL())
	d.closed.Store(true)
	n.Stop()
	n.Start()
	p.Eventually("the login is refused three times", func() bool { return d.refused.Load() >= 3 })
	d.closed.Store(false)
	p.Eventually("ready again", func() bool { status, _ := p.Readyz(); return status == http.StatusOK })
}
