package faults_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
)

// campaign is a thousand messages with a few pictures among them, sent through a
// site, with the host of the pictures and the application that is told of them.
type campaign struct {
	*site
	host     *httptest.Server // of the pictures
	app      *httptest.Server // of the status callbacks
	messages []string         // SIDs, as they were answered

	mu       sync.Mutex
	pictures map[string][]byte // by path
	gets     map[string]int    // of the host, by path
	told     map[string]int    // callbacks, by SID and status
}

// TestCampaign sends a thousand messages with three pictures among them while the
// worker is killed three times and the provider answers some of them badly. Each
// picture is downloaded once and fitted once, and no message is sent twice.
func TestCampaign(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a campaign, because -short leaves it out")
	}
	t.Parallel()
	const messages, kills = 1000, 3
	c := newCampaign(t)
	c.Twilio.Script(badly(messages)...)
	for batch := range kills + 1 {
		for i := batch * messages / (kills + 1); i < (batch+1)*messages/(kills+1); i++ {
			c.create(i)
		}
		if batch == kills {
			break
		}
		c.Eventually("messages of this batch are being sent", func() bool {
			return len(c.Twilio.Accepted()) > batch*messages/(kills+1)+messages/20
		})
		c.mmspipe.kill()
		c.mmspipe.start()
		c.awaitReady()
	}
	c.Within(5*time.Minute, "the queue is empty", func() bool { return c.queued() == 0 })
	unknown := c.replayUnknown()
	c.Within(5*time.Minute, "the queue is empty again", func() bool { return c.queued() == 0 })
	t.Logf("%d of %d messages had an outcome that could not be known, and were sent on purpose", unknown, messages)
	c.checkSends()
	c.checkWork()
	c.checkStatuses()
}

// campaignPictures are a large one, one of a kind that no carrier takes, and one that
// fits as it is.
var campaignPictures = []string{"photo.jpg", "meadow.webp", "small.jpg"}

// badly are the outcomes of a campaign at the provider: one in ten is not a plain
// success.
func badly(n int) []simulate.Outcome {
	outcomes := make([]simulate.Outcome, n)
	for i := range outcomes {
		switch i % 50 {
		case 7, 21:
			outcomes[i] = simulate.Outcome{Refuse: http.StatusTooManyRequests}
		case 13:
			outcomes[i] = simulate.Outcome{Answer: simulate.ServerError}
		case 29:
			outcomes[i] = simulate.Outcome{Answer: simulate.Reset}
		case 41:
			outcomes[i] = simulate.Outcome{Callbacks: []string{"delivered", "sent", "delivered"}}
		}
	}
	return outcomes
}

func newCampaign(t *testing.T) *campaign {
	t.Helper()
	c := &campaign{pictures: map[string][]byte{}, gets: map[string]int{}, told: map[string]int{}}
	for _, name := range campaignPictures {
		c.pictures["/"+name] = servicetest.Image(t, name)
	}
	c.host = httptest.NewServer(http.HandlerFunc(c.servePicture))
	t.Cleanup(c.host.Close)
	c.app = httptest.NewServer(http.HandlerFunc(c.hearStatus))
	t.Cleanup(c.app.Close)
	c.site = newSite(t, buildProgram(t), time.Second, func(s *site) {
		s.storeInMemory()
		s.env["MMSPIPE_RELAY"] = "true"
		s.env["MMSPIPE_PUBLIC_URL"] = s.Public
		for _, server := range []*httptest.Server{c.host, c.app} {
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			s.env["MMSPIPE_FETCH_ALLOW"] += "," + u.Hostname() + "/32:" + u.Port()
		}
	})
	return c
}

func (c *campaign) servePicture(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.gets[r.URL.Path]++
	c.mu.Unlock()
	data, ok := c.pictures[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(data)
}

// hearStatus takes a status callback that is signed as the provider signs.
func (c *campaign) hearStatus(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	_, signed := signature.Verify([]string{servicetest.Token}, signature.Request{
		Method: r.Method, URL: c.app.URL + r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"),
		Signature: r.Header.Get("X-Twilio-Signature"), Body: body,
	})
	form, _ := url.ParseQuery(string(body))
	if err != nil || !signed {
		c.T.Errorf("a status callback that is not signed: %v", form)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[form.Get("MessageSid")+" "+form.Get("MessageStatus")]++
	w.WriteHeader(http.StatusNoContent)
}

// create posts the i-th message, whose text is its own, as any client does.
func (c *campaign) create(i int) {
	c.T.Helper()
	picture := campaignPictures[1+i%2]
	if i%10 == 0 { // a large one is stored a hundred times, not more
		picture = campaignPictures[0]
	}
	form := url.Values{
		"To": {fmt.Sprintf("+1555%07d", i)}, "From": {"+15005550006"}, "Body": {fmt.Sprintf("message %d", i)},
		"MediaUrl": {c.host.URL + "/" + picture}, "StatusCallback": {c.app.URL + "/status?of=campaign"},
	}
	request, err := http.NewRequestWithContext(c.T.Context(), http.MethodPost, c.Public+"/2010-04-01/Accounts/"+servicetest.Account+"/Messages.json", strings.NewReader(form.Encode()))
	if err != nil {
		c.T.Fatal(err)
	}
	request.SetBasicAuth(servicetest.Account, servicetest.Token)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.T.Fatal(err)
	}
	defer response.Body.Close()
	var message struct{ SID string }
	if err := json.NewDecoder(response.Body).Decode(&message); response.StatusCode != http.StatusCreated || err != nil {
		c.T.Fatalf("message %d: answered %s, %v", i, response.Status, err)
	}
	c.messages = append(c.messages, message.SID)
}

// sending is what the API says of a message.
type sending struct {
	Status    string
	ErrorCode int `json:"error_code"`
}

func (c *campaign) message(sid string) (m sending) {
	c.T.Helper()
	response, body := c.Get("/2010-04-01/Accounts/" + servicetest.Account + "/Messages/" + sid + ".json")
	if err := json.Unmarshal(body, &m); response.StatusCode != http.StatusOK || err != nil {
		c.T.Fatalf("GET of message %s: %s %s", sid, response.Status, body)
	}
	return m
}

// replayUnknown has those sent whose outcome is unknown, as a person on call does
// who has looked at them, and returns how many they were.
func (c *campaign) replayUnknown() int {
	c.T.Helper()
	unknown := 0
	for _, sid := range c.messages {
		if m := c.message(sid); m.Status == "failed" && m.ErrorCode == 30008 {
			unknown++
		}
	}
	if unknown > 0 {
		if err := command(c.mmspipe.args[0], "replay", "--reason=unknown-outcome", "--data="+c.env["MMSPIPE_DATA"]); err != nil {
			c.T.Error(err)
		}
	}
	return unknown
}

// checkSends wants each message at the provider once.
func (c *campaign) checkSends() {
	c.T.Helper()
	sent := map[string]int{}
	for _, accepted := range c.Twilio.Accepted() {
		sent[accepted.Form.Get("Body")]++
	}
	for i := range c.messages {
		if n := sent[fmt.Sprintf("message %d", i)]; n != 1 {
			c.T.Errorf("message %d was sent %d times", i, n)
		}
	}
	if len(sent) != len(c.messages) {
		c.T.Errorf("%d messages were sent, want %d", len(sent), len(c.messages))
	}
}

// checkWork wants each picture downloaded once and fitted once.
func (c *campaign) checkWork() {
	c.T.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for path := range c.pictures {
		if c.gets[path] != 1 {
			c.T.Errorf("%s was downloaded %d times", path, c.gets[path])
		}
	}
	output, err := os.ReadFile(c.mmspipe.log)
	if err != nil {
		c.T.Fatal(err)
	}
	fits := 0
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, `"message":"fitted"`) && strings.Contains(line, `"variant":"us"`) {
			fits++
		}
	}
	if fits != len(c.pictures) {
		c.T.Errorf("%d fits, want %d", fits, len(c.pictures))
	}
}

// checkStatuses wants every message to have come to its end, and its client told so.
// The provider gives a callback up that nobody takes: those that it tried while the
// service was being restarted are lost, and few.
func (c *campaign) checkStatuses() {
	c.T.Helper()
	ends := map[string]int{}
	for _, sid := range c.messages {
		m := c.message(sid)
		ends[m.Status]++
		c.mu.Lock()
		told := c.told[sid+" "+m.Status]
		c.mu.Unlock()
		if told < 1 && m.Status != "queued" {
			c.T.Errorf("message %s is %s, which its client was not told", sid, m.Status)
		}
	}
	c.T.Logf("ends: %v", ends)
	if lost := len(c.messages) - ends["delivered"]; lost > len(c.messages)/50 {
		c.T.Errorf("%d messages are not delivered: %v", lost, ends)
	}
}
