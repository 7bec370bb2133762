package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/simulate"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/link"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	testToken = "0123456789abcdef0123456789abcdef"
	patience  = 3 * time.Minute
)

// house is what a worker works in: real streams and a real bucket, a simulated
// Twilio outside.
type house struct {
	t       *testing.T
	streams *stream.Streams
	twilio  *simulate.Simulator
	account store.AccountSID
	profile resize.Profile
	allow   []fetch.Allow
	hook    string // the webhook's URL
}

func newHouse(t *testing.T) *house {
	streams, err := stream.Open(t.Context(), storetest.StartNATS(t), stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	twilio, err := simulate.Start(simulate.Options{Account: testAccount, Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twilio.Close() })
	h := &house{t: t, streams: streams, twilio: twilio}
	h.account, _ = store.ParseAccountSID(testAccount)
	h.profile, err = resize.ProfileNamed("us")
	if err != nil {
		t.Fatal(err)
	}
	h.permit(twilio.CDN())
	receiver := httptest.NewUnstartedServer(nil)
	origin := "http://" + receiver.Listener.Addr().String()
	receiver.Config.Handler = NewReceiver(ReceiverOptions{PublicURL: h.parse(origin), Accounts: Accounts{h.account: {testToken}}, Streams: streams, Log: zerolog.Nop()})
	receiver.Start()
	t.Cleanup(receiver.Close)
	h.hook = origin + "/webhooks/twilio"
	twilio.SetWebhook(h.hook)
	return h
}

func (h *house) parse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

// permit lets workers fetch from an origin on loopback.
func (h *house) permit(origin string) {
	allow, err := fetch.ParseAllow("127.0.0.0/8:" + h.parse(origin).Port())
	if err != nil {
		h.t.Fatal(err)
	}
	h.allow = append(h.allow, allow...)
}

// worker returns one over a bucket.
func (h *house) worker(b store.Bucket) *Worker {
	upstream := h.parse(h.twilio.Origin())
	return NewWorker(Options{
		Store: store.New(b, []byte("secret")), Streams: h.streams, Accounts: Accounts{h.account: {testToken}},
		Fetcher: fetch.New(fetch.Options{Upstream: upstream, Allow: h.allow, Slots: 16}),
		Fitter:  resize.New(resize.Options{}), Profile: h.profile, Upstream: upstream, Log: zerolog.Nop(),
		PublicURL: h.parse("https://mms.example.com"), Links: link.New([]byte("secret")),
	})
}

// send sends a message and wants its webhook taken.
func (h *house) send(m simulate.Message) simulate.Sent {
	h.t.Helper()
	sent, err := h.twilio.Send(h.t.Context(), m)
	if err != nil || sent.Status != http.StatusOK {
		h.t.Fatalf("webhook answered %d, %v", sent.Status, err)
	}
	return sent
}

// take returns the next Job.
func (h *house) take() *stream.Delivery {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	d, err := h.streams.Next(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// eventTypes are those of the feed about a message, in order.
func (h *house) eventTypes(message string) []string {
	h.t.Helper()
	entries, err := h.streams.Events(h.t.Context(), stream.Query{}, 100_000)
	if err != nil {
		h.t.Fatal(err)
	}
	var types []string
	for _, e := range entries {
		if strings.Contains(string(e.JSON), message) {
			types = append(types, e.Type)
		}
	}
	return types
}

// run runs a worker until the test ends.
func (h *house) run(w *Worker) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	h.t.Cleanup(func() { cancel(); running.Wait() })
}

func (h *house) eventually(what string, check func() bool) {
	h.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// awaitStored waits for the record of a message's first medium.
func (h *house) awaitStored(w *Worker, sent simulate.Sent) {
	h.t.Helper()
	message, media := ids(h.t, sent, 0)
	h.eventually("medium "+media.String()+" is stored", func() bool {
		_, err := w.Store.Media(h.t.Context(), h.account, message, media)
		return err == nil
	})
}

// dir is an empty directory bucket.
func dir(t *testing.T) store.Bucket {
	t.Helper()
	b, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picture is a small JPEG.
func picture() []byte {
	m := image.NewGray(image.Rect(0, 0, 40, 30))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 7)
	}
	m.SetGray(0, 0, color.Gray{255})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func ids(t *testing.T, sent simulate.Sent, i int) (store.MessageSID, store.MediaSID) {
	t.Helper()
	message, err := store.ParseMessageSID(sent.MessageSID)
	if err != nil {
		t.Fatal(err)
	}
	media, err := store.ParseMediaSID(sent.MediaSIDs[i])
	if err != nil {
		t.Fatal(err)
	}
	return message, media
}

// attempt does a Job with a worker over b as a delivery would, and returns what
// is to be tried again.
func (h *house) attempt(d *stream.Delivery) func(context.Context, store.Bucket) error {
	return func(ctx context.Context, b store.Bucket) error {
		result := h.worker(b).work(ctx, d)
		if result.verb != done && result.err == nil {
			return fmt.Errorf("verb %d without an error", result.verb)
		}
		return result.err
	}
}

// TestSweepInbound fails every call of the bucket in turn, with and without a
// second worker at the same Job in front of it. Afterwards the message is stored
// and announced, each fact once.
func TestSweepInbound(t *testing.T) {
	h := newHouse(t)
	var sent simulate.Sent
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			sent = h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
			d = h.take()
			return dir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			message, media := ids(t, sent, 0)
			record, err := store.New(b, nil).Media(t.Context(), h.account, message, media)
			if err != nil || record.Announced == 0 || len(record.Variants) != 2 {
				t.Errorf("record %+v, %v", record, err)
			}
			if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventStored}) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestSweepFailure does the same with a medium that cannot be had.
func TestSweepFailure(t *testing.T) {
	h := newHouse(t)
	var sent simulate.Sent
	var d *stream.Delivery
	job := func(ctx context.Context, b store.Bucket) error { return h.attempt(d)(ctx, b) }
	storetest.Sweep(t, storetest.Scenario{
		Secret: []byte("secret"),
		Open: func(t *testing.T) store.Bucket {
			sent = h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg", Always: simulate.Gone}}})
			d = h.take()
			return dir(t)
		},
		Job: job, Other: job,
		Check: func(t *testing.T, b store.Bucket) {
			message, media := ids(t, sent, 0)
			record, err := store.New(b, nil).Message(t.Context(), h.account, message)
			if f := record.Failures[media]; err != nil || f.Announced == 0 || f.Reason != "status" || f.Status != http.StatusGone {
				t.Errorf("failures %+v, %v", record.Failures, err)
			}
			if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventFailed}) {
				t.Errorf("events %v", got)
			}
		},
	})
}

// TestSweepDelete deletes a medium while a worker stores it: the delete Job is
// done in front of every call of the worker, which then finds the tombstone, and
// the worker in front of every call of the delete Job.
func TestSweepDelete(t *testing.T) {
	h := newHouse(t)
	var sent simulate.Sent
	var inbound, deletion *stream.Delivery
	open := func(t *testing.T) store.Bucket {
		sent = h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
		inbound = h.take()
		message, media := ids(t, sent, 0)
		if _, err := h.streams.PublishJob(t.Context(), stream.Job{
			Kind: stream.Delete, Account: h.account, Message: message, ID: "del:" + media.String(), Data: []byte(media.String()),
		}); err != nil {
			t.Fatal(err)
		}
		deletion = h.take()
		return dir(t)
	}
	store1 := func(ctx context.Context, b store.Bucket) error { return h.attempt(inbound)(ctx, b) }
	remove := func(ctx context.Context, b store.Bucket) error { return h.attempt(deletion)(ctx, b) }
	check := func(t *testing.T, b store.Bucket) {
		message, media := ids(t, sent, 0)
		record, err := store.New(b, nil).Media(t.Context(), h.account, message, media)
		if err != nil || record.Deleted.IsZero() || record.SHA256 != "" {
			t.Errorf("record %+v, %v; want a bare tombstone", record, err)
		}
		want := []string{stream.EventReceived, stream.EventStored, stream.EventDeleted}
		if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	t.Run("delete", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: []byte("secret"), Prepare: store1, Job: remove, Other: store1, Check: check})
	})
	t.Run("delete after the tombstone", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: []byte("secret"), Prepare: func(ctx context.Context, b store.Bucket) error {
			if err := store1(ctx, b); err != nil {
				return err
			}
			message, media := ids(t, sent, 0)
			_, err := store.New(b, nil).UpdateMedia(ctx, h.account, message, media, func(m *store.Media) error {
				m.Deleted = time.Now()
				return nil
			})
			return err
		}, Job: remove, Other: store1, Check: check})
	})
	t.Run("late worker", func(t *testing.T) {
		storetest.Sweep(t, storetest.Scenario{Open: open, Secret: []byte("secret"), Prepare: func(ctx context.Context, b store.Bucket) error {
			return errors.Join(store1(ctx, b), remove(ctx, b))
		}, Job: store1, Other: remove, Check: check})
	})
}

// TestConflict: a MessageSid that is repeated with other content is reported, and
// the first stays.
func TestConflict(t *testing.T) {
	h := newHouse(t)
	w := h.worker(dir(t))
	h.run(w)
	first := h.send(simulate.Message{SID: testMessage, From: "+1", To: "+2", Body: "first"})
	h.eventually("the first is received", func() bool { return len(h.eventTypes(first.MessageSID)) == 1 })
	h.send(simulate.Message{SID: testMessage, From: "+1", To: "+2", Body: "second"})
	h.eventually("the second is reported", func() bool { return len(h.eventTypes(first.MessageSID)) == 2 })
	message, err := store.ParseMessageSID(testMessage)
	if err != nil {
		t.Fatal(err)
	}
	record, err := w.Store.Message(t.Context(), h.account, message)
	if err != nil || record.Body != "first" {
		t.Errorf("body %q, %v; want the first", record.Body, err)
	}
	if got := h.eventTypes(testMessage); got[1] != stream.EventFailed {
		t.Errorf("events %v", got)
	}
}

// TestWaitingJobs: 5,000 Jobs that wait for their next try do not hold up a
// fresh one.
func TestWaitingJobs(t *testing.T) {
	h := newHouse(t)
	for range 5000 {
		h.queue(t, "http://127.0.0.1:1/")
		// Far longer than the test takes.
		if err := h.take().Nak(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	w := h.worker(dir(t))
	h.run(w)
	sent := h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
	h.awaitStored(w, sent)
}

// TestDueRetries: 5,000 Jobs whose host stalls, all due again before a fresh
// message from another host comes, hold it up for seconds and not for the hours
// that it would take to wait for each.
func TestDueRetries(t *testing.T) {
	h := newHouse(t)
	stalled := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(func() { stalled.CloseClientConnections(); stalled.Close() })
	h.permit(stalled.URL)
	w := h.worker(dir(t))
	var deliveries sync.WaitGroup
	for range 16 {
		deliveries.Go(func() {
			for range 5000 / 16 {
				h.queue(t, stalled.URL)
				h.deliverOnce(w)
			}
		})
	}
	deliveries.Wait()
	h.run(w)
	sent := h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
	start := time.Now()
	h.awaitStored(w, sent)
	t.Logf("the fresh message was stored after %v", time.Since(start).Round(time.Millisecond))
}

// deliverOnce takes a Job as far as the record of its message and gives it back,
// due at once.
func (h *house) deliverOnce(w *Worker) {
	d := h.take()
	hook, err := parseJob(d)
	if err == nil {
		_, err = w.receive(h.t.Context(), d, hook)
	}
	if err := errors.Join(err, d.Nak(h.t.Context(), 0)); err != nil {
		h.t.Error(err)
	}
}

// queued counts the messages that queue has made up.
var queued atomic.Int64

// queue publishes the Job of a message with one medium at an address.
func (h *house) queue(t *testing.T, address string) {
	t.Helper()
	form := url.Values{
		"AccountSid": {testAccount}, "MessageSid": {fmt.Sprintf("MM%032x", queued.Add(1))},
		"NumMedia": {"1"}, "MediaUrl0": {address}, "MediaContentType0": {"image/jpeg"},
	}
	hook, err := parseWebhook(form)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.streams.PublishJob(t.Context(), stream.Job{
		Kind: stream.Inbound, Account: hook.account, Message: hook.message, ID: hook.jobID(), Data: []byte(form.Encode()),
	}); err != nil {
		t.Fatal(err)
	}
}
