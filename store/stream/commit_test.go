package stream_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// TestSharedCommits publishes from many goroutines, some Jobs several times, some
// of them known before: each is queued once, everybody is answered, and exactly
// one of those who publish the same is told that it is new.
func TestSharedCommits(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{BatchFrom: 4})
	const jobs, times, known = 400, 3, 20
	for n := range known {
		publish(t, s, n)
	}
	var first [jobs]atomic.Int32
	var publishing sync.WaitGroup
	for range times {
		for n := range jobs {
			publishing.Go(func() {
				duplicate, err := s.PublishJob(t.Context(), job(t, n))
				if err != nil {
					t.Error(err)
				}
				if !duplicate {
					first[n].Add(1)
				}
			})
		}
	}
	publishing.Wait()
	for n := range jobs {
		want := int32(1)
		if n < known {
			want = 0
		}
		if got := first[n].Load(); got != want {
			t.Errorf("job %d is new to %d of those who publish it, want %d", n, got, want)
		}
	}
	if got := state(t, s).Jobs; got != jobs {
		t.Errorf("%d jobs queued, want %d", got, jobs)
	}
	// What went through a batch is delivered like any other Job.
	var ids []string
	for range jobs {
		d := next(t, s)
		var n int
		form, err := d.Form()
		if _, scanErr := fmt.Sscanf(form.Get("Body"), "text %d", &n); err != nil || scanErr != nil || d.Job != job(t, n) {
			t.Errorf("job of %s holds %v, %v", d.Message, form, err)
		}
		ids = append(ids, d.Message.String())
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != jobs {
		t.Error("a job was delivered twice")
	}
}

// TestSharedCommitsFull: a stream that is full refuses Jobs of a batch like single
// ones, and keeps what it took.
func TestSharedCommitsFull(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{BatchFrom: 4, JobsMaxBytes: 20_000})
	var taken, refused atomic.Int32
	var publishing sync.WaitGroup
	for n := range 300 {
		publishing.Go(func() {
			if _, err := s.PublishJob(t.Context(), job(t, n)); err != nil {
				refused.Add(1)
			} else {
				taken.Add(1)
			}
		})
	}
	publishing.Wait()
	if got := state(t, s).Jobs; got != uint64(taken.Load()) || refused.Load() == 0 {
		t.Errorf("%d jobs queued, %d acknowledged, %d refused", got, taken.Load(), refused.Load())
	}
	if s.Stuck() != 0 {
		t.Error("a stream that says that it is full is taken for stuck")
	}
}

// TestBatchFrom: the slower the disk, the sooner a batch pays.
func TestBatchFrom(t *testing.T) {
	fast, slow := stream.BatchFrom(200*time.Microsecond), stream.BatchFrom(2*time.Millisecond)
	if fast < 15 || fast > 30 || slow < 4 || slow > 10 {
		t.Errorf("batches from %d on a fast disk and %d on a slow one", fast, slow)
	}
	if d, err := stream.SyncTime(t.TempDir()); err != nil || d <= 0 {
		t.Errorf("a sync takes %v, %v", d, err)
	}
}

// BenchmarkPublishJob compares one publish for each caller with shared commits.
// testdata/bench/slowsync runs it on a disk that is slow to sync.
func BenchmarkPublishJob(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		for _, commit := range []string{"each", "shared"} {
			b.Run(fmt.Sprintf("callers=%d/commit=%s", callers, commit), func(b *testing.B) {
				var options stream.Options
				if commit == "shared" {
					options.BatchFrom = stream.BatchFrom(syncTime(b))
				}
				s, err := stream.Open(b.Context(), syncedNATS(b), options)
				if err != nil {
					b.Fatal(err)
				}
				publishFrom(b, s, callers)
			})
		}
	}
}

// publishFrom publishes b.N Jobs from as many goroutines.
func publishFrom(b *testing.B, s *stream.Streams, callers int) {
	latencies := make([]time.Duration, b.N)
	var count atomic.Int64
	var publishing sync.WaitGroup
	b.ResetTimer()
	for range callers {
		publishing.Go(func() {
			for n := int(count.Add(1)); n <= b.N; n = int(count.Add(1)) {
				start := time.Now()
				if _, err := s.PublishJob(b.Context(), job(b, n)); err != nil {
					b.Error(err)
				}
				latencies[n-1] = time.Since(start)
			}
		})
	}
	publishing.Wait()
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[b.N/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// syncTime is the median time of a sync of a small file where benchmarks keep
// their streams.
func syncTime(b *testing.B) time.Duration {
	d, err := stream.SyncTime(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// syncedNATS syncs before it acknowledges, as the embedded server does.
func syncedNATS(b *testing.B) *nats.Conn {
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: b.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	b.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	return conn
}
