package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// healthTimeout is how long a dependency may take to answer.
const healthTimeout = 2 * time.Second

// health answers whether the service can do its work.
type health struct {
	queue          *queue
	records        *store.Store
	disk           *disk
	requireDurable bool
}

// Report is /readyz on the admin listener.
type Report struct {
	Ready      bool                `json:"ready"`
	Queue      Dependency          `json:"queue"`
	Durability operator.Durability `json:"durability"`
	Objects    Dependency          `json:"objects"`
	Disk       Dependency          `json:"disk"`
	Streams    *stream.State       `json:"streams,omitempty"`
}

// Dependency is whether something that the service needs is there.
type Dependency struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (h *health) check(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	var r Report
	state, err := h.queue.streams.State(ctx)
	r.Queue = newDependency(err)
	if err == nil {
		r.Streams = &state
	}
	if stuck := h.queue.streams.Stuck(); err == nil && stuck > stuckFor {
		r.Queue = newDependency(fmt.Errorf("publishes have had no answer for %v", stuck.Round(time.Second)))
	}
	r.Durability = *h.queue.durability.Load()
	r.Objects = newDependency(h.records.Ping(ctx))
	r.Disk = newDependency(h.disk.check())
	r.Ready = r.Queue.OK && r.Objects.OK && r.Disk.OK && (r.Durability.Class.Durable() || !h.requireDurable)
	return r
}

func newDependency(err error) Dependency {
	if err != nil {
		return Dependency{Error: err.Error()}
	}
	return Dependency{OK: true}
}

func (r Report) status() int {
	if r.Ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// brief is for the outside, which learns nothing but the answer.
func (h *health) brief(w http.ResponseWriter, r *http.Request) {
	report := h.check(r.Context())
	w.WriteHeader(report.status())
	if report.Ready {
		_, _ = io.WriteString(w, "ready\n")
	} else {
		_, _ = io.WriteString(w, "not ready\n")
	}
}

// detail is for the operator.
func (h *health) detail(w http.ResponseWriter, r *http.Request) {
	report := h.check(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(report.status())
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(report) // a client that has gone cannot be told
}
