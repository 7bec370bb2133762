package ingest

import (
	"context"
	"errors"
	"io"
	"net"
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
	"mmspipe/ingest/relay"
	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// application is one that webhooks are posted on to. It takes only what is signed.
type application struct {
	t      *testing.T
	server *httptest.Server
	url    *url.URL
	allow  []fetch.Allow

	mu    sync.Mutex
	posts []post
	serve func(w http.ResponseWriter, form url.Values) // 200 and TwiML if nil
}

// post is one webhook that an application got.
type post struct {
	form url.Values
	id   string // idempotency token
}

const testTwiML = `<Response><Message>thanks</Message></Response>`

func newApplication(t *testing.T) *application {
	a := &application{t: t}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	var err error
	if a.url, err = url.Parse(a.server.URL + "/sms?shop=7"); err != nil {
		t.Fatal(err)
	}
	if a.allow, err = fetch.ParseAllow("127.0.0.0/8:" + a.url.Port()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	_, ok := signature.Verify([]string{testToken}, signature.Request{
		Method: r.Method, URL: a.server.URL + r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"),
		Body: body, Signature: r.Header.Get("X-Twilio-Signature"),
	})
	if !ok {
		a.t.Errorf("%s %s is not signed", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	a.mu.Lock()
	a.posts = append(a.posts, post{form, r.Header.Get("I-Twilio-Idempotency-Token")})
	serve := a.serve
	a.mu.Unlock()
	if serve != nil {
		serve(w, form)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, testTwiML)
}

// answers sets how the application answers from now on.
func (a *application) answers(serve func(w http.ResponseWriter, form url.Values)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serve = serve
}

// got is what was posted so far, whatever came of it.
func (a *application) got() []post {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.posts)
}

// bodies are the texts of what was posted so far.
func (a *application) bodies() string {
	var all []string
	for _, p := range a.got() {
		all = append(all, p.form.Get("Body"))
	}
	return strings.Join(all, " ")
}

// forwardTo has the webhooks of the house's account queued for an application.
func (h *house) forwardTo(b store.Bucket, to *url.URL, replies *Replies) *Receiver {
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	receiver := NewReceiver(ReceiverOptions{
		PublicURL: h.parse(origin), Accounts: Accounts{h.account: {testToken}}, Streams: h.streams, Log: zerolog.Nop(),
		Forward: map[store.AccountSID]*url.URL{h.account: to}, Store: store.New(b, []byte("secret")), Replies: replies,
	})
	server.Config.Handler = receiver
	server.Start()
	h.t.Cleanup(server.Close)
	h.hook = origin + "/webhooks/twilio"
	h.twilio.SetWebhook(h.hook)
	return receiver
}

// forwarder is a worker that posts to an application.
func (h *house) forwarder(b store.Bucket, to *url.URL, allow []fetch.Allow) *Worker {
	w := h.worker(b)
	w.PublicURL = h.parse("https://mms.example.com")
	w.Forward = map[store.AccountSID]*url.URL{h.account: to}
	w.Poster = relay.New(allow)
	return w
}

// queueIsEmpty waits until all is done.
func (h *house) queueIsEmpty() {
	h.t.Helper()
	h.eventually("the queue is empty", func() bool {
		state, err := h.streams.State(h.t.Context())
		return err == nil && state.Jobs == 0
	})
}

// received reads the record of a message that was sent here.
func (h *house) received(w *Worker, sent simulate.Sent) store.Message {
	h.t.Helper()
	sid, err := store.ParseMessageSID(sent.MessageSID)
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := w.Store.Message(h.t.Context(), h.account, sid)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// TestForward: the application gets the webhook, with links to what is stored in
// place of the media URLs, and that of a medium which could not be had as it was.
// A status callback of a message that is not known here is posted on, too.
func TestForward(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	h.forwardTo(b, a.url, nil)
	w := h.forwarder(b, a.url, a.allow)
	h.run(w)
	sent := h.send(simulate.Message{Body: "hello", Media: []simulate.Media{
		{Data: picture(), ContentType: "image/jpeg"}, {Data: picture(), ContentType: "image/jpeg", Always: simulate.Gone},
	}})
	h.queueIsEmpty()
	posts := a.got()
	if len(posts) != 1 || len(posts[0].id) != 36 {
		t.Fatalf("posts %+v", posts)
	}
	want := sent.Form
	want.Set("MediaUrl0", "https://mms.example.com/2010-04-01/Accounts/"+testAccount+"/Messages/"+sent.MessageSID+"/Media/"+sent.MediaSIDs[0])
	if got := posts[0].form.Encode(); got != want.Encode() {
		t.Errorf("posted %s, want %s", got, want.Encode())
	}
	if f := h.received(w, sent).Forwards["received"]; f.Status != http.StatusOK || f.Attempts != 1 || f.Date.IsZero() || f.Failure != nil {
		t.Errorf("forward %+v", f)
	}
	h.send(simulate.Message{Outbound: true})
	h.queueIsEmpty()
	if posts = a.got(); len(posts) != 2 || posts[1].form.Get("MessageStatus") == "" {
		t.Errorf("posts %+v", posts)
	}
}

// TestForwardOrder: a message waits for an earlier one of its sender that the
// application does not take, also over a restart of the worker; those of another
// sender do not.
func TestForwardOrder(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	h.forwardTo(b, a.url, nil)
	a.answers(func(w http.ResponseWriter, form url.Values) {
		if form.Get("Body") == "first" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { h.forwarder(b, a.url, a.allow).Run(ctx) })
	h.send(simulate.Message{From: "+15005550100", Body: "first"})
	h.send(simulate.Message{From: "+15005550100", Body: "second"})
	h.send(simulate.Message{From: "+15005550101", Body: "other"})
	h.eventually("the other sender's is posted", func() bool { return strings.Contains(a.bodies(), "other") })
	tried := func() int { return strings.Count(a.bodies(), "first") }
	before := tried()
	h.eventually("the first is tried again", func() bool { return tried() > before })
	stop()
	running.Wait()
	if strings.Contains(a.bodies(), "second") {
		t.Errorf("the second did not wait: %s", a.bodies())
	}
	before = tried()
	h.run(h.forwarder(b, a.url, a.allow))
	h.eventually("the first is tried after a restart", func() bool { return tried() > before })
	if strings.Contains(a.bodies(), "second") {
		t.Errorf("the second did not wait: %s", a.bodies())
	}
	a.answers(nil)
	h.queueIsEmpty()
	if got := a.bodies(); !strings.HasSuffix(got, "first second") {
		t.Errorf("posted %s", got)
	}
	ids := map[string]bool{}
	for _, p := range a.got() {
		ids[p.id] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d idempotency tokens of 3 webhooks", len(ids))
	}
}

// TestForwardGuard: a private address that is not permitted is not even connected to.
func TestForwardGuard(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	var connections atomic.Int64
	a.server.Config.ConnState = func(_ net.Conn, _ http.ConnState) { connections.Add(1) }
	h.forwardTo(b, a.url, nil)
	w := h.forwarder(b, a.url, nil)
	h.run(w)
	sent := h.send(simulate.Message{})
	h.eventually("a try is noted", func() bool {
		sid, _ := store.ParseMessageSID(sent.MessageSID)
		m, err := w.Store.Message(t.Context(), h.account, sid)
		return err == nil && m.Forwards["received"].Attempts > 0
	})
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestForwardGivenUp: what the application does not take is given up, noted and
// announced, names host and status alone, and is posted again by a replay.
func TestForwardGivenUp(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	h.forwardTo(b, a.url, nil)
	a.answers(func(w http.ResponseWriter, _ url.Values) { w.WriteHeader(http.StatusTeapot) })
	w := h.forwarder(b, a.url, a.allow)
	w.GiveUp = time.Nanosecond
	h.run(w)
	sent := h.send(simulate.Message{Body: "hello"})
	h.queueIsEmpty()
	f := h.received(w, sent).Forwards["received"].Failure
	if f == nil || f.Reason != "forward" || f.Status != http.StatusTeapot || f.Announced == 0 || f.Detail != "post to 127.0.0.1: answered 418" {
		t.Fatalf("failure %+v", f)
	}
	if got := h.eventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventFailed}) {
		t.Errorf("events %v", got)
	}
	again, err := ForwardAgain(w.Store, h.received(w, sent), "received", "run")
	if err == nil {
		a.answers(nil)
		_, err = h.streams.PublishJob(t.Context(), again)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.queueIsEmpty()
	posts := a.got()
	if m := h.received(w, sent); m.Forwards["received"].Failure != nil || !slices.Contains(m.Events, f.Announced) {
		t.Errorf("record %+v", m)
	}
	if len(posts) != 2 || posts[0].id != posts[1].id || posts[0].form.Encode() != posts[1].form.Encode() {
		t.Errorf("posts %+v", posts)
	}
}

// TestForwardDeleted: nothing of a message that was deleted is posted.
func TestForwardDeleted(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	h.forwardTo(b, a.url, nil)
	w := h.forwarder(b, a.url, a.allow)
	sent := h.send(simulate.Message{Body: "hello"})
	sid, _ := store.ParseMessageSID(sent.MessageSID)
	if _, _, err := w.Store.CreateMessage(t.Context(), store.Message{Account: h.account, SID: sid, DateCreated: time.Now(), Deleted: time.Now()}); err != nil {
		t.Fatal(err)
	}
	h.run(w)
	h.queueIsEmpty()
	if got := a.got(); len(got) != 0 {
		t.Errorf("posts %+v", got)
	}
}

// TestForwardErased: an erasure leaves no webhook of the number that waits.
func TestForwardErased(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	h.forwardTo(b, a.url, nil)
	h.send(simulate.Message{From: erasedNumber, To: otherNumber, Body: "hello"})
	h.send(simulate.Message{From: "+15005550177", To: otherNumber, Body: "kept"})
	sum, err := h.eraser(b).Number(t.Context(), h.account, erasedNumber, false, func(Erased) {})
	if err != nil || sum.Jobs != 2 {
		t.Fatalf("%+v, %v; want both Jobs removed", sum, err)
	}
	h.run(h.forwarder(b, a.url, a.allow))
	h.queueIsEmpty()
	if got := a.bodies(); got != "kept" {
		t.Errorf("posted %q", got)
	}
}

// TestSweepForward fails every call of the bucket in turn: the webhook is posted at
// least once and what came of it is noted, be it taken or given up.
func TestSweepForward(t *testing.T) {
	for name, status := range map[string]int{"taken": http.StatusNoContent, "given up": http.StatusGone} {
		t.Run(name, func(t *testing.T) {
			h, a := newHouse(t), newApplication(t)
			h.forwardTo(dir(t), a.url, nil)
			a.answers(func(w http.ResponseWriter, _ url.Values) { w.WriteHeader(status) })
			var sent simulate.Sent
			var inbound, d *stream.Delivery
			job := func(ctx context.Context, b store.Bucket) error {
				w := h.forwarder(b, a.url, a.allow)
				w.GiveUp = time.Nanosecond
				return w.work(ctx, d).err
			}
			storetest.Sweep(t, storetest.Scenario{
				Secret: []byte("secret"),
				Open: func(t *testing.T) store.Bucket {
					sent = h.send(simulate.Message{Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}})
					inbound, d = h.take(), h.take()
					return dir(t)
				},
				Prepare: func(ctx context.Context, b store.Bucket) error { return h.attempt(inbound)(ctx, b) },
				Job:     job, Other: job,
				Check: func(t *testing.T, b store.Bucket) {
					m := h.received(h.worker(b), sent)
					f := m.Forwards["received"]
					if f.Status != status || (f.Failure != nil) != (status == http.StatusGone) || f.Failure != nil && f.Failure.Announced == 0 {
						t.Errorf("forward %+v", f)
					}
					want := 2 // received and stored
					if f.Failure != nil {
						want++
					}
					if got := h.eventTypes(sent.MessageSID); len(got) != want {
						t.Errorf("events %v", got)
					}
					// Those of the next round are others.
					if err := errors.Join(inbound.Ack(t.Context()), d.Ack(t.Context())); err != nil {
						t.Error(err)
					}
				},
			})
		})
	}
}
