package servicetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Application is one that webhooks are forwarded to.
type Application struct {
	Host string

	mu     sync.Mutex
	status int
	signed []string // signatures of what came
}

// TwiML is what an Application answers.
const TwiML = `<Response><Message>from the application</Message></Response>`

// NewApplication starts an application that answers 200.
func NewApplication(t testing.TB) *Application {
	a := &Application{status: http.StatusOK}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.Host = strings.TrimPrefix(server.URL, "http://")
	return a
}

// ServeHTTP implements http.Handler.
func (a *Application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signed = append(a.signed, r.Header.Get("X-Twilio-Signature"))
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, TwiML)
}

// Answer sets the status that the application answers with from now on.
func (a *Application) Answer(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = status
}

// Signatures are those of all webhooks that came.
func (a *Application) Signatures() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{}, a.signed...)
}

// URL is where webhooks are forwarded to.
func (a *Application) URL() string { return "http://" + a.Host + "/sms" }
