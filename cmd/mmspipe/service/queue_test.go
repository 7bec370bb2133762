package service

import (
	"fmt"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

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

// TestQueueRestarted: an embedded server that is replaced under the service loses
// nothing, and jobs go on.
func TestQueueRestarted(t *testing.T) {
	t.Parallel()
	e := &embeddedNATS{log: zerolog.Nop(), options: server.Options{
		ServerName: "mmspipe", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	}}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	q, parts := &queue{log: e.log, embedded: e}, &lifecycle{}
	parts.onStop("embedded NATS", e.stop)
	conn, err := q.connect(parts, "", nats.InProcessServer(e))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := parts.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	streams, err := stream.Open(t.Context(), conn, stream.Options{BatchFrom: 4})
	if err != nil {
		t.Fatal(err)
	}
	account, message := testSIDs(t)
	publish := func(n int) error {
		_, err := streams.PublishJob(t.Context(), stream.NewInbound(account, message, fmt.Sprint(n), "", nil))
		return err
	}
	if err := publish(1); err != nil {
		t.Fatal(err)
	}
	if err := e.restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(2 * time.Minute)
	for err := publish(2); err != nil; err = publish(2) {
		select {
		case <-deadline:
			t.Fatalf("the queue does not take jobs again: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
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
	account, err := store.ParseAccountSID("AC0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	message, err := store.ParseMessageSID("MM0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return account, message
}
