package service_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// TestPassThroughSDKs: what Twilio's own clients ask of an account beside its messages is
// answered as at Twilio, and messages are still this service's.
func TestPassThroughSDKs(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded, "--relay=true", "--pass-through=true")
	var numbers []simulate.Number
	for i := range 5 {
		numbers = append(numbers, simulate.Number{PhoneNumber: fmt.Sprintf("+1500555010%d", i)})
	}
	p.Twilio.SetNumbers(numbers...)
	c := &client.Client{
		Credentials: client.NewCredentials(servicetest.Account, servicetest.Token),
		HTTPClient:  &http.Client{Transport: elsewhere{strings.TrimPrefix(p.Public, "http://")}},
	}
	c.SetAccountSid(servicetest.Account)
	sdk := twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}).Api
	sent, err := sdk.CreateMessage((&openapi.CreateMessageParams{}).SetTo("+15558675311").SetFrom("+15005550006").SetBody("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sdk.CreateMessageFeedback(strings.Replace(*sent.Sid, "SM", "MM", 1), nil); err == nil {
		t.Error("feedback to a message that does not exist is taken")
	}
	p.Eventually("the message is delivered", func() bool {
		m, err := sdk.FetchMessage(*sent.Sid, nil)
		return err == nil && *m.Status == "delivered"
	})
	if a, err := sdk.FetchAccount(servicetest.Account); err != nil || *a.Status != "active" {
		t.Errorf("account %+v, %v", a, err)
	}
	if b, err := sdk.FetchBalance(nil); err != nil || *b.Currency != "USD" {
		t.Errorf("balance %+v, %v", b, err)
	}
	if list, err := sdk.ListIncomingPhoneNumber((&openapi.ListIncomingPhoneNumberParams{}).SetPageSize(2)); err != nil || len(list) != len(numbers) {
		t.Errorf("%d numbers, %v", len(list), err)
	}
	f, err := sdk.CreateMessageFeedback(*sent.Sid, (&openapi.CreateMessageFeedbackParams{}).SetOutcome("confirmed"))
	if err != nil || *f.MessageSid != *sent.Sid || *f.Outcome != "confirmed" || !strings.Contains(*f.Uri, *sent.Sid) {
		t.Errorf("feedback %+v, %v", f, err)
	}
	if n := p.Twilio.Calls(simulate.FetchMessage) + p.Twilio.Calls(simulate.ListMessage); n != 0 {
		t.Errorf("%d requests for messages went to the provider", n)
	}
	if strings.Contains(p.Logs.String(), servicetest.Token) || !strings.Contains(p.Logs.String(), "/Balance.json") {
		t.Error("the log has the token, or lacks a request")
	}
	runNode(t, p, "account.mjs", fmt.Sprint("NUMBERS=", len(numbers)), "MESSAGE="+*sent.Sid)
}

// provider is an upstream that notes what it is asked.
type provider struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.requests, p.bodies = append(p.requests, r.Clone(r.Context())), append(p.bodies, string(body))
	p.mu.Unlock()
	_, password, _ := r.BasicAuth()
	switch {
	case password != "new":
		w.WriteHeader(http.StatusUnauthorized)
	case strings.Contains(r.URL.Path, "/Broken"):
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("X-Kept", "1")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(w, "an answer")
	}
}

// count is how many requests came, of which the last two try the tokens of the account.
func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

// passing is a service that passes through to a provider, in the middle of a rotation of
// tokens.
func passing(t *testing.T, on bool) (*servicetest.Program, *provider) {
	t.Helper()
	upstream := &provider{}
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	p := servicetest.Start(t, servicetest.Embedded, "--api-keys=SKread:reader:"+servicetest.Account+":read,SKwrite:writer:"+servicetest.Account+":write,SKall:all:*:write")
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	account, err := store.ParseAccountSID(servicetest.Account)
	if err != nil {
		t.Fatal(err)
	}
	p.Config.PassThrough, p.Config.Accounts = on, map[store.AccountSID][]string{account: {servicetest.Token, "new"}}
	if p.Config.Upstream, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	p.Start()
	return p, upstream
}

// ask makes a request to a service, with a target that is sent as it is.
func ask(t *testing.T, p *servicetest.Program, method, target, user, password, body string) (*http.Response, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.Public, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	request.URL.Opaque, request.URL.RawQuery = path, query
	request.SetBasicAuth(user, password)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Cookie", "secret")
	request.Header.Set("X-Forwarded-For", "192.0.2.7")
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Connection", "Upgrade")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response, string(answer), err
}

// TestPassThrough: requests go on as they are but for their credentials, and answers come
// back as they are but for what is of one hop; who may not do something here may not do
// it there.
func TestPassThrough(t *testing.T) {
	t.Parallel()
	p, upstream := passing(t, true)
	const prefix = "/2010-04-01/Accounts/" + servicetest.Account
	response, answer, err := ask(t, p, "POST", prefix+"/Calls.json?a=%2B1", servicetest.Account, servicetest.Token, "To=%2B1")
	if err != nil || response.StatusCode != http.StatusTemporaryRedirect || answer != "an answer" ||
		response.Header.Get("Location") != "/elsewhere" || response.Header.Get("X-Kept") != "1" || response.Header.Get("X-Hop") != "" {
		t.Errorf("answered %v %q, %v", response, answer, err)
	}
	if n := upstream.count(); n != 2 { // the first token is refused
		t.Fatalf("%d requests", n)
	}
	got := upstream.requests[1]
	user, password, _ := got.BasicAuth()
	if got.Method != "POST" || got.URL.String() != prefix+"/Calls.json?a=%2B1" || upstream.bodies[1] != "To=%2B1" || user != servicetest.Account || password != "new" {
		t.Errorf("%s %s of %q by %s:%s", got.Method, got.URL, upstream.bodies[1], user, password)
	}
	for _, name := range []string{"Cookie", "X-Forwarded-For", "Upgrade", "Connection"} {
		if got.Header.Get(name) != "" {
			t.Errorf("%s: %s", name, got.Header.Get(name))
		}
	}
	for _, c := range []struct {
		name, method, path, user, password string
		want                               int
		passes                             bool
	}{
		{"a reader reads", "GET", "/Calls.json", "SKread", "reader", 307, true},
		{"a reader writes", "POST", "/Calls.json", "SKread", "reader", 401, false},
		{"a reader deletes", "DELETE", "/Calls/CA1.json", "SKread", "reader", 401, false},
		{"a key writes", "POST", "/Calls.json", "SKwrite", "writer", 307, true},
		{"the operator reads", "GET", "/Calls.json", "SKall", "all", 307, true},
		{"a key reads the account", "GET", ".json", "SKwrite", "writer", 401, false},
		{"the operator reads the account", "GET", ".json", "SKall", "all", 401, false},
		{"a key makes keys", "POST", "/Keys.json", "SKwrite", "writer", 401, false},
		{"a key makes keys, in capitals", "POST", "/KEYS", "SKwrite", "writer", 401, false},
		{"the owner reads the account", "GET", ".json", servicetest.Account, servicetest.Token, 307, true},
		{"nobody", "GET", "/Calls.json", "SKwrite", "wrong", 401, false},
		{"another method", "PATCH", "/Calls.json", servicetest.Account, servicetest.Token, 405, false},
		{"short codes", "GET", "/SMS/ShortCodes.json", servicetest.Account, servicetest.Token, 307, true},
		{"a recording", "GET", "/Recordings/RE1.wav", servicetest.Account, servicetest.Token, 307, true},
	} {
		before := upstream.count()
		response, answer, err := ask(t, p, c.method, prefix+c.path, c.user, c.password, "")
		if err != nil || response.StatusCode != c.want || upstream.count() > before != c.passes {
			t.Errorf("%s: answered %v %s, %v; %d requests", c.name, response, answer, err, upstream.count()-before)
		}
	}
	before := upstream.count()
	const another = "/2010-04-01/Accounts/AC00000000000000000000000000000009/Calls.json"
	for user, password := range map[string]string{servicetest.Account: servicetest.Token, "SKall": "all"} {
		if response, _, err := ask(t, p, "GET", another, user, password, ""); err != nil || response.StatusCode != 404 {
			t.Errorf("%s at another account: %v, %v", user, response, err)
		}
	}
	if response, _, err := ask(t, p, "POST", prefix+"/Calls.json", servicetest.Account, servicetest.Token, strings.Repeat("x", 257<<10)); err != nil || response.StatusCode != 413 {
		t.Errorf("a large body: %v, %v", response, err)
	}
	if upstream.count() != before {
		t.Errorf("%d requests were passed through", upstream.count()-before)
	}
	if _, answer, err := ask(t, p, "GET", prefix+"/Broken.json", servicetest.Account, servicetest.Token, ""); err == nil {
		t.Errorf("an answer that broke off is whole: %q", answer)
	}
	for _, secret := range []string{servicetest.Token, "panic"} {
		if strings.Contains(p.Logs.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, p.Logs)
		}
	}
}

// TestPassThroughOwned: nothing of messages passes through, in no spelling of its path, and
// nothing at all where it is off.
func TestPassThroughOwned(t *testing.T) {
	t.Parallel()
	const message = "MM0123456789abcdef0123456789abcdef"
	p, upstream := passing(t, true)
	off, unasked := passing(t, false)
	for _, path := range []string{
		"/Messages", "/Messages.json", "/Messages.csv", "/Message.json", "/messages.json", "/MESSAGES/" + message + ".json",
		"/Messages/" + message, "/Messages/" + message + "/Media", "/Messages/" + message + "/Media/ME1.json", "/Messages/" + message + "/Media/ME1/x",
		"/Messages/" + message + "/Other.json", "/Message/" + message + "/Feedback.json", "/messages/" + message + "/Feedback.json",
		"/Messages/" + message + "/Feedback/x.json", "/Messages/" + message + "/x/Feedback.json",
		"/Media.json", "/Media/ME1", "/SMS/Messages.json", "/sms/messages/" + message + ".json", "/SMS/Message.json", "/SMS",
		"/%4dessages.json", "/Messages%2ejson", "/Messages%2F" + message + ".json", "%2FMessages.json", "/Calls%2f..%2fMessages.json",
		"/Calls/../Messages.json", "/Calls/%2e%2e/Messages.json", "/./Messages.json", "//Messages.json", "/Calls//../Messages.json", "/Messages.json/",
		"/.Messages.json", "/Messages;x.json", "/Calls;/../Messages.json", `/Calls\..\Messages.json`, "/Messages.json%00", "/Messages%20", "/Messages./x",
		"/Calls/", "/",
	} {
		for _, prefix := range []string{"/2010-04-01/Accounts/" + servicetest.Account, "/2010-04-01//Accounts/" + servicetest.Account, "/2010-04-01/accounts/" + servicetest.Account, "/x/../2010-04-01/Accounts/" + servicetest.Account} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				// A redirect to the same path, written well, is no answer from there.
				if response, answer, err := ask(t, p, method, prefix+path, servicetest.Account, servicetest.Token, ""); err == nil && answer == "an answer" {
					t.Errorf("%s %s: answered %v", method, prefix+path, response)
				}
			}
		}
	}
	for _, path := range []string{"/2010-04-01/Accounts.json", "/2010-04-02/Accounts/" + servicetest.Account + "/Calls.json", "/v1/Services", "/"} {
		if response, _, err := ask(t, p, "GET", path, servicetest.Account, servicetest.Token, ""); err != nil || response.StatusCode != 404 {
			t.Errorf("%s: answered %v, %v", path, response, err)
		}
	}
	for i, r := range upstream.requests {
		t.Errorf("request %d passed through: %s %s", i, r.Method, r.URL)
	}
	response, answer, err := ask(t, off, "GET", "/2010-04-01/Accounts/"+servicetest.Account+"/Calls.json", servicetest.Account, servicetest.Token, "")
	if err != nil || response.StatusCode != 404 || unasked.count() != 0 {
		t.Errorf("off: answered %v %s, %v; %d requests", response, answer, err, unasked.count())
	}
}
