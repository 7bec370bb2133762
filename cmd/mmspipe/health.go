package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"mmspipe/store/stream"
)

// healthTimeout is how long a dependency may take to answer.
const healthTimeout = 2 * time.Second

// health answers whether the service can do its work.
type health struct{ *service }

// report is /readyz on the admin listener.
type report struct {
	Ready      bool          `json:"ready"`
	Queue      dependency    `json:"queue"`
	Durability durability    `json:"durability"`
	Objects    dependency    `json:"objects"`
	Disk       dependency    `json:"disk"`
	Streams    *stream.State `json:"streams,omitempty"`
}

// durability is what an acknowledged webhook survives.
type durability struct {
	Class  stream.Class `json:"class"` // fsync, replicated, lazy or unknown
	Reason string       `json:"reason"`
}

type dependency struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (h *health) check(ctx context.Context) report {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	var r report
	state, err := h.streams.State(ctx)
	r.Queue = newDependency(err)
	if err == nil {
		r.Streams = &state
	}
	if stuck := h.streams.Stuck(); err == nil && stuck > stuckFor {
		r.Queue = newDependency(fmt.Errorf("publishes have had no answer for %v", stuck.Round(time.Second)))
	}
	class := h.class.Load()
	r.Durability = durability{class.Class, class.reason}
	r.Objects = newDependency(h.records.Ping(ctx))
	r.Disk = newDependency(h.disk.check())
	r.Ready = r.Queue.OK && r.Objects.OK && r.Disk.OK && (class.Durable() || !h.requireDurable)
	return r
}

func newDependency(err error) dependency {
	if err != nil {
		return dependency{Error: err.Error()}
	}
	return dependency{OK: true}
}

func (r report) status() int {
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

// detail is for the house.
func (h *health) detail(w http.ResponseWriter, r *http.Request) {
	report := h.check(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(report.status())
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(report) // a client that has gone cannot be told
}
