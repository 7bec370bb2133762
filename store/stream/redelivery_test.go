package stream_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// inProcess connects to a server that runs on options, and returns what stops both.
func inProcess(t *testing.T, options server.Options) (*nats.Conn, func()) {
	t.Helper()
	running, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	running.Start()
	conn, err := nats.Connect("", nats.InProcessServer(running))
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		conn.Close()
		running.Shutdown()
		running.WaitForShutdown()
	})
	t.Cleanup(stop)
	return conn, stop
}

// TestGivenBackOverRestart: a Job that was given back when the program stopped is
// delivered when it starts again, not after an AckWait.
func TestGivenBackOverRestart(t *testing.T) {
	options := server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true}
	conn, stop := inProcess(t, options)
	s := open(t, conn, stream.Options{})
	publish(t, s, 1)
	if err := next(t, s).Nak(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	stop()
	conn, _ = inProcess(t, options)
	if d := next(t, open(t, conn, stream.Options{})); d.Job != job(t, 1) || d.Attempt != 2 {
		t.Errorf("job of %s, attempt %d", d.Message, d.Attempt)
	}
}

// TestGivenBackByOne: a Job that comes while many callers stop waiting is given back
// once, not by one after the other: each time would count as a try.
func TestGivenBackByOne(t *testing.T) {
	conn := storetest.StartNATS(t)
	s := open(t, conn, stream.Options{})
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 16 {
		waiting.Go(func() {
			if d, err := s.Next(ctx); err == nil {
				t.Errorf("job of %s is taken after the end", d.Message)
			}
		})
	}
	for requests := 0; requests < 16; { // until all have arrived at the server
		worker, err := js.Consumer(t.Context(), "MMS_JOBS", "worker")
		if err != nil {
			t.Fatal(err)
		}
		requests = worker.CachedInfo().NumWaiting
	}
	stop()
	publish(t, s, 1)
	waiting.Wait()
	if d := next(t, s); d.Attempt > 2 {
		t.Errorf("attempt %d; want the first or second", d.Attempt)
	}
}

// TestDelayed: Jobs that wait out a delay do not hold up a fresh one, and come
// back no sooner than they were told to.
func TestDelayed(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	const waiting = 5000
	var publishing sync.WaitGroup
	for part := range 10 {
		publishing.Go(func() {
			for n := part; n < waiting; n += 10 {
				if _, err := s.PublishJob(t.Context(), job(t, n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	for range waiting {
		if err := next(t, s).Nak(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, s, waiting)
	d := next(t, s)
	if d.Job != job(t, waiting) || d.Attempt != 1 {
		t.Fatalf("job of %s, attempt %d, before the fresh one", d.Message, d.Attempt)
	}
	const delay = 300 * time.Millisecond
	start := time.Now()
	if err := d.Nak(t.Context(), delay); err != nil {
		t.Fatal(err)
	}
	if d = next(t, s); d.Job != job(t, waiting) || d.Attempt != 2 || time.Since(start) < delay {
		t.Errorf("job of %s, attempt %d, %v after a Nak with %v", d.Message, d.Attempt, time.Since(start), delay)
	}
	if got := state(t, s); got.InHand != waiting+1 || got.Waiting != 0 {
		t.Errorf("state %+v", got)
	}
}

// TestMalformedSubjects: each is reported, taken off the queue and not tried again.
func TestMalformedSubjects(t *testing.T) {
	conn := storetest.StartNATS(t)
	s := open(t, conn, stream.Options{})
	good := job(t, 1)
	for _, subject := range []string{
		"mms.job.inbound.AC1." + good.Message.String(),
		"mms.job.inbound." + good.Account.String() + ".x",
		"mms.job.inbound." + good.Message.String() + "." + good.Account.String(),
		"mms.job.inbound." + strings.ToLower(good.Account.String()) + "." + good.Message.String(),
	} {
		if err := conn.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if d, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), subject) {
			t.Errorf("%s: delivery %+v, error %v", subject, d, err)
		}
	}
	publish(t, s, 1)
	if d := next(t, s); d.Job != good {
		t.Errorf("job of %s", d.Message)
	}
	// The server does not answer a Term.
	for deadline := time.Now().Add(time.Minute); state(t, s).Jobs != 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are left, want the good one alone", state(t, s).Jobs)
		}
	}
}

// TestForeignStream: a stream that is not ours is refused and stays as it was.
func TestForeignStream(t *testing.T) {
	conn := storetest.StartNATS(t)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MMS_JOBS", Subjects: []string{"theirs.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Open(t.Context(), conn, stream.Options{}); err == nil || !strings.Contains(err.Error(), "remove or rename it") {
		t.Errorf("error %v", err)
	}
	theirs, err := js.Stream(t.Context(), "MMS_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	if c := theirs.CachedInfo().Config; len(c.Subjects) != 1 || c.Subjects[0] != "theirs.>" || c.Discard != jetstream.DiscardOld {
		t.Errorf("changed to %+v", c)
	}
}
