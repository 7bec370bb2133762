package main

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// application is one that webhooks are posted on to.
type application struct {
	host string

	mu     sync.Mutex
	status int
	signed []string // signatures of what came
	texts  []string
}

const appTwiML = `<Response><Message>from the application</Message></Response>`

func newApplication(t *testing.T) *application {
	a := &application{status: http.StatusOK}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.host = strings.TrimPrefix(server.URL, "http://")
	return a
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signed = append(a.signed, r.Header.Get("X-Twilio-Signature"))
	a.texts = append(a.texts, r.PostFormValue("Body"))
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, appTwiML)
}

// answer sets the status that the application answers with from now on.
func (a *application) answer(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = status
}

func (a *application) signatures() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{}, a.signed...)
}

// forwarding starts a program that posts webhooks on to app.
func forwarding(t *testing.T, app *application, settings map[string]string) *program {
	t.Helper()
	return startOn(t, backend{"embedded", func(t *testing.T) (map[string]string, func() store.Bucket) {
		env, open := backends[0].prepare(t)
		env["MMSPIPE_FORWARD"] = "http://" + app.host + "/sms"
		maps.Copy(env, settings)
		return env, open
	}})
}

// TestForwardCommands: a webhook that the application does not take is listed, and
// taken when it is replayed.
func TestForwardCommands(t *testing.T) {
	app := newApplication(t)
	app.answer(http.StatusServiceUnavailable)
	p := forwarding(t, app, map[string]string{"MMSPIPE_GIVE_UP": "1ns"})
	sent := p.send(simulate.Message{Body: "hello"})
	p.awaitEvents("mms.failed", 1)
	p.want(0, `"forward":"received"`, "failed", "--reason=forward")
	p.want(0, "forward received  failed: post to 127.0.0.1: answered 503", "message", sent.MessageSID)
	app.answer(http.StatusNoContent)
	p.want(0, "1 messages queued", "replay")
	p.eventually("nothing is failed any more", func() bool { status, _, _ := p.command("failed"); return status == 3 })
	p.want(0, "taken with 204", "message", sent.MessageSID)
}

// TestForwardReply: in reply mode the application's TwiML answers Twilio.
func TestForwardReply(t *testing.T) {
	app := newApplication(t)
	p := forwarding(t, app, map[string]string{"MMSPIPE_FORWARD_MODE": "reply"})
	sent, err := p.twilio.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"}}})
	if err != nil || sent.Body != appTwiML {
		t.Fatalf("answer %q, %v", sent.Body, err)
	}
	if response, _ := p.get(mediaPath(t, sent, 0)); response.StatusCode != http.StatusOK {
		t.Errorf("the medium is not waited for: %s", response.Status)
	}
}
