package ingest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/relay"
	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// replying is a house whose receiver posts to a itself. No worker runs.
func replying(t *testing.T) (*house, *application, *Receiver, store.Bucket) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	rc := h.forwardTo(b, a.url, &Replies{Poster: relay.New(a.allow), Upstream: h.parse(h.twilio.Origin())})
	return h, a, rc, b
}

func (h *house) jobs() uint64 {
	h.t.Helper()
	state, err := h.streams.State(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return state.Jobs
}

// TestReply: the application's TwiML answers Twilio; it has got links to this
// origin, and nothing is left for a worker to post. A repeat is not posted.
func TestReply(t *testing.T) {
	h, a, rc, _ := replying(t)
	m := simulate.Message{SID: testMessage, From: "+1", To: "+2", Media: []simulate.Media{{Data: picture(), ContentType: "image/jpeg"}}}
	sent := h.send(m)
	if sent.Body != testTwiML {
		t.Errorf("answer %q, want the application's", sent.Body)
	}
	posts := a.got()
	link := rc.PublicURL.String() + "/2010-04-01/Accounts/" + testAccount + "/Messages/" + sent.MessageSID + "/Media/" + sent.MediaSIDs[0]
	if len(posts) != 1 || posts[0].form.Get("MediaUrl0") != link {
		t.Errorf("posts %+v, want one with %s", posts, link)
	}
	if n := h.jobs(); n != 1 {
		t.Errorf("%d jobs are queued, want the inbound one alone", n)
	}
	status, body := h.repeat(sent)
	if status != http.StatusOK || body != emptyTwiML || len(a.got()) != 1 {
		t.Errorf("a repeat is answered %d %q, after %d posts", status, body, len(a.got()))
	}
}

// repeat sends a webhook again, character for character.
func (h *house) repeat(sent simulate.Sent) (int, string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.hook, strings.NewReader(sent.Form.Encode()))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-Twilio-Signature", signature.Sign(testToken, h.hook, sent.Form))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// TestReplySlow: an application that is slow is not waited for, and when it takes
// the webhook in the end nobody posts it again.
func TestReplySlow(t *testing.T) {
	h, a, rc, b := replying(t)
	rc.patience = time.Millisecond
	release := make(chan struct{})
	a.answers(func(http.ResponseWriter, url.Values) { <-release })
	sent := h.sendAside(simulate.Message{Body: "hello"})
	h.eventually("it is posted", func() bool { return len(a.got()) == 1 })
	close(release)
	if got := <-sent; got.Body != emptyTwiML {
		t.Errorf("answer %q", got.Body)
	}
	h.eventually("the Job is gone", func() bool { return h.jobs() == 1 })
	w := h.forwarder(b, a.url, a.allow)
	w.Reply, w.replyHold = true, 0
	h.run(w)
	h.queueIsEmpty()
	if n := len(a.got()); n != 1 {
		t.Errorf("%d posts", n)
	}
}

// sendAside sends a message while the test goes on.
func (h *house) sendAside(m simulate.Message) <-chan simulate.Sent {
	result := make(chan simulate.Sent, 1)
	go func() {
		sent, err := h.twilio.Send(h.t.Context(), m)
		if err != nil {
			h.t.Error(err)
		}
		result <- sent
	}()
	return result
}

// TestReplyRefused: what the application does not take, and what comes from the same
// sender before it has, is posted by a worker, in order.
func TestReplyRefused(t *testing.T) {
	h, a, _, b := replying(t)
	a.answers(func(w http.ResponseWriter, _ url.Values) { w.WriteHeader(http.StatusBadGateway) })
	for _, text := range []string{"first", "second"} {
		if sent := h.send(simulate.Message{From: "+1", Body: text}); sent.Body != emptyTwiML {
			t.Errorf("answer %q", sent.Body)
		}
	}
	if got := a.bodies(); got != "first" {
		t.Errorf("posted %q; the second is to wait", got)
	}
	a.answers(nil)
	w := h.forwarder(b, a.url, a.allow)
	w.Reply, w.replyHold = true, 0
	h.run(w)
	h.queueIsEmpty()
	if got := a.bodies(); got != "first first second" {
		t.Errorf("posted %q", got)
	}
}

// TestReplyHold: a worker leaves a webhook alone that the receiver may be posting.
func TestReplyHold(t *testing.T) {
	h, a := newHouse(t), newApplication(t)
	b := dir(t)
	h.forwardTo(b, a.url, nil)
	h.send(simulate.Message{})
	h.take()
	d := h.take()
	w := h.forwarder(b, a.url, a.allow)
	w.Reply = true
	result := w.work(t.Context(), d)
	if delay := backoff(1, result.err); result.verb != retry || delay > replyHold || delay < replyHold/2 || len(a.got()) > 0 {
		t.Errorf("verb %v after %v: %v", result.verb, delay, result.err)
	}
	if !strings.Contains(result.err.Error(), "receiver") {
		t.Errorf("error %v", result.err)
	}
}
