package forward_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/forward"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// message is the record of a message that was sent here, the zero value if there is
// none.
func message(h *ingesttest.House, r *ingesttest.Rooms, sent simulate.Sent) store.Message {
	h.Helper()
	m, err := r.Store.Message(h.Context(), h.Account, messageSID(h, sent))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		h.Fatal(err)
	}
	return m
}

func messageSID(h *ingesttest.House, sent simulate.Sent) store.MessageSID {
	h.Helper()
	sid, err := store.ParseMessageSID(sent.MessageSID)
	if err != nil {
		h.Fatal(err)
	}
	return sid
}

// queueIsEmpty waits until all is done.
func queueIsEmpty(h *ingesttest.House) {
	h.Helper()
	h.Eventually("the queue is empty", func() bool { return h.Queued() == 0 })
}

// TestForward: the application gets the webhook, with links to what is stored in place
// of the media URLs, and that of a medium which could not be had as it was. A status
// callback of a message that is not known here is posted on, too.
func TestForward(t *testing.T) {
	h, a := forwarding(t)
	h.Setup.NoAPI = true
	r := h.Rooms(storetest.OpenDir(t))
	h.Run(r)
	gone := ingesttest.JPEG
	gone.Always = simulate.Gone
	sent := h.Send(simulate.Message{Body: "hello", Media: []simulate.Media{ingesttest.JPEG, gone}})
	queueIsEmpty(h)
	posts := a.got()
	if len(posts) != 1 || len(posts[0].id) != 36 {
		t.Fatalf("posts %+v", posts)
	}
	want := sent.Form
	want.Set("MediaUrl0", "https://mms.example.com/2010-04-01/Accounts/"+ingesttest.AccountSID+"/Messages/"+sent.MessageSID+"/Media/"+sent.MediaSIDs[0])
	if got := posts[0].form.Encode(); got != want.Encode() {
		t.Errorf("posted %s, want %s", got, want.Encode())
	}
	if f := message(h, r, sent).Forwards["received"]; f.Status != http.StatusOK || f.Attempts != 1 || f.Date.IsZero() || f.Failure != nil {
		t.Errorf("forward %+v", f)
	}
	status := h.Send(simulate.Message{Outbound: true})
	queueIsEmpty(h)
	if posts = a.got(); len(posts) != 2 || posts[1].form.Get("MessageStatus") == "" {
		t.Errorf("posts %+v", posts)
	}
	if got := h.EventTypes(status.MessageSID); !slices.Equal(got, []string{stream.EventStatus}) {
		t.Errorf("events %v of a message that is not known here", got)
	}
}

// TestUnknownGivenUp: a status callback of a message that is not known here is given up,
// which is announced once and noted nowhere.
func TestUnknownGivenUp(t *testing.T) {
	h, a := forwarding(t)
	h.Setup.NoAPI, h.Setup.GiveUp = true, time.Nanosecond
	a.refuses(http.StatusTeapot)
	r := h.Rooms(storetest.OpenDir(t))
	sent := h.Send(simulate.Message{Outbound: true})
	h.Next(r) // the status
	d := h.Take()
	for range 2 {
		h.Done(r, d)
	}
	if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventStatus, stream.EventFailed}) {
		t.Errorf("events %v", got)
	}
	if m := message(h, r, sent); !m.SID.IsZero() {
		t.Errorf("record %+v", m)
	}
}

// TestOrder: a message waits for an earlier one of its sender that the application does
// not take, also over a restart of the worker; those of another sender do not.
func TestOrder(t *testing.T) {
	h, a := forwarding(t)
	b := storetest.OpenDir(t)
	a.answers(func(w http.ResponseWriter, form url.Values) {
		if form.Get("Body") == "first" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { h.Rooms(b).Worker.Run(ctx) })
	h.Send(simulate.Message{From: "+15005550100", Body: "first"})
	h.Send(simulate.Message{From: "+15005550100", Body: "second"})
	h.Send(simulate.Message{From: "+15005550101", Body: "other"})
	h.Eventually("the other sender's is posted", func() bool { return strings.Contains(a.bodies(), "other") })
	tried := func() int { return strings.Count(a.bodies(), "first") }
	before := tried()
	h.Eventually("the first is tried again", func() bool { return tried() > before })
	stop()
	running.Wait()
	if strings.Contains(a.bodies(), "second") {
		t.Errorf("the second did not wait: %s", a.bodies())
	}
	before = tried()
	h.Run(h.Rooms(b))
	h.Eventually("the first is tried after a restart", func() bool { return tried() > before })
	if strings.Contains(a.bodies(), "second") {
		t.Errorf("the second did not wait: %s", a.bodies())
	}
	a.answers(nil)
	queueIsEmpty(h)
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

// TestGuard: a private address that is not permitted is not even connected to.
func TestGuard(t *testing.T) {
	h, a := ingesttest.New(t), newApplication(t)
	h.Setup.Targets = map[store.AccountSID]*url.URL{h.Account: a.url}
	receiver(h, nil)
	var connections atomic.Int64
	a.server.Config.ConnState = func(net.Conn, http.ConnState) { connections.Add(1) }
	r := h.Rooms(storetest.OpenDir(t))
	h.Run(r)
	sent := h.Send(simulate.Message{})
	h.Eventually("a try is noted", func() bool { return message(h, r, sent).Forwards["received"].Attempts > 0 })
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestGivenUp: what the application does not take is given up, noted and announced,
// names host and status alone, and is posted again by a replay.
func TestGivenUp(t *testing.T) {
	h, a := forwarding(t)
	a.refuses(http.StatusTeapot)
	h.Setup.GiveUp = time.Nanosecond
	r := h.Rooms(storetest.OpenDir(t))
	h.Run(r)
	sent := h.Send(simulate.Message{Body: "hello"})
	queueIsEmpty(h)
	f := message(h, r, sent).Forwards["received"].Failure
	if f == nil || f.Reason != store.ReasonForward || f.Status != http.StatusTeapot || f.Announced == 0 || f.Detail != "post to 127.0.0.1: answered 418" {
		t.Fatalf("failure %+v", f)
	}
	if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, []string{stream.EventReceived, stream.EventFailed}) {
		t.Errorf("events %v", got)
	}
	again, err := forward.Again(r.Store, message(h, r, sent), "received", "run")
	if err != nil {
		t.Fatal(err)
	}
	a.answers(nil)
	h.Queue(again)
	queueIsEmpty(h)
	posts := a.got()
	if m := message(h, r, sent); m.Forwards["received"].Failure != nil || !slices.Contains(m.Events, f.Announced) {
		t.Errorf("record %+v", m)
	}
	if len(posts) != 2 || posts[0].id != posts[1].id || posts[0].form.Encode() != posts[1].form.Encode() {
		t.Errorf("posts %+v", posts)
	}
}

// TestDeleted: nothing of a message that was deleted is posted.
func TestDeleted(t *testing.T) {
	h, a := forwarding(t)
	r := h.Rooms(storetest.OpenDir(t))
	sent := h.Send(simulate.Message{Body: "hello"})
	tombstone := store.Message{Account: h.Account, SID: messageSID(h, sent), DateCreated: time.Now(), Deleted: time.Now()}
	if _, _, err := r.Store.CreateMessage(t.Context(), tombstone); err != nil {
		t.Fatal(err)
	}
	h.Run(r)
	queueIsEmpty(h)
	if got := a.got(); len(got) != 0 {
		t.Errorf("posts %+v", got)
	}
}

// TestErased: an erasure leaves no webhook of the number that waits.
func TestErased(t *testing.T) {
	const erased, other = "+15005550199", "+15005550188"
	h, a := forwarding(t)
	r := h.Rooms(storetest.OpenDir(t))
	h.Send(simulate.Message{From: erased, To: other, Body: "hello"})
	h.Send(simulate.Message{From: "+15005550177", To: other, Body: "kept"})
	receipt, err := r.Operations.Eraser.Erase(t.Context(), h.Account, erased, false, func(operate.Receipt) {})
	if err != nil || receipt.Jobs != 2 {
		t.Fatalf("%+v, %v; want both Jobs removed", receipt, err)
	}
	h.Run(r)
	queueIsEmpty(h)
	if got := a.bodies(); got != "kept" {
		t.Errorf("posted %q", got)
	}
}

// TestSweep fails every call of the bucket in turn, with and without a second worker at
// the same Job in front of it: the webhook is posted at least once and what came of it is
// noted, be it taken or given up.
func TestSweep(t *testing.T) {
	for name, status := range map[string]int{"taken": http.StatusNoContent, "given up": http.StatusGone} {
		t.Run(name, func(t *testing.T) {
			h, a := forwarding(t)
			a.refuses(status)
			var sent simulate.Sent
			var inbound, d *stream.Delivery
			job := func(ctx context.Context, b store.Bucket) error {
				h.Setup.GiveUp = time.Nanosecond
				return h.Attempt(d)(ctx, b)
			}
			storetest.Sweep(t, storetest.Scenario{
				Secret: ingesttest.Secret,
				Open: func(t *testing.T) store.Bucket {
					h.Fresh()
					h.Setup.GiveUp = 24 * time.Hour
					sent = h.Send(simulate.Message{Media: []simulate.Media{ingesttest.JPEG}})
					inbound, d = h.Take(), h.Take()
					return storetest.OpenDir(t)
				},
				Prepare: func(ctx context.Context, b store.Bucket) error { return h.Attempt(inbound)(ctx, b) },
				Job:     job, Other: job,
				Check: func(t *testing.T, b store.Bucket) {
					f := message(h, h.Rooms(b), sent).Forwards["received"]
					if f.Status != status || (f.Failure != nil) != (status == http.StatusGone) || f.Failure != nil && f.Failure.Announced == 0 {
						t.Errorf("forward %+v", f)
					}
					want := []string{stream.EventReceived, stream.EventStored}
					if f.Failure != nil {
						want = append(want, stream.EventFailed)
					}
					if got := h.EventTypes(sent.MessageSID); !slices.Equal(got, want) {
						t.Errorf("events %v", got)
					}
				},
			})
		})
	}
}
