// Package ingesttest is the fixture for tests of the packages below ingest: real streams, a
// real bucket, every handler wired up, and a simulated Twilio outside.
package ingesttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"mmspipe/ingest/guard"
	"mmspipe/ingest/receive"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	// AccountSID is the account of all messages.
	AccountSID = "AC0123456789abcdef0123456789abcdef"
	// Token is its auth token.
	Token = "0123456789abcdef0123456789abcdef"

	// Patience is how long anything may take. It is long enough for a machine that
	// is busy with something else.
	Patience = 3 * time.Minute
)

// Secret is that of every Store.
var Secret = []byte("secret")

// House holds what a test's messages pass through: the provider, the receiver, the streams.
type House struct {
	testing.TB
	feedReader // with the Streams, which a test may replace
	Twilio     *simulate.Simulator
	Account    store.AccountSID
	Webhook    string // URL of the receiver

	// Setup is what [House.Rooms] are made of. A test changes it first.
	Setup Setup
}

// New returns a House with a receiver that queues webhooks.
func New(t testing.TB) *House {
	t.Helper()
	streams, err := stream.Open(t.Context(), storetest.StartNATS(t), stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	twilio, err := simulate.Start(simulate.Options{Account: AccountSID, Token: Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twilio.Close() })
	h := &House{TB: t, feedReader: feedReader{TB: t, Streams: streams}, Twilio: twilio}
	h.Account, _ = store.ParseAccountSID(AccountSID)
	h.Setup = h.defaults()
	h.Permit(twilio.CDN())

	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	server.Config.Handler = receive.New(receive.Options{PublicURL: h.URL(origin), Accounts: h.Setup.Accounts, Streams: streams, Store: store.New(nil, Secret), Log: zerolog.Nop()})
	server.Start()
	t.Cleanup(server.Close)
	h.Webhook = origin + "/webhooks/twilio"
	twilio.SetWebhook(h.Webhook)
	return h
}

// URL parses a URL.
func (h *House) URL(s string) *url.URL {
	h.Helper()
	u, err := url.Parse(s)
	if err != nil {
		h.Fatal(err)
	}
	return u
}

// Permit lets workers fetch from an origin on loopback.
func (h *House) Permit(origin string) {
	h.Helper()
	allow, err := guard.Parse("127.0.0.0/8:" + h.URL(origin).Port())
	if err != nil {
		h.Fatal(err)
	}
	h.Setup.Allow = append(h.Setup.Allow, allow...)
}

// Send sends a message and wants its webhook taken.
func (h *House) Send(m simulate.Message) simulate.Sent {
	h.Helper()
	sent, err := h.Twilio.Send(h.Context(), m)
	if err != nil || sent.Status != http.StatusOK {
		h.Fatalf("webhook answered %d, %v", sent.Status, err)
	}
	return sent
}

// Queue publishes a Job.
func (h *House) Queue(job stream.Job) {
	h.Helper()
	if _, err := h.Streams.PublishJob(h.Context(), job); err != nil {
		h.Fatal(err)
	}
}

// Take returns the next Job.
func (h *House) Take() *stream.Delivery {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), Patience)
	defer cancel()
	d, err := h.Streams.Next(ctx)
	if err != nil {
		h.Fatal(err)
	}
	return d
}

// Work has the next Job handled and settled.
func (h *House) Work(r *Rooms) {
	h.Helper()
	r.Worker.Do(h.Context(), h.Take())
}

// Attempt handles a Job over whatever bucket it is given, as a delivery would.
func (h *House) Attempt(d *stream.Delivery) func(context.Context, store.Bucket) error {
	return func(ctx context.Context, b store.Bucket) error {
		err := h.Rooms(b).Handle(ctx, d)
		if onlyDeleted(err) {
			return nil
		}
		return err
	}
}

// onlyDeleted tells whether there is nothing in an error but that the message was
// deleted: then its Job is done.
func onlyDeleted(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err == store.ErrDeleted //nolint:errorlint // a wrapped one may be joined with others
	}
	for _, e := range joined.Unwrap() {
		if !onlyDeleted(e) {
			return false
		}
	}
	return true
}

// Run runs a worker until the test ends.
func (h *House) Run(r *Rooms) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Worker.Run(ctx) })
	h.Cleanup(func() { cancel(); running.Wait() })
}

// WorkAll has workers do all Jobs that are queued.
func (h *House) WorkAll(r *Rooms) {
	h.Helper()
	ctx, stop := context.WithCancel(h.Context())
	var working sync.WaitGroup
	working.Go(func() { r.Worker.Run(ctx) })
	defer working.Wait()
	defer stop()
	h.Eventually("the queue is empty", func() bool { return h.Queued() == 0 })
}

// Queued is the number of Jobs that are not done.
func (h *House) Queued() uint64 {
	h.Helper()
	state, err := h.Streams.State(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return state.Jobs
}

// Eventually waits until check is true.
func (h *House) Eventually(what string, check func() bool) {
	h.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			h.Fatalf("not in %v: %s", Patience, what)
		}
	}
}

// Fresh empties the queue, and hides the events so far from what reads the feed. Every run
// of a sweep begins with it. Otherwise the run would wait for the Jobs that the run before
// left, and read its events again.
func (h *House) Fresh() {
	h.Helper()
	if err := h.Streams.RemoveJobs(h.Context(), func(stream.Job) (bool, error) { return true, nil }); err != nil {
		h.Fatal(err)
	}
	state, err := h.Streams.State(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	h.after = state.LastEvent
}

// IDs are the SIDs of a message that was sent, and of its i-th medium.
func IDs(t testing.TB, sent simulate.Sent, i int) store.MediaKey {
	t.Helper()
	account, err1 := store.ParseAccountSID(AccountSID)
	message, err2 := store.ParseMessageSID(sent.MessageSID)
	media, err3 := store.ParseMediaSID(sent.MediaSIDs[i])
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(fmt.Errorf("what the simulator sent: %w", err))
	}
	return store.MediaKey{Account: account, Message: message, Media: media}
}
