// Package health tells whether a process can do the work of its roles, and which of
// the things that it stands on does not answer.
//
// A process is ready when what its roles need is there, and nothing else counts: a
// receiver that can queue webhooks is ready while the object store is away. Each
// dependency is asked beside the others and has a time of its own to answer, so that
// one that hangs is not blamed on another.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"mmspipe/store/stream"
)

const (
	// Budget is how long each dependency may take to answer.
	Budget = 2 * time.Second

	// fresh is how long [Checker.Brief] repeats an answer. Balancers ask every few
	// seconds, and strangers as often as they like.
	fresh = time.Second
)

// Probes are how a process asks what it stands on. All must be set.
type Probes struct {
	Queue      func(ctx context.Context) (*stream.State, error) // the state is nil if it is not known
	Objects    func(ctx context.Context) error
	Disk       func() error
	Durability func() Durability
}

// Needs are the dependencies without which a process cannot do the work of its roles.
// It always needs the queue.
type Needs struct {
	Objects bool
	Disk    bool // of the data directory
	Durable bool // a queue whose acknowledgements survive power loss
}

// Checker answers whether a process is ready.
type Checker struct {
	probes Probes
	needs  Needs

	mu      sync.Mutex
	recent  Report // as it was at checked
	checked time.Time
}

// New returns a Checker.
func New(p Probes, n Needs) *Checker { return &Checker{probes: p, needs: n} }

// Report is how a process and its dependencies are.
type Report struct {
	Ready      bool          `json:"ready"`
	Queue      Dependency    `json:"queue"`
	Durability Durability    `json:"durability"`
	Objects    Dependency    `json:"objects"`
	Disk       Dependency    `json:"disk"`
	Streams    *stream.State `json:"streams,omitempty"` // nil where the queue does not answer
}

// Dependency is whether something is there.
type Dependency struct {
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"` // the process is not ready without it
	Error  string `json:"error,omitempty"`
}

// Durability is what an acknowledged webhook survives.
type Durability struct {
	Class  stream.Class `json:"class"` // fsync, replicated, lazy or unknown
	Reason string       `json:"reason"`
}

// Check asks every dependency now. It returns within [Budget].
func (c *Checker) Check(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	r := Report{Durability: c.probes.Durability(), Disk: newDependency(c.probes.Disk(), c.needs.Disk)}
	var asking sync.WaitGroup
	asking.Go(func() { r.Objects = newDependency(c.probes.Objects(ctx), c.needs.Objects) })
	asking.Go(func() {
		state, err := c.probes.Queue(ctx)
		r.Queue, r.Streams = newDependency(err, true), state
	})
	asking.Wait()
	r.Ready = r.Durability.Class.Durable() || !c.needs.Durable
	for _, d := range []Dependency{r.Queue, r.Objects, r.Disk} {
		r.Ready = r.Ready && (d.OK || !d.Needed)
	}
	return r
}

// Away names the dependencies that do not answer, needed or not, and says why; empty if
// all do. A full disk still answers.
func (r Report) Away() string {
	var away []string
	if !r.Queue.OK {
		away = append(away, "the queue does not answer: "+r.Queue.Error)
	}
	if !r.Objects.OK {
		away = append(away, "the object store does not answer: "+r.Objects.Error)
	}
	return strings.Join(away, "; ")
}

// NotReady says why the process is not ready; empty if it is.
func (r Report) NotReady() string {
	if r.Ready {
		return ""
	}
	var why []string
	for _, d := range []struct {
		Dependency
		name string
	}{{r.Queue, "queue"}, {r.Objects, "object store"}, {r.Disk, "disk"}} {
		if d.Needed && !d.OK {
			why = append(why, d.name+": "+d.Error)
		}
	}
	if len(why) == 0 {
		return "what the queue acknowledges may not survive power loss: " + r.Durability.Reason
	}
	return strings.Join(why, "; ")
}

// Status is the HTTP status that says whether the process is ready.
func (r Report) Status() int {
	if r.Ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// Brief answers the outside, which learns nothing but whether the process is ready. The
// answer may be a second old, so that asking costs nothing. Those who ask while the
// dependencies are being asked wait for that.
func (c *Checker) Brief(w http.ResponseWriter, r *http.Request) {
	report := c.lately(context.WithoutCancel(r.Context())) // it is for the others too
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(report.Status())
	answer := "ready\n"
	if !report.Ready {
		answer = "not ready\n"
	}
	_, _ = io.WriteString(w, answer) // a client that has gone cannot be told
}

func (c *Checker) lately(ctx context.Context) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) > fresh {
		c.recent, c.checked = c.Check(ctx), time.Now()
	}
	return c.recent
}

func newDependency(err error, needed bool) Dependency {
	d := Dependency{OK: err == nil, Needed: needed}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.Error = fmt.Sprintf("no answer in %v", Budget)
	case err != nil:
		d.Error = WithoutURL(err)
	}
	return d
}

// WithoutURL is the text of an error without the URL of the request that failed, which
// is long and may be signed. The client of the object store repeats it in its own text.
func WithoutURL(err error) string {
	failed, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err.Error()
	}
	cause := strings.ReplaceAll(failed.Err.Error(), " "+failed.URL, "")
	return strings.ReplaceAll(err.Error(), failed.Error(), cause)
}
