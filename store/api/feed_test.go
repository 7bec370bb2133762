package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// publish adds n events of an account to the feed.
func (h *house) publish(account store.AccountSID, kind string, from, n int) (last uint64) {
	h.t.Helper()
	for i := range n {
		sequence, err := h.streams.Publish(h.t.Context(), stream.Event{
			Type: kind, Account: account, ID: fmt.Sprintf("%s:%s:%d", kind, account, from+i), Message: h.message,
			Time: time.Now(), Data: map[string]int{"n": from + i},
		})
		if err != nil {
			h.t.Fatal(err)
		}
		last = sequence
	}
	return last
}

func TestFeedPages(t *testing.T) {
	h := newHouse(t, "public")
	stranger, err := store.ParseAccountSID(other)
	if err != nil {
		t.Fatal(err)
	}
	h.publish(h.account, stream.EventReceived, 0, 3) // 1 to 3
	h.publish(stranger, stream.EventReceived, 0, 2)  // 4 and 5
	h.publish(h.account, stream.EventStored, 0, 2)   // 6 and 7
	for _, c := range []struct {
		path   string
		change func(*http.Request)
		want   string
	}{
		{"/feed", nil, "1 2 3 6 7"},
		{"/feed?limit=2", nil, "1 2"},
		{"/feed?after=2", nil, "3 6 7"},
		{"/feed?after=7", nil, ""},
		{"/feed?type=mms.stored", nil, "6 7"},
		{"/feed?type=mms.stored,mms.received&after=2&limit=2", nil, "3 6"},
		{"/feed?since=2100-01-01T00:00:00Z", nil, ""},
		{"/feed?since=2000-01-01T00:00:00Z", nil, "1 2 3 6 7"},
		{"/feed", as(other, token), "4 5"},
		{"/feed", as("SK2", "operator"), "1 2 3 4 5 6 7"},
	} {
		response, body := h.call("GET", c.path, c.change)
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %d %s", c.path, response.StatusCode, body)
		}
		var sequences []string
		for line := range strings.Lines(body) {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e["specversion"] != "1.0" || e["datacontenttype"] != "application/json" || e["subject"] != message {
				t.Errorf("event %s", line)
			}
			sequences = append(sequences, e["sequence"].(string))
		}
		if got := strings.Join(sequences, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	for _, path := range []string{"/feed?after=x", "/feed?limit=0", "/feed?type=mms.unknown", "/feed?since=yesterday", "/feed?after=99"} {
		response, body := h.call("GET", path, nil)
		var e map[string]any
		if err := json.Unmarshal([]byte(body), &e); err != nil || response.StatusCode != 400 || e["code"] != 20001.0 {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
	}
	if response, _ := h.call("GET", "/feed", anonymous); response.StatusCode != 401 {
		t.Errorf("without credentials: %d", response.StatusCode)
	}
}

// reader reads server-sent events.
type reader struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
}

func (h *house) follow(path, last string) *reader {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.origin+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	request.SetBasicAuth(account, token)
	request.Header.Set("Accept", "text/event-stream")
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%v, %v", response, err)
	}
	h.t.Cleanup(func() { response.Body.Close() })
	return &reader{h.t, response.Body, bufio.NewScanner(response.Body)}
}

// next returns the fields of the next event.
func (r *reader) next() map[string]string {
	r.t.Helper()
	fields := map[string]string{}
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch {
		case r.lines.Text() == "" && fields["event"] != "":
			return fields
		case name != "":
			fields[name] = value
		}
	}
	r.t.Fatalf("the stream ended: %v", r.lines.Err())
	return nil
}

// TestFollow: a reader that is cut off again and again, while events are being
// published, sees each once and in order.
func TestFollow(t *testing.T) {
	h := newHouse(t, "public")
	const n = 300
	go func() {
		for i := range n {
			h.publish(h.account, stream.EventStored, i, 1)
		}
	}()
	r := h.follow("/feed", "")
	for i := range n {
		e := r.next()
		var event struct {
			Data struct {
				N int `json:"n"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(e["data"]), &event); err != nil || event.Data.N != i || e["event"] != "mms.stored" || e["id"] != fmt.Sprint(i+1) {
			t.Fatalf("event %d: %v, %v", i, e, err)
		}
		if i%50 == 49 {
			r.body.Close()
			r = h.follow("/feed", e["id"])
		}
	}
}

func TestFollowExpired(t *testing.T) {
	h := newHouse(t, "public")
	h.publish(h.account, stream.EventStored, 0, 2)
	if e := h.follow("/feed", "99").next(); e["event"] != "expired" || e["data"] != `{"after":99,"first":1,"last":2}` {
		t.Errorf("event %v", e)
	}
}

// TestHeartbeat: a stream on which nothing happens is kept alive by comments.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	r := newHouse(t, "public").follow("/feed", "")
	for r.lines.Scan() {
		if r.lines.Text() == ": heartbeat" {
			return
		}
	}
	t.Errorf("the stream ended: %v", r.lines.Err())
}
