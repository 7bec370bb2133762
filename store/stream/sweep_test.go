package stream_test

import (
	"os"
	"path/filepath"
	"testing"

	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
)

// TestSweep leaves Jobs that are not done where they are, and removes those that
// the server knows to be done and kept, as after a full disk. Such a state is made
// by putting back the messages as they were before they were acknowledged.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	options := server.Options{DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true}
	conn, stop := inProcess(t, options)
	s := open(t, conn, stream.Options{})
	for n := range 3 {
		publish(t, s, n)
	}
	stop()
	messages := filepath.Join(dir, "jetstream", "$G", "streams", "MMS_JOBS", "msgs")
	before := filepath.Join(t.TempDir(), "msgs")
	if err := os.CopyFS(before, os.DirFS(messages)); err != nil {
		t.Fatal(err)
	}

	conn, stop = inProcess(t, options)
	s = open(t, conn, stream.Options{})
	first, _ := next(t, s), next(t, s)
	if err := first.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := state(t, s); got.Jobs != 2 {
		t.Fatalf("%d jobs after a sweep, want the one in hand and the one that waits", got.Jobs)
	}
	stop()
	if err := os.RemoveAll(messages); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(messages, os.DirFS(before)); err != nil {
		t.Fatal(err)
	}

	conn, _ = inProcess(t, options)
	s = open(t, conn, stream.Options{})
	if got := state(t, s); got.Jobs != 3 {
		t.Fatalf("%d jobs are back, want 3", got.Jobs)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := state(t, s); got.Jobs != 2 {
		t.Errorf("%d jobs, want the two that are not done", got.Jobs)
	}
}
