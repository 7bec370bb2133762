package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"
)

const (
	feedPage    = 100  // events of a page
	feedPageMax = 1000 // that may be asked for

	// heartbeat keeps proxies from closing a stream on which nothing happens; the
	// HTML standard suggests a comment every 15 seconds (section 9.2.7).
	heartbeat = 15 * time.Second

	// retry is how long a client is asked to wait before it connects again, in
	// milliseconds.
	retry = 2000
)

// feed is GET /feed: a page of events as NDJSON, or all from now on as
// server-sent events where the client accepts those.
func (a *api) feed(w http.ResponseWriter, r *http.Request) error {
	if err := allow(r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	identity, err := a.Keys.Authenticate(r)
	if err != nil {
		return err
	}
	query, limit, err := parseFeed(r)
	if err != nil {
		return err
	}
	if identity.Account != rest.Operator {
		if query.Account, err = store.ParseAccountSID(identity.Account); err != nil {
			return rest.Unauthorized()
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		return a.follow(w, r, query)
	}
	return a.page(w, r, query, limit)
}

// parseFeed reads after, since, type (repeated or with commas) and limit, and the
// Last-Event-ID of a stream that goes on.
func parseFeed(r *http.Request) (stream.Query, int, error) {
	values := r.URL.Query()
	query, limit := stream.Query{}, feedPage
	var err error
	after := values.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		after = last
	}
	if after != "" {
		if query.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return query, 0, rest.BadRequest("Invalid after value.")
		}
	}
	if since := values.Get("since"); since != "" {
		if query.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return query, 0, rest.BadRequest("Invalid since value.")
		}
	}
	if s := values.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			return query, 0, rest.BadRequest("Invalid limit value.")
		}
	}
	for _, list := range values["type"] {
		for name := range strings.SplitSeq(list, ",") {
			if !stream.IsEventType(name) {
				return query, 0, rest.BadRequest("Invalid type value.")
			}
			query.Types = append(query.Types, name)
		}
	}
	return query, min(limit, feedPageMax), nil
}

// page answers with events of the past, one on each line.
func (a *api) page(w http.ResponseWriter, r *http.Request, query stream.Query, limit int) error {
	entries, err := a.Streams.Events(r.Context(), query, limit)
	if expired, ok := errors.AsType[*stream.ExpiredError](err); ok {
		return rest.BadRequest(fmt.Sprintf("Invalid after value: the feed holds %d to %d.", expired.First, expired.Last))
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, e := range entries {
		_, _ = w.Write(append(e.JSON, '\n'))
	}
	return nil
}

// follow answers with server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html): the id is the
// sequence, with which a client goes on after a break. A position that is no
// longer kept is told by an event "expired", which ends the stream.
func (a *api) follow(w http.ResponseWriter, r *http.Request, query stream.Query) error {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("follow feed: %w", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	fmt.Fprintf(w, "retry: %d\n\n", retry)

	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	entries := channel(ctx, a.Streams.Follow(ctx, query))
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if err := control.Flush(); err != nil {
			return nil // the client has gone
		}
		select {
		case next, ok := <-entries:
			if !ok {
				return nil
			}
			if err := sendEvent(w, next); err != nil || next.err != nil {
				return err
			}
		case <-tick.C:
			_, _ = fmt.Fprint(w, ": heartbeat\n\n")
		}
	}
}

// result is what [stream.Streams.Follow] yields.
type result struct {
	entry stream.Entry
	err   error
}

// channel runs a sequence in a goroutine that ends with it or with ctx.
func channel(ctx context.Context, entries iter.Seq2[stream.Entry, error]) <-chan result {
	c := make(chan result)
	go func() {
		defer close(c)
		for entry, err := range entries {
			if ctx.Err() != nil {
				return // nobody listens any more
			}
			select {
			case c <- result{entry, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

// sendEvent writes one event, or tells a client that its position is not kept any
// more. Any other error of the feed is returned: the client connects again.
func sendEvent(w http.ResponseWriter, next result) error {
	if next.err == nil {
		fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", next.entry.Sequence, next.entry.Type, next.entry.JSON)
		return nil
	}
	expired, ok := errors.AsType[*stream.ExpiredError](next.err)
	if !ok {
		return next.err
	}
	data, _ := json.Marshal(map[string]uint64{"after": expired.After, "first": expired.First, "last": expired.Last})
	fmt.Fprintf(w, "event: expired\ndata: %s\n\n", data)
	_ = http.NewResponseController(w).Flush()
	return nil
}
