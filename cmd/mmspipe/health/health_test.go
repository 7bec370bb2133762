package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/store/stream"
)

// house is what a process stands on.
type house struct {
	asked                int
	queue, objects, disk error
	queueHangs           bool
}

func (h *house) checker(n health.Needs) *health.Checker {
	return health.New(health.Probes{
		Queue: func(ctx context.Context) (*stream.State, error) {
			if h.queueHangs {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &stream.State{}, h.queue
		},
		Objects: func(ctx context.Context) error {
			h.asked++
			return errors.Join(h.objects, ctx.Err())
		},
		Disk:       func() error { return h.disk },
		Durability: func() health.Durability { return health.Durability{Class: stream.Lazy, Reason: "seen"} },
	}, n)
}

// TestNeeds: a process is ready with what its roles need, whatever else is away.
func TestNeeds(t *testing.T) {
	away := errors.New("away")
	receiver, worker := health.Needs{Disk: true}, health.Needs{Objects: true, Disk: true}
	for _, c := range []struct {
		name  string
		house house
		needs health.Needs
		why   string // not ready; empty if it is
	}{
		{"receiver", house{}, receiver, ""},
		{"receiver without objects", house{objects: away}, receiver, ""},
		{"receiver without a queue", house{queue: away}, receiver, "queue: away"},
		{"receiver with a full disk", house{disk: away}, receiver, "disk: away"},
		{"receiver with its queue elsewhere", house{disk: away}, health.Needs{}, ""},
		{"worker without objects", house{objects: away}, worker, "object store: away"},
		{"worker without anything", house{queue: away, objects: away}, worker, "queue: away; object store: away"},
		{"not durable", house{}, health.Needs{Durable: true}, "may not survive power loss: seen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.house.checker(c.needs).Check(t.Context())
			if r.Ready != (c.why == "") || !strings.Contains(r.NotReady(), c.why) || r.Ready && r.NotReady() != "" {
				t.Errorf("ready: %v, %q; want %q", r.Ready, r.NotReady(), c.why)
			}
		})
	}
}

// TestBudgets: a queue that hangs is given up in time, and is not blamed on the
// objects.
func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{queueHangs: true}
		began := time.Now()
		r := h.checker(health.Needs{Objects: true}).Check(t.Context())
		if took := time.Since(began); took != health.Budget {
			t.Errorf("it took %v", took)
		}
		if !r.Objects.OK || r.Queue.Error != "no answer in 2s" || r.Away() != "the queue does not answer: no answer in 2s" {
			t.Errorf("report %+v", r)
		}
	})
}

// TestBriefIsCheap: however many ask, the dependencies are asked once in a second,
// and a client that goes away does not spoil the answer of the others.
func TestBriefIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		checker := h.checker(health.Needs{Objects: true})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		ask := func(ctx context.Context) (int, string) {
			w := httptest.NewRecorder()
			checker.Brief(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
			return w.Code, w.Body.String()
		}
		ask(gone)
		for range 100 {
			if status, text := ask(t.Context()); status != http.StatusOK || text != "ready\n" {
				t.Fatalf("answered %d %q", status, text)
			}
		}
		if h.asked != 1 {
			t.Errorf("the objects were asked %d times", h.asked)
		}
		h.objects = errors.New("away")
		time.Sleep(2 * time.Second) // of the bubble's clock
		if status, text := ask(t.Context()); status != http.StatusServiceUnavailable || text != "not ready\n" {
			t.Errorf("answered %d %q, two seconds after the objects went away", status, text)
		}
	})
}

// TestWithoutURL: signed links do not reach a report.
func TestWithoutURL(t *testing.T) {
	const link = "http://s3/?X-Amz-Signature=of0a0link"
	for said, want := range map[string]string{"connection refused": "ping: connection refused", "closed by " + link + ". Retry": "ping: closed by. Retry"} {
		h := &house{objects: fmt.Errorf("ping: %w", &url.Error{Op: "Get", URL: link, Err: errors.New(said)})}
		if r := h.checker(health.Needs{}).Check(t.Context()); r.Objects.Error != want {
			t.Errorf("error %q, want %q", r.Objects.Error, want)
		}
	}
}
