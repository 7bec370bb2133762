package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// healthTimeout is how long a dependency may take to answer.
const healthTimeout = 2 * time.Second

// health answers whether the service can do its work.
type health struct {
	store   *store.Store
	streams *stream.Streams
}

// report is /readyz on the admin listener.
type report struct {
	Ready   bool          `json:"ready"`
	Queue   dependency    `json:"queue"`
	Objects dependency    `json:"objects"`
	Streams *stream.State `json:"streams,omitempty"`
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
	r.Objects = newDependency(h.store.Ping(ctx))
	r.Ready = r.Queue.OK && r.Objects.OK
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
