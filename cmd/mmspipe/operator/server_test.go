package operator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
)

func TestMain(m *testing.M) { servicetest.Main(m) }

// house is a service whose operator API is asked.
type house struct {
	*servicetest.Program
	secret string // of the operator's key
}

func newHouse(t *testing.T, flags ...string) house {
	t.Helper()
	p := servicetest.Start(t, servicetest.Embedded, flags...)
	return house{p, readKey(t, p)}
}

// readKey reads the secret of the key that a service has generated for the operator.
func readKey(t *testing.T, p *servicetest.Program) string {
	t.Helper()
	secret, err := os.ReadFile(filepath.Join(p.Config.Data, operator.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(secret))
}

// ask makes a request with the operator's key.
func (h house) ask(method, path, contentType, body string) (status int, answer string) {
	h.T.Helper()
	request, err := http.NewRequestWithContext(h.T.Context(), method, h.Admin+"/operator/"+path, strings.NewReader(body))
	if err != nil {
		h.T.Fatal(err)
	}
	request.SetBasicAuth(operator.KeySID, h.secret)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.T.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.T.Fatal(err)
	}
	return response.StatusCode, string(text)
}

const form = "application/x-www-form-urlencoded"

// TestUnclear: what is not clear is answered 400 with the wanted spelling, and
// nothing is done.
func TestUnclear(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const number = "%2B15005550123"
	gone := simulate.Media{Data: []byte("x"), ContentType: "image/jpeg", Always: simulate.Gone}
	sent := h.Send(simulate.Message{From: "+15005550123", To: "+15005550199", Media: []simulate.Media{
		{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}, gone,
	}})
	h.AwaitMedium(sent, 0)
	h.AwaitEvents("mms.failed", 1)
	h.Eventually("the queue is empty", func() bool { _, r := h.Readyz(); return r.Streams != nil && r.Streams.Jobs == 0 })
	asked := h.Twilio.Requests(sent.MediaSIDs[1])
	stranger := "AC" + strings.Repeat("9", 32)
	for _, c := range []struct{ path, body, want string }{
		{"erase", "number=" + number + "&dryRun=yes", `dryRun is "yes", want true or false`},
		{"erase", "number=" + number + "&dryRun=", `dryRun is "", want true or false`},
		{"erase", "number=" + number + "&dryRun=TRUE", `dryRun is "TRUE", want true or false`},
		{"erase", "number=" + number + "&dryRun=true&dryRun=false", "dryRun is given 2 times"},
		{"erase?dryRun=true", "number=" + number + "&dryRun=false", "dryRun is given 2 times"},
		{"erase", "number=" + number + "&dryrun=true", "dryrun is not a parameter; want any of account, number, dryRun"},
		{"erase", "number=" + number + "&message=" + sent.MessageSID, "message is not a parameter"},
		{"erase", "number=+15005550123", "a plus sign is written as %2B"},
		{"erase", "number=", "number is"},
		{"erase", "number=500-0123", "such as +15558675310"},
		{"erase", "number=whatsapp:ann", "such as +15558675310"},
		{"erase", "", "number is not given"},
		{"erase", "number=" + number + "&account=AC1", `account is "AC1"`},
		{"erase", "number=" + number + "&account=" + stranger, "is not an account of this service"},
		{"replay", "dryRun=1", `dryRun is "1"`},
		{"replay", "all=si", `all is "si"`},
		{"replay", "message=MM1", `message is "MM1"`},
		{"replay", "media=ME1", `media is "ME1"`},
		{"replay", "since=yesterday", `since is "yesterday", want a time such as 2026-11-23T15:04:05Z`},
		{"replay", "until=2026-11-23", `until is "2026-11-23"`},
		{"replay", "messages=" + sent.MessageSID, "messages is not a parameter"},
		{"reconcile", "fix=y", `fix is "y"`},
		{"reconcile", "fix=true&since=2026", `since is "2026"`},
		{"reconcile", "fix=true&dryRun=true", "dryRun is not a parameter"},
		{"delete-upstream", "dryRun=on", `dryRun is "on"`},
		{"delete-upstream", "dry-run=true", "dry-run is not a parameter; want any of dryRun"},
		{"delete-upstream", "dryRun=%zz", "the parameters cannot be read"},
		{"reindex", "dryRun=no", `dryRun is "no"`},
	} {
		if status, answer := h.ask(http.MethodPost, c.path, form, c.body); status != http.StatusBadRequest || !strings.Contains(answer, c.want) {
			t.Errorf("POST %s with %s: %d %s, want 400 with %q", c.path, c.body, status, answer, c.want)
		}
	}
	for _, kind := range []string{"application/json", "multipart/form-data; boundary=x", "", "text/plain"} {
		if status, answer := h.ask(http.MethodPost, "erase?number="+number, kind, `{"dryRun": true}`); status != http.StatusBadRequest || !strings.Contains(answer, form) {
			t.Errorf("a body of type %q: %d %s", kind, status, answer)
		}
	}
	for _, path := range []string{"failed?reasons=x", "failed?since=1h", "status?x=1", "messages/" + sent.MessageSID + "?private=yes", "messages/MM1"} {
		if status, answer := h.ask(http.MethodGet, path, "", ""); status != http.StatusBadRequest {
			t.Errorf("GET %s: %d %s", path, status, answer)
		}
	}

	if response, _ := h.Get(servicetest.MediaPath(t, sent, 0)); response.StatusCode != http.StatusOK {
		t.Errorf("the medium was erased: %s", response.Status)
	}
	if _, r := h.Readyz(); r.Streams.Jobs != 0 || h.Twilio.Requests(sent.MediaSIDs[1]) != asked {
		t.Errorf("%d jobs are queued", r.Streams.Jobs)
	}
	if deleted := h.Twilio.Deleted(); len(deleted) > 0 {
		t.Errorf("%v were deleted at the provider", deleted)
	}
	// What is clear is done.
	if status, answer := h.ask(http.MethodPost, "erase?number="+number+"&dryRun=true", "", ""); status != http.StatusOK || !strings.Contains(answer, `"messages":1`) {
		t.Errorf("a dry run by the query: %d %s", status, answer)
	}
	if status, answer := h.ask(http.MethodPost, "erase", form, "number="+number+"&dryRun=false"); status != http.StatusOK || !strings.Contains(answer, `"messages":1`) {
		t.Errorf("an erasure: %d %s", status, answer)
	}
}

// TestMessageHidesPrivate: the text, the numbers and the links of an outgoing message
// are shown only if they are asked for, in its record and in its events.
func TestMessageHidesPrivate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const to, from, text = "+15558675311", "+15005550006", "words that are nobody else's"
	picture := h.Twilio.Host(simulate.Message{Media: []simulate.Media{{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}}}, time.Now())
	fields := url.Values{"To": {to}, "From": {from}, "Body": {text}, "MediaUrl": {picture.MediaURLs[0]}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.Public+"/2010-04-01/Accounts/"+servicetest.Account+"/Messages.json", strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(servicetest.Account, servicetest.Token)
	request.Header.Set("Content-Type", form)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var message struct{ SID string }
	if err := json.NewDecoder(response.Body).Decode(&message); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("%s, %v", response.Status, err)
	}
	h.AwaitEvents("mms.ready", 1)
	private := []string{to, from, text, "Signature=", "/Media/ME"}
	var hidden string
	h.Eventually("the record knows of the event", func() bool {
		_, hidden = h.ask(http.MethodGet, "messages/"+message.SID, "", "")
		return strings.Contains(hidden, `"type":"mms.ready"`)
	})
	if !strings.Contains(hidden, `"media":[{"mediaSid":"ME`) {
		t.Errorf("the event does not name its media: %s", hidden)
	}
	for _, secret := range private {
		if strings.Contains(hidden, secret) {
			t.Errorf("%q is shown:\n%s", secret, hidden)
		}
	}
	_, all := h.ask(http.MethodGet, "messages/"+message.SID+"?private=true", "", "")
	for _, name := range []string{"from", "to", "body", "fingerprint"} {
		if field := fmt.Sprintf("%q:", name); strings.Contains(hidden, field) || !strings.Contains(all, field) {
			t.Errorf("%s is not left out of\n%s\nor is not in\n%s", field, hidden, all)
		}
	}
	for _, secret := range private {
		if !strings.Contains(all, secret) {
			t.Errorf("%q is not shown when it is asked for", secret)
		}
	}
}
