package servicetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/ingest/simulate"
)

// Client does with a service what the world outside does.
type Client struct {
	T      testing.TB
	Twilio *simulate.Simulator
	Public string // origins
	Admin  string
	Log    func() string // what the service has logged, for a test that fails
}

// Readyz is /readyz of the admin listener.
func (c *Client) Readyz() (status int, r health.Report) {
	c.T.Helper()
	response, err := http.Get(c.Admin + "/readyz")
	if err != nil {
		c.T.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		c.T.Fatal(err)
	}
	return response.StatusCode, r
}

// Eventually polls until check is true.
func (c *Client) Eventually(what string, check func() bool) {
	c.T.Helper()
	c.Within(Patience, what, check)
}

// Within polls until check is true, for some time at most.
func (c *Client) Within(limit time.Duration, what string, check func() bool) {
	c.T.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			c.T.Fatalf("not in %v: %s\n%s", limit, what, c.Log())
		}
	}
}

// Send sends a message and wants the webhook answered 200 with empty TwiML.
func (c *Client) Send(m simulate.Message) simulate.Sent {
	c.T.Helper()
	sent, err := c.Twilio.Send(c.T.Context(), m)
	if err != nil {
		c.T.Fatal(err)
	}
	if sent.Status != http.StatusOK || !strings.Contains(sent.Body, "<Response/>") {
		c.T.Fatalf("webhook answered %d %q", sent.Status, sent.Body)
	}
	return sent
}

// Get reads a path of the public listener with the account's credentials.
func (c *Client) Get(path string) (*http.Response, []byte) {
	c.T.Helper()
	request, err := http.NewRequestWithContext(c.T.Context(), http.MethodGet, c.Public+path, nil)
	if err != nil {
		c.T.Fatal(err)
	}
	request.SetBasicAuth(Account, Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.T.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.T.Fatal(err)
	}
	return response, body
}

// MediaPath is the path of a message's i-th medium here.
func MediaPath(t testing.TB, sent simulate.Sent, i int) string {
	t.Helper()
	u, err := url.Parse(sent.MediaURLs[i])
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}

// AwaitMedium waits until the i-th medium of a message is served and returns it.
func (c *Client) AwaitMedium(sent simulate.Sent, i int) (response *http.Response, body []byte) {
	c.T.Helper()
	path := MediaPath(c.T, sent, i)
	c.Eventually("GET "+path, func() bool {
		response, body = c.Get(path)
		return response.StatusCode == http.StatusOK
	})
	return response, body
}

// Event is what the tests read of an event.
type Event struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Subject  string         `json:"subject"`
	Sequence string         `json:"sequence"`
	Data     map[string]any `json:"data"`
}

// Events reads the account's feed, page by page.
func (c *Client) Events() (events []Event) {
	c.T.Helper()
	for after := ""; ; after = "&after=" + events[len(events)-1].Sequence {
		response, body := c.Get("/feed?limit=1000" + after)
		if response.StatusCode != http.StatusOK {
			c.T.Fatalf("GET /feed: %d %s", response.StatusCode, body)
		}
		for line := range bytes.Lines(body) {
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				c.T.Fatalf("feed: %v in %s", err, line)
			}
			events = append(events, e)
		}
		if len(body) == 0 {
			return events
		}
	}
}

// AwaitEvents waits until the feed has as many events of a type.
func (c *Client) AwaitEvents(kind string, count int) []Event {
	c.T.Helper()
	var found []Event
	c.Eventually(fmt.Sprintf("%d events %s", count, kind), func() bool {
		found = slices.DeleteFunc(c.Events(), func(e Event) bool { return e.Type != kind })
		return len(found) >= count
	})
	if len(found) != count {
		c.T.Fatalf("%d events %s, want %d: %v", len(found), kind, count, found)
	}
	return found
}

// Image reads a file of the project's test pictures.
func Image(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Root(t), "testdata", "images", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Root is the project's directory.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// SHA256 is the hash of data, in hexadecimal.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
