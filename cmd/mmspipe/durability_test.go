package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// readyz is the detail for the house.
func (p *program) readyz() (status int, r report) {
	p.t.Helper()
	response, err := http.Get(p.admin + "/readyz")
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, r
}

// natsBackend keeps streams on a server with these options, and gives its
// monitoring port to the service if monitored is set.
func natsBackend(t *testing.T, syncAlways, monitored bool) (backend, *natsServer) {
	t.Helper()
	n := &natsServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: syncAlways, NoSigs: true, NoLog: true,
	}}
	n.Start()
	t.Cleanup(n.Stop)
	return backend{"monitored", func(t *testing.T) (map[string]string, func() store.Bucket) {
		env, open := backends[0].prepare(t)
		env["MMSPIPE_NATS_URL"] = n.running.ClientURL()
		if monitored {
			env["MMSPIPE_NATS_MONITOR"] = "http://" + n.running.MonitorAddr().String()
		}
		return env, open
	}}, n
}

// TestDurability: the class of the queue is what its server says it is.
func TestDurability(t *testing.T) {
	for _, c := range []struct {
		name                  string
		embedded              bool
		syncAlways, monitored bool
		want                  stream.Class
	}{
		{name: "embedded", embedded: true, want: stream.Fsync},
		{name: "synced", syncAlways: true, monitored: true, want: stream.Fsync},
		{name: "not synced", monitored: true, want: stream.Lazy},
		{name: "not seen", syncAlways: true, want: stream.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := backends[0]
			if !c.embedded {
				b, _ = natsBackend(t, c.syncAlways, c.monitored)
			}
			p := startOn(t, b)
			status, r := p.readyz()
			if status != http.StatusOK || r.Durability.Class != c.want || r.Durability.Reason == "" {
				t.Errorf("%d %+v, want class %s", status, r, c.want)
			}
			if warned := strings.Contains(p.logs.String(), "MMSPIPE_NATS_MONITOR"); warned != !c.want.Durable() {
				t.Errorf("warned: %v", warned)
			}
		})
	}
}

// TestRequireDurable: the service refuses to start on a queue whose
// acknowledgements may not survive, and says what to do.
func TestRequireDurable(t *testing.T) {
	b, _ := natsBackend(t, false, true)
	env, _ := b.prepare(t)
	env["MMSPIPE_REQUIRE_DURABLE"], env["MMSPIPE_ACCOUNTS"] = "true", testAccount+":"+testToken
	var said strings.Builder
	getenv := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	status := run(context.Background(), []string{"serve"}, getenv, stdio{strings.NewReader(""), io.Discard, &said})
	if status != 1 || !strings.Contains(said.String(), "MMSPIPE_REQUIRE_DURABLE") || !strings.Contains(said.String(), "sync_interval: always") {
		t.Errorf("exit status %d: %s", status, &said)
	}
}

// TestQueueRestarted: an embedded server that is replaced under the service loses
// nothing, and jobs go on.
func TestQueueRestarted(t *testing.T) {
	e := &embeddedNATS{log: newLogger(io.Discard, false), options: server.Options{
		ServerName: "mmspipe", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	}}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	s := &service{log: e.log, embedded: e}
	conn, err := s.connectNATS("", nats.InProcessServer(e))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		e.stop()
	}()
	streams, err := stream.Open(t.Context(), conn, stream.Options{BatchFrom: 4})
	if err != nil {
		t.Fatal(err)
	}
	account, message := testSIDs(t)
	publish := func(n int) error {
		_, err := streams.PublishJob(t.Context(), stream.Job{Kind: stream.Inbound, Account: account, Message: message, ID: fmt.Sprint("in:", n)})
		return err
	}
	if err := publish(1); err != nil {
		t.Fatal(err)
	}
	if err := e.restart(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, logs: &logs{}}
	p.eventually("the queue takes jobs again", func() bool { return publish(2) == nil })
	if state, err := streams.State(t.Context()); err != nil || state.Jobs != 2 {
		t.Errorf("%+v, %v; want both jobs", state, err)
	}
	for range 2 {
		d, err := streams.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func testSIDs(t *testing.T) (store.AccountSID, store.MessageSID) {
	t.Helper()
	account, err := store.ParseAccountSID(testAccount)
	if err != nil {
		t.Fatal(err)
	}
	message, err := store.ParseMessageSID("MM0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return account, message
}
