package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/simulate"
)

// load sends messages of all kinds and remembers which were acknowledged.
type load struct {
	twilio *simulate.Simulator
	// trouble is the share of media whose host fails at first.
	trouble float64

	pictures []simulate.Media // small and large
	mu       sync.Mutex
	rand     *rand.Rand
	messages map[string]simulate.Message // all that were sent, by SID

	acknowledged []simulate.Sent
	troubled     int // media whose host failed
}

// permanent is the share of media that cannot be had, ever.
const permanent = 0.03

// temporary are faults of a medium's host that another try outlasts.
var temporary = []simulate.Fault{
	simulate.NotFound, simulate.ServerError, simulate.Unavailable, simulate.TooMany, simulate.Forbidden, simulate.Reset, simulate.Truncate,
}

// stalls is the share of stalls among the faults. Each holds one of the host's
// connections for the fetcher's whole servicetest.Patience, and when all are held the host is
// left alone for a time.
const stalls = 0.01

// newLoad returns a load whose messages differ from run to run.
func newLoad(t testing.TB, twilio *simulate.Simulator, trouble float64) *load {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed of the load: %d", seed)
	l := &load{twilio: twilio, trouble: trouble, rand: rand.New(rand.NewPCG(seed, 0)), messages: map[string]simulate.Message{}}
	for _, p := range []struct{ name, contentType string }{
		{"small.jpg", "image/jpeg"},
		{"sticker.png", "image/png"},
		{"ball.gif", "image/gif"},
		{"meadow.webp", "image/webp"},
		{"photo.jpg", "image/jpeg"},
		{"screenshot.png", "image/png"},
	} {
		l.pictures = append(l.pictures, simulate.Media{Data: servicetest.Image(t, p.name), ContentType: p.contentType})
	}
	return l
}

// run sends messages until ctx ends.
func (l *load) run(ctx context.Context) {
	const rate, concurrency = 20, 8
	report := l.twilio.Run(ctx, simulate.Load{
		Message: func(int) simulate.Message { return l.message() },
		Count:   1 << 30, Concurrency: concurrency, Rate: rate,
	})
	for _, sent := range report.Sent {
		l.record(sent)
	}
}

// probe sends one message and returns the status of the answer, 0 without any.
func (l *load) probe(ctx context.Context) int {
	sent, err := l.twilio.Send(ctx, l.message())
	if err != nil {
		return 0
	}
	l.record(sent)
	return sent.Status
}

func (l *load) record(sent simulate.Sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent.Status/100 == http.StatusOK/100 {
		l.acknowledged = append(l.acknowledged, sent)
	}
}

// message makes up a message: a third have no media, the others up to three.
func (l *load) message() simulate.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := simulate.Message{SID: fmt.Sprintf("MM%016x%016x", l.rand.Uint64(), l.rand.Uint64()), Body: loadText}
	if l.rand.IntN(3) > 0 {
		for range 1 + l.rand.IntN(3) {
			m.Media = append(m.Media, l.medium())
		}
	}
	l.messages[m.SID] = m
	return m
}

// loadText is the text of the load's messages.
const loadText = "a text that nobody else should read"

// medium makes up a medium: mostly small pictures and files, some large
// pictures. All but the large ones differ from each other.
func (l *load) medium() simulate.Media {
	var m simulate.Media
	const small = 4 // of l.pictures, and then come the large ones
	switch n := l.rand.IntN(20); {
	case n == 0:
		m = l.pictures[small+l.rand.IntN(len(l.pictures)-small)]
	case n < 13:
		m = l.pictures[l.rand.IntN(small)]
		m.Data = fmt.Appendf(slices.Clip(m.Data), "%016x", l.rand.Uint64())
	case n < 16:
		m = simulate.Media{ContentType: "text/vcard", Data: fmt.Appendf(nil, "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:%x\r\nEND:VCARD\r\n", l.rand.Uint64())}
	default:
		m = simulate.Media{ContentType: "video/mp4", Data: make([]byte, 1+l.rand.IntN(200_000))}
		for i := range m.Data {
			m.Data[i] = byte(l.rand.Uint32())
		}
	}
	if l.rand.Float64() < permanent {
		m.Always = simulate.Gone
	}
	if l.rand.Float64() < l.trouble {
		for range 1 + l.rand.IntN(2) {
			fault := temporary[l.rand.IntN(len(temporary))]
			if l.rand.Float64() < stalls {
				fault = simulate.Stall
			}
			m.Faults = append(m.Faults, fault)
		}
		l.troubled++
	}
	return m
}
