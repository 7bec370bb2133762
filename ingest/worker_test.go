package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// queued counts the messages that queue has made up.
var queued atomic.Int64

// queue publishes the Job of a message with one medium at an address.
func queue(h *ingesttest.House, address string) {
	h.Helper()
	hook, err := webhook.Parse(url.Values{
		"AccountSid": {ingesttest.AccountSID}, "MessageSid": {fmt.Sprintf("MM%032x", queued.Add(1))},
		"NumMedia": {"1"}, "MediaUrl0": {address}, "MediaContentType0": {"image/jpeg"},
	})
	if err != nil {
		h.Fatal(err)
	}
	h.Queue(hook.Job(store.New(nil, ingesttest.Secret)))
}

// worker is one whose handler of inbound messages is given.
func worker(h *ingesttest.House, handler ingest.Handler) *ingest.Worker {
	return ingest.NewWorker(ingest.Options{Streams: h.Streams, Log: zerolog.Nop(), Jobs: 1, Handlers: map[stream.Kind]ingest.Handler{stream.Inbound: handler}})
}

// TestSettle: a Job leaves the queue when it is done or its message is deleted, and only
// then. Otherwise it is delivered again.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		again bool
	}{
		{"done", nil, false},
		{"deleted", fmt.Errorf("note: %w", store.ErrDeleted), false},
		{"a bucket away", errors.New("put: connection refused"), true},
		{"not its turn", ingest.NotYet("another waits"), true},
		{"a delay of its own", &ingest.Later{Delay: time.Millisecond, Err: errors.New("settling")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := ingesttest.New(t)
			queue(h, "http://127.0.0.1:1/")
			worker(h, func(context.Context, *stream.Delivery) error { return c.err }).Do(t.Context(), h.Take())
			if left := h.Queued(); left != 0 != c.again {
				t.Fatalf("%d jobs left", left)
			}
			if !c.again {
				return
			}
			if d := h.Take(); d.Attempt != 2 || d.Abandoned {
				t.Errorf("attempt %d, abandoned %v", d.Attempt, d.Abandoned)
			}
		})
	}
}

// TestNewerKind: a Job of a kind that this version does not know stays in the queue for
// one that does.
func TestNewerKind(t *testing.T) {
	h := ingesttest.New(t)
	queue(h, "http://127.0.0.1:1/")
	none := ingest.NewWorker(ingest.Options{Streams: h.Streams, Log: zerolog.Nop()})
	none.Do(t.Context(), h.Take())
	if d := h.Take(); d.Attempt != 2 {
		t.Errorf("attempt %d", d.Attempt)
	}
}

// TestHandBack: a worker that stops finishes the Job in hand, or hands it back at once
// when its time to drain is over, whatever its handler makes of that.
func TestHandBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		drain time.Duration
		left  bool
	}{{"drained", ingesttest.Patience, false}, {"cut short", time.Nanosecond, true}} {
		t.Run(c.name, func(t *testing.T) {
			h := ingesttest.New(t)
			queue(h, "http://127.0.0.1:1/")
			begun, finish := make(chan struct{}), make(chan struct{})
			w := worker(h, func(ctx context.Context, _ *stream.Delivery) error {
				close(begun)
				select {
				case <-finish:
					return nil
				case <-ctx.Done():
					return &ingest.Later{Delay: time.Hour, Err: fmt.Errorf("put: %w", ctx.Err())}
				}
			})
			w.Drain = c.drain
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { w.Run(ctx) })
			<-begun
			stop()
			if !c.left {
				close(finish)
			}
			running.Wait()
			if left := h.Queued(); left != 0 != c.left {
				t.Fatalf("%d jobs left", left)
			}
			if c.left {
				if d := h.Take(); d.Attempt != 2 || d.Abandoned { // not after the hour
					t.Errorf("attempt %d, abandoned %v", d.Attempt, d.Abandoned)
				}
			}
		})
	}
}

// TestHold: a worker that holds begins no Job, and goes on when it does not any more.
func TestHold(t *testing.T) {
	h := ingesttest.New(t)
	queue(h, "http://127.0.0.1:1/")
	var held atomic.Int64
	var begun atomic.Bool
	const looks = 3
	w := worker(h, func(context.Context, *stream.Delivery) error {
		begun.Store(true)
		return nil
	})
	w.Hold = func() bool {
		if n := held.Add(1); n <= looks {
			if begun.Load() {
				t.Error("a job was begun")
			}
			return true
		}
		return false
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	defer running.Wait()
	defer stop()
	h.Eventually("the job is done", func() bool { return h.Queued() == 0 })
	if held.Load() <= looks {
		t.Errorf("it was asked %d times", held.Load())
	}
}

// TestWaitingJobs: 5,000 Jobs that wait for their next try do not hold up a
// fresh one.
func TestWaitingJobs(t *testing.T) {
	h := ingesttest.New(t)
	for range 5000 {
		queue(h, "http://127.0.0.1:1/")
		// Far longer than the test takes.
		if err := h.Take().Nak(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	r := h.Rooms(storetest.OpenDir(t))
	h.Run(r)
	sent := h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG}})
	h.AwaitStored(r, sent)
}

// TestDueRetries: 5,000 Jobs whose host stalls, all due again before a fresh
// message from another host comes, hold it up for seconds and not for the hours
// that it would take to wait for each.
func TestDueRetries(t *testing.T) {
	h := ingesttest.New(t)
	stalled := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(func() { stalled.CloseClientConnections(); stalled.Close() })
	h.Permit(stalled.URL)
	r := h.Rooms(storetest.OpenDir(t))
	var deliveries sync.WaitGroup
	for range 16 {
		deliveries.Go(func() {
			for range 5000 / 16 {
				queue(h, stalled.URL)
				deliverOnce(h, r)
			}
		})
	}
	deliveries.Wait()
	h.Run(r)
	sent := h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG}})
	start := time.Now()
	h.AwaitStored(r, sent)
	t.Logf("the fresh message was stored after %v", time.Since(start).Round(time.Millisecond))
}

// deliverOnce takes a Job as far as the record of its message and gives it back,
// due at once.
func deliverOnce(h *ingesttest.House, r *ingesttest.Rooms) {
	d := h.Take()
	hook, err := webhook.ParseJob(d.Job)
	if err == nil {
		_, _, err = r.Store.CreateMessage(h.Context(), hook.Record(d.Queued))
	}
	if err := errors.Join(err, d.Nak(h.Context(), 0)); err != nil {
		h.Error(err)
	}
}
