package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const patience = 30 * time.Second

func open(t *testing.T, conn *nats.Conn, o stream.Options) *stream.Streams {
	t.Helper()
	s, err := stream.Open(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func account(t testing.TB, n int) store.AccountSID {
	t.Helper()
	sid, err := store.ParseAccountSID(fmt.Sprintf("AC%032x", n))
	if err != nil {
		t.Fatal(err)
	}
	return sid
}

func job(t testing.TB, n int) stream.Job {
	t.Helper()
	message, err := store.ParseMessageSID(fmt.Sprintf("MM%032x", n))
	if err != nil {
		t.Fatal(err)
	}
	return stream.NewInbound(account(t, 1), message, fmt.Sprint(n), "", url.Values{"Body": {fmt.Sprint("text ", n)}})
}

// ofSender is the n-th Job, of a sender.
func ofSender(t testing.TB, n int, sender string) stream.Job {
	t.Helper()
	form, err := job(t, n).Form()
	if err != nil {
		t.Fatal(err)
	}
	return stream.NewInbound(account(t, 1), job(t, n).Message, fmt.Sprint(n), sender, form)
}

func publish(t testing.TB, s *stream.Streams, n int) {
	t.Helper()
	if duplicate, err := s.PublishJob(t.Context(), job(t, n)); err != nil || duplicate {
		t.Fatalf("publish %d: %v, %v", n, duplicate, err)
	}
}

func next(t testing.TB, s *stream.Streams) *stream.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func state(t testing.TB, s *stream.Streams) stream.State {
	t.Helper()
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestConfiguration: the streams are as the documentation says, and stay as an
// operator has made them where that is theirs.
func TestConfiguration(t *testing.T) {
	conn := storetest.StartNATS(t)
	open(t, conn, stream.Options{JobsMaxBytes: 1 << 20, FeedMaxBytes: 2 << 20})
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	config := func(name string) jetstream.StreamConfig {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config
	}
	jobs, feed := config("MMS_JOBS"), config("MMS_FEED")
	if jobs.Retention != jetstream.WorkQueuePolicy || jobs.Discard != jetstream.DiscardNew || jobs.MaxAge != 0 ||
		jobs.MaxBytes != 1<<20 || jobs.Duplicates != time.Hour || jobs.Storage != jetstream.FileStorage {
		t.Errorf("MMS_JOBS %+v", jobs)
	}
	if feed.Retention != jetstream.LimitsPolicy || feed.Discard != jetstream.DiscardOld || feed.MaxAge != 30*24*time.Hour || feed.MaxBytes != 2<<20 {
		t.Errorf("MMS_FEED %+v", feed)
	}
	consumer, err := js.Consumer(t.Context(), "MMS_JOBS", "worker")
	if err != nil {
		t.Fatal(err)
	}
	if c := consumer.CachedInfo().Config; c.AckPolicy != jetstream.AckExplicitPolicy || c.AckWait != time.Minute || c.MaxDeliver != -1 || len(c.BackOff) != 0 || c.MaxAckPending < 100_000 {
		t.Errorf("worker %+v", c)
	}
	feed.MaxBytes, feed.Metadata = 3<<20, map[string]string{"team": "theirs"}
	if _, err := js.UpdateStream(t.Context(), feed); err != nil {
		t.Fatal(err)
	}
	open(t, conn, stream.Options{FeedAge: time.Hour})
	if feed = config("MMS_FEED"); feed.MaxBytes != 3<<20 || feed.MaxAge != time.Hour || feed.Metadata["team"] != "theirs" {
		t.Errorf("MMS_FEED after another start %+v", feed)
	}
	if jobs = config("MMS_JOBS"); jobs.MaxBytes != 1<<20 {
		t.Errorf("MMS_JOBS after another start %+v", jobs)
	}
}

// TestWithoutJetStream: the error says what to look for.
func TestWithoutJetStream(t *testing.T) {
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := stream.Open(t.Context(), conn, stream.Options{}); err == nil || !strings.Contains(err.Error(), "is JetStream enabled") {
		t.Errorf("error %v", err)
	}
}

func TestJobs(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	publish(t, s, 1)
	if duplicate, err := s.PublishJob(t.Context(), job(t, 1)); err != nil || !duplicate {
		t.Errorf("the same again: %v, %v", duplicate, err)
	}
	before := time.Now().Add(-patience)
	d := next(t, s)
	if want := job(t, 1); d.Job != want {
		t.Errorf("delivery %+v, want %+v", d.Job, want)
	}
	if d.Attempt != 1 || d.Sequence != 1 || d.Queued.Before(before) || d.Queued.After(time.Now()) {
		t.Errorf("delivery %+v", d)
	}
	if got := state(t, s); got.Jobs != 1 || got.InHand != 1 || got.OldestJob.IsZero() {
		t.Errorf("state %+v", got)
	}
	if err := d.InProgress(); err != nil {
		t.Error(err)
	}
	if err := d.Nak(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if d = next(t, s); d.Attempt != 2 {
		t.Errorf("attempt %d after a Nak, want 2", d.Attempt)
	}
	if err := d.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	// An Ack removes the Job with what was in it.
	if got := state(t, s); got.Jobs != 0 || got.InHand != 0 || got.JobsBytes != 0 {
		t.Errorf("state %+v", got)
	}
}

// TestFullQueue: a queue that is full refuses new Jobs and keeps the old ones.
func TestFullQueue(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{JobsMaxBytes: 10_000})
	n := 0
	for {
		n++
		if _, err := s.PublishJob(t.Context(), job(t, n)); err != nil {
			break
		}
	}
	if got := state(t, s); int(got.Jobs) != n-1 {
		t.Errorf("%d jobs, want %d", got.Jobs, n-1)
	}
	if err := next(t, s).Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, s, n)
}

// TestNextEnds: when the context ends so does Next, and takes no Job with it.
func TestNextEnds(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	for round := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		taken := make(chan *stream.Delivery, 4)
		for range 4 {
			waiting.Go(func() {
				d, err := s.Next(ctx)
				if err == nil {
					taken <- d
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		go cancel()
		publish(t, s, round)
		waiting.Wait()
		close(taken)
		for d := range taken {
			if err := d.Nak(t.Context(), 0); err != nil {
				t.Error(err)
			}
		}
	}
	seen := map[store.MessageSID]bool{}
	for len(seen) < 20 {
		d := next(t, s)
		seen[d.Message] = true
		if err := d.Ack(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestServerRestart: Next waits out a server that goes away, and no Job is lost.
func TestServerRestart(t *testing.T) {
	options := server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true}
	start := func() *server.Server {
		o := options
		running, err := server.NewServer(&o)
		if err != nil {
			t.Fatal(err)
		}
		running.Start()
		if !running.ReadyForConnections(patience) {
			t.Fatal("nats-server does not start")
		}
		return running
	}
	running := start()
	conn, err := nats.Connect(running.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	options.Port = addrPort(t, running)
	s := open(t, conn, stream.Options{})
	publish(t, s, 1)
	delivered := make(chan *stream.Delivery)
	waiting := make(chan struct{})
	go func() {
		first, err := s.Next(t.Context())
		if err != nil {
			t.Error(err)
		}
		close(waiting)
		_ = first
		for {
			d, err := s.Next(t.Context())
			if err == nil {
				delivered <- d
				return
			}
			if t.Context().Err() != nil {
				return
			}
		}
	}()
	<-waiting
	running.Shutdown()
	running.WaitForShutdown()
	running = start()
	defer running.Shutdown()
	for {
		if _, err := s.PublishJob(t.Context(), job(t, 2)); err == nil {
			break
		}
	}
	select {
	case d := <-delivered:
		if d.Job != job(t, 2) {
			t.Errorf("job of %s", d.Message)
		}
	case <-time.After(patience):
		t.Fatal("no job after the restart")
	}
}

func addrPort(t *testing.T, s *server.Server) int {
	t.Helper()
	var port int
	if _, err := fmt.Sscanf(s.ClientURL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}

// TestMalformedSubject: what no version of this program can have queued is taken
// off the queue, and said.
func TestMalformedSubject(t *testing.T) {
	conn := storetest.StartNATS(t)
	s := open(t, conn, stream.Options{})
	if err := conn.Publish("mms.job.inbound.AC1.MM1", nil); err != nil {
		t.Fatal(err)
	}
	publish(t, s, 1)
	if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "malformed SID") {
		t.Errorf("error %v", err)
	}
	if d := next(t, s); d.Job != job(t, 1) {
		t.Errorf("job of %s", d.Message)
	}
}

func fact(t *testing.T, n int) stream.Event {
	return stream.Event{
		Type: stream.EventStored, Account: account(t, 1), Message: job(t, 1).Message, ID: fmt.Sprint("stored:", n),
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: map[string]int{"n": n},
	}
}

func TestEvents(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	for n := 1; n <= 3; n++ {
		if sequence, err := s.Publish(t.Context(), fact(t, n)); err != nil || sequence != uint64(n) {
			t.Errorf("publish %d: sequence %d, %v", n, sequence, err)
		}
	}
	if sequence, err := s.Publish(t.Context(), fact(t, 2)); err != nil || sequence != 2 {
		t.Errorf("the same fact again: sequence %d, %v; want its first", sequence, err)
	}
	entries, err := s.Events(t.Context(), stream.Query{}, 10)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d events, %v", len(entries), err)
	}
	const want = `{"specversion":"1.0","id":"stored:1","source":"/2010-04-01/Accounts/AC00000000000000000000000000000001",` +
		`"type":"mms.stored","subject":"MM00000000000000000000000000000001","datacontenttype":"application/json","time":"2026-01-02T03:04:05Z","data":{"n":1},"sequence":"1"}`
	if got := string(entries[0].JSON); got != want {
		t.Errorf("event %s\nwant  %s", got, want)
	}
	if _, err := s.Publish(t.Context(), stream.Event{Type: stream.EventStored, Account: account(t, 1)}); err == nil {
		t.Error("an event without an id is published")
	}
}

// TestExpired: a reader whose position has fallen out is told what there is.
func TestExpired(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{FeedMaxBytes: 5000})
	for n := range 100 {
		if _, err := s.Publish(t.Context(), fact(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Events(t.Context(), stream.Query{After: 1}, 10)
	expired, ok := errors.AsType[*stream.ExpiredError](err)
	if !ok || expired.First < 3 || expired.Last != 100 || expired.After != 1 {
		t.Fatalf("error %v", err)
	}
	entries, err := s.Events(t.Context(), stream.Query{After: expired.First - 1}, 1)
	if err != nil || len(entries) != 1 || entries[0].Sequence != expired.First {
		t.Errorf("from the first on: %v, %v", entries, err)
	}
	for _, err := range s.Follow(t.Context(), stream.Query{After: 1}) {
		if _, ok := errors.AsType[*stream.ExpiredError](err); !ok {
			t.Errorf("follow: %v", err)
		}
	}
}

// TestFollow: what is published while a reader reads comes once and in order, and
// the reader's consumer is gone when it has finished.
func TestFollow(t *testing.T) {
	conn := storetest.StartNATS(t)
	s := open(t, conn, stream.Options{})
	const n = 500
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range n {
			if _, err := s.Publish(t.Context(), fact(t, i)); err != nil {
				t.Error(err)
			}
		}
	})
	defer publishing.Wait() // an event may be read before its publication is acknowledged
	var sequences []uint64
	for entry, err := range s.Follow(t.Context(), stream.Query{Account: account(t, 1), Types: []string{stream.EventStored}}) {
		if err != nil {
			t.Fatal(err)
		}
		if sequences = append(sequences, entry.Sequence); len(sequences) == n {
			break
		}
	}
	if !slices.IsSorted(sequences) || sequences[0] != 1 || sequences[n-1] != n {
		t.Errorf("sequences %v", sequences)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Follow(ctx, stream.Query{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := js.Stream(t.Context(), "MMS_FEED")
	if err != nil {
		t.Fatal(err)
	}
	if n := feed.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}
