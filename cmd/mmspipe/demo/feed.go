package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// event is an event of the feed, as far as the demo reads it.
type event struct {
	Type    string `json:"type"`
	Subject string `json:"subject"`
	Data    data   `json:"data"`
}

type data struct {
	AccountSID   string    `json:"accountSid"`
	MessageSID   string    `json:"messageSid"`
	MediaSID     string    `json:"mediaSid"`
	ContentType  string    `json:"contentType"`
	Bytes        uint64    `json:"bytes"`
	Width        int       `json:"width"`
	Height       int       `json:"height"`
	Variants     []variant `json:"variants"`
	Note         string    `json:"note"`
	Milliseconds int64     `json:"milliseconds"`
	Reason       string    `json:"reason"` // why it failed
	Detail       string    `json:"detail"`
}

type variant struct {
	Name         string `json:"name"`
	ContentType  string `json:"contentType"`
	Bytes        uint64 `json:"bytes"`
	Width        int    `json:"width"`
	Height       int    `json:"height"`
	Quality      int    `json:"quality"`
	PassThrough  bool   `json:"passThrough"`
	Milliseconds int64  `json:"milliseconds"`
}

// follow reads the feed of the account as server-sent events, from a time on. The
// channel is closed when ctx ends or the feed breaks off.
func follow(ctx context.Context, origin *url.URL, since time.Time) (<-chan event, error) {
	address := origin.JoinPath("feed")
	address.RawQuery = url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(account, token)
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("the feed was answered %s", response.Status)
	}
	events := make(chan event)
	go func() {
		defer close(events)
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), "data: ")
			var e event
			if !ok || json.Unmarshal([]byte(text), &e) != nil {
				continue // an empty line, a comment or another field
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}
