package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/dustin/go-humanize"
)

// narrator is a writer of the service's log that tells it as a story: the lines
// of each message's way, for the demo.
type narrator struct {
	out io.Writer

	mu     sync.Mutex
	origin string // of the service, for the URLs
}

// logLine is what the narrator reads of a line of the log.
type logLine struct {
	Level   string `json:"level"`
	Message string `json:"message"`
	Error   string `json:"error"`

	Account string  `json:"accountSid"`
	SID     string  `json:"messageSid"`
	Media   string  `json:"mediaSid"`
	Ms      float64 `json:"ms"`

	Bytes      uint64 `json:"bytes"`
	Type       string `json:"type"`
	Note       string `json:"note"`
	Variant    string `json:"variant"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	FromBytes  uint64 `json:"from_bytes"`
	FromWidth  int    `json:"from_width"`
	FromHeight int    `json:"from_height"`
	Quality    int    `json:"quality"`
	Through    bool   `json:"pass_through"`
}

// begin says what is running.
func (n *narrator) begin(s *service) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.origin = s.publicURL.String()
	fmt.Fprintf(n.out, "mmspipe is at %s, its data in %s.\nA simulated Twilio at %s hosts the media and signs the webhooks.\n",
		n.origin, s.data, s.upstream)
}

// Write implements io.Writer for a zerolog.Logger, which writes a line at a time.
func (n *narrator) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var l logLine
	if err := json.Unmarshal(p, &l); err != nil {
		return 0, err
	}
	size := humanize.Bytes
	switch l.Message {
	case "webhook queued":
		fmt.Fprintf(n.out, "\n%s\n", l.SID)
		n.step("received", "webhook verified and durable in the queue, %.1f ms", l.Ms)
	case "fetched":
		n.step("fetched", "%s in %.0f ms", size(l.Bytes), l.Ms)
	case "fitted":
		n.step("fitted", "%-6s %d×%d %s → %d×%d %s, %s", l.Variant,
			l.FromWidth, l.FromHeight, size(l.FromBytes), l.Width, l.Height, size(l.Bytes), how(l))
	case "stored":
		n.step("stored", "%s %s", l.Type, size(l.Bytes))
		if l.Note != "" {
			n.step("", "%s", l.Note)
		}
		n.step("", "%s/2010-04-01/Accounts/%s/Messages/%s/Media/%s", n.origin, l.Account, l.SID, l.Media)
	default:
		if l.Level == "warn" || l.Level == "error" {
			n.step(l.Level, "%s: %s", l.Message, l.Error)
		}
	}
	return len(p), nil
}

func (n *narrator) step(name, format string, args ...any) {
	fmt.Fprintf(n.out, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
}

func how(l logLine) string {
	switch {
	case l.Through:
		return l.Type + ", passed through"
	case l.Quality > 0:
		return fmt.Sprintf("%s, quality %d, %.0f ms", l.Type, l.Quality, l.Ms)
	}
	return fmt.Sprintf("%s, %.0f ms", l.Type, l.Ms)
}
