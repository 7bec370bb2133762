package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store/stream"

	"github.com/dustin/go-humanize"
)

// story tells what becomes of messages, a few lines for each.
type story struct {
	out    io.Writer
	origin *url.URL // of the service
}

// received begins the lines of a message.
func (s story) received(message string, took time.Duration) {
	fmt.Fprintf(s.out, "\n%s\n", message)
	s.step("received", "webhook verified and durable in the queue, %.1f ms", float64(took.Microseconds())/1000)
}

// tell reads the feed until all media of a message are stored or given up. The error
// says which were given up.
func (s story) tell(ctx context.Context, feed <-chan event, sent simulate.Sent) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var failures []error
	for missing := len(sent.MediaSIDs); missing > 0; {
		select {
		case e, ok := <-feed:
			switch {
			case !ok:
				return errors.New("the feed broke off")
			case !strings.HasPrefix(e.Subject, sent.MessageSID):
			case e.Type == stream.EventStored:
				s.stored(e.Data)
				missing--
			case e.Type == stream.EventFailed:
				s.step("failed", "%s: %s", e.Data.Reason, e.Data.Detail)
				failures = append(failures, errors.New(e.Data.Detail))
				missing--
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errors.Join(failures...)
}

func (s story) stored(d data) {
	for _, v := range d.Variants {
		s.step("fitted", "%-6s %s → %s, %s", v.Name, describe(d.Width, d.Height, d.Bytes), describe(v.Width, v.Height, v.Bytes), how(v))
	}
	s.step("stored", "%s, %s, %d ms in all", d.ContentType, humanize.Bytes(d.Bytes), d.Milliseconds)
	if d.Note != "" {
		s.step("", "%s", d.Note)
	}
	s.step("", "%s/2010-04-01/Accounts/%s/Messages/%s/Media/%s", s.origin, d.AccountSID, d.MessageSID, d.MediaSID)
}

func (s story) step(name, format string, args ...any) {
	fmt.Fprintf(s.out, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
}

func describe(width, height int, size uint64) string {
	return fmt.Sprintf("%d×%d %s", width, height, humanize.Bytes(size))
}

// how says how a variant was made.
func how(v variant) string {
	switch {
	case v.PassThrough:
		return v.ContentType + ", passed through"
	case v.Quality > 0:
		return fmt.Sprintf("%s, quality %d, %d ms", v.ContentType, v.Quality, v.Milliseconds)
	}
	return fmt.Sprintf("%s, %d ms", v.ContentType, v.Milliseconds)
}
