package forward_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/forward"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/storetest"
)

// replying is a house whose receiver posts webhooks to an application itself, over a
// bucket, and waits so long for the answer, ten seconds if 0. No worker runs.
func replying(t *testing.T, patience time.Duration) (*ingesttest.House, *application, *url.URL, store.Bucket) {
	t.Helper()
	h, a := forwarding(t)
	b := storetest.OpenDir(t)
	origin := receiver(h, &forward.Replier{Store: h.Rooms(b).Store, Patience: patience})
	return h, a, origin, b
}

// TestReply: the application's TwiML answers Twilio; it has got links to this origin,
// and nothing is left for a worker to post. A repeat is not posted.
func TestReply(t *testing.T) {
	h, a, origin, _ := replying(t, 0)
	sent := h.Send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{ingesttest.JPEG}})
	if sent.Body != twiML {
		t.Errorf("answer %q, want the application's", sent.Body)
	}
	posts := a.got()
	link := origin.String() + "/2010-04-01/Accounts/" + ingesttest.AccountSID + "/Messages/" + sent.MessageSID + "/Media/" + sent.MediaSIDs[0]
	if len(posts) != 1 || posts[0].form.Get("MediaUrl0") != link {
		t.Errorf("posts %+v, want one with %s", posts, link)
	}
	if n := h.Queued(); n != 1 {
		t.Errorf("%d jobs are queued, want the inbound one alone", n)
	}
	again, err := h.Twilio.Repeat(t.Context(), sent)
	if err != nil || again.Status != http.StatusOK || again.Body != emptyTwiML || len(a.got()) != 1 {
		t.Errorf("a repeat is answered %d %q, %v, after %d posts", again.Status, again.Body, err, len(a.got()))
	}
}

// TestReplySlow: an application that is slow is not waited for, and when it takes the
// webhook in the end nobody posts it again.
func TestReplySlow(t *testing.T) {
	h, a, _, b := replying(t, time.Millisecond)
	release := make(chan struct{})
	a.answers(func(http.ResponseWriter, url.Values) { <-release })
	result := make(chan simulate.Sent, 1)
	go func() {
		sent, err := h.Twilio.Send(t.Context(), simulate.Message{Body: "hello"})
		if err != nil {
			t.Error(err)
		}
		result <- sent
	}()
	h.Eventually("it is posted", func() bool { return len(a.got()) == 1 })
	if got := <-result; got.Body != emptyTwiML { // before the application has answered
		t.Errorf("answer %q", got.Body)
	}
	close(release)
	h.Eventually("the Job is gone", func() bool { return h.Queued() == 1 })
	h.Run(h.Rooms(b)) // which holds back nothing
	queueIsEmpty(h)
	if n := len(a.got()); n != 1 {
		t.Errorf("%d posts", n)
	}
}

// TestReplyRefused: what the application does not take, and what comes from the same
// sender before it has, is posted by a worker, in order.
func TestReplyRefused(t *testing.T) {
	h, a, _, b := replying(t, 0)
	a.refuses(http.StatusBadGateway)
	for _, text := range []string{"first", "second"} {
		if sent := h.Send(simulate.Message{From: "+1", Body: text}); sent.Body != emptyTwiML {
			t.Errorf("answer %q", sent.Body)
		}
	}
	if got := a.bodies(); got != "first" {
		t.Errorf("posted %q; the second is to wait", got)
	}
	a.answers(nil)
	h.Run(h.Rooms(b))
	queueIsEmpty(h)
	if got := a.bodies(); got != "first first second" {
		t.Errorf("posted %q", got)
	}
}

// TestReplyHold: a worker leaves a webhook alone that the receiver may be posting, for as
// long as that may take, and no other.
func TestReplyHold(t *testing.T) {
	h, a := forwarding(t)
	h.Setup.Hold = forward.ReplyHold
	r := h.Rooms(storetest.OpenDir(t))
	sent := h.Send(simulate.Message{}) // queued for the worker alone
	h.Next(r)
	h.Next(r)
	if len(a.got()) != 1 {
		t.Errorf("%d posts; a webhook that the receiver does not post is to be posted", len(a.got()))
	}
	hook, err := webhook.Parse(sent.Form)
	if err != nil {
		t.Fatal(err)
	}
	hook.Form.Set("Body", "another") // or it is a repeat
	if hook, err = webhook.Parse(hook.Form); err != nil {
		t.Fatal(err)
	}
	h.Queue(forward.Job(r.Store, hook, true))
	err = r.Handle(t.Context(), h.Take())
	var later *ingest.Later
	if !errors.As(err, &later) || later.Delay > forward.ReplyHold || later.Delay < forward.ReplyHold/2 || len(a.got()) > 1 {
		t.Errorf("%v, %+v after %d posts", err, later, len(a.got()))
	}
	if err == nil || !strings.Contains(err.Error(), "receiver") {
		t.Errorf("error %v", err)
	}
}
