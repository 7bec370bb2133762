package forward_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"mmspipe/ingest/forward"
	"mmspipe/ingest/guard"
	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/receive"
	"mmspipe/ingest/signature"
	"mmspipe/store"

	"github.com/rs/zerolog"
)

// application is one that webhooks are posted on to. It takes only what is signed.
type application struct {
	testing.TB
	server *httptest.Server
	url    *url.URL
	allow  []guard.Allow

	mu    sync.Mutex
	posts []post
	serve func(w http.ResponseWriter, form url.Values) // 200 and TwiML if nil
}

// post is one webhook that an application got.
type post struct {
	form url.Values
	id   string // idempotency token
}

const (
	twiML      = `<Response><Message>thanks</Message></Response>`
	emptyTwiML = `<?xml version="1.0" encoding="UTF-8"?><Response/>`
)

func newApplication(t testing.TB) *application {
	t.Helper()
	a := &application{TB: t}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	var err error
	if a.url, err = url.Parse(a.server.URL + "/sms?shop=7"); err != nil {
		t.Fatal(err)
	}
	if a.allow, err = guard.Parse("127.0.0.0/8:" + a.url.Port()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	_, ok := signature.Verify([]string{ingesttest.Token}, signature.Request{
		Method: r.Method, URL: a.server.URL + r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"),
		Body: body, Signature: r.Header.Get("X-Twilio-Signature"),
	})
	if !ok {
		a.Errorf("%s %s is not signed", r.Method, r.URL.Path)
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
	_, _ = io.WriteString(w, twiML)
}

// answers sets how the application answers from now on.
func (a *application) answers(serve func(w http.ResponseWriter, form url.Values)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serve = serve
}

// refuses has the application answer with a status from now on.
func (a *application) refuses(status int) {
	a.answers(func(w http.ResponseWriter, _ url.Values) { w.WriteHeader(status) })
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

// forwarding is a house whose webhooks are posted on to an application that workers may
// connect to.
func forwarding(t *testing.T) (*ingesttest.House, *application) {
	t.Helper()
	h, a := ingesttest.New(t), newApplication(t)
	h.Setup.Targets = map[store.AccountSID]*url.URL{h.Account: a.url}
	h.Setup.Allow = append(h.Setup.Allow, a.allow...)
	receiver(h, nil)
	return h, a
}

// receiver starts a receiver of which Twilio is told, and returns its origin. It queues
// webhooks for the house's applications, and posts inbound ones itself with a Replier,
// which is completed here.
func receiver(h *ingesttest.House, replier *forward.Replier) *url.URL {
	h.Helper()
	server := httptest.NewUnstartedServer(nil)
	origin := h.URL("http://" + server.Listener.Addr().String())
	o := receive.Options{
		PublicURL: origin, Accounts: h.Setup.Accounts, Streams: h.Streams, Store: store.New(nil, ingesttest.Secret), Log: zerolog.Nop(),
		Forward: h.Setup.Targets, Replier: replier,
	}
	if replier != nil {
		replier.Applications = forward.Applications{Accounts: h.Setup.Accounts, Targets: h.Setup.Targets, PublicURL: origin}
		replier.Streams, replier.Client = h.Streams, forward.NewClient(h.Setup.Allow)
	}
	server.Config.Handler = receive.New(o)
	server.Start()
	h.Cleanup(server.Close)
	h.Webhook = origin.JoinPath("webhooks/twilio").String()
	h.Twilio.SetWebhook(h.Webhook)
	return origin
}
