package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
)

const (
	testAccount = "AC0123456789abcdef0123456789abcdef"
	testToken   = "auth0token1of2the3tests4only5abcd"

	testSecret = "secret0of0the0tests0only0and0not0a0real0one"

	// patience is how long anything may take that happens by itself. It is long
	// because it is only waited out by a test that fails.
	patience = 2 * time.Minute
)

// program is a running mmspipe serve with a simulated Twilio beside it.
type program struct {
	t      *testing.T
	twilio *simulate.Simulator
	env    map[string]string
	public string // origins
	admin  string
	logs   *logs

	stop func() int // stops it as SIGTERM does and returns the exit status
}

// backend is where a program keeps its streams and objects.
type backend struct {
	name string
	// prepare returns settings, and how to open the same bucket for the audit.
	prepare func(t *testing.T) (env map[string]string, open func() store.Bucket)
}

var backends = []backend{
	{"embedded", func(t *testing.T) (map[string]string, func() store.Bucket) {
		data := t.TempDir()
		return map[string]string{"MMSPIPE_DATA": data}, func() store.Bucket {
			bucket, err := store.OpenDir(filepath.Join(data, "bucket"))
			if err != nil {
				t.Fatal(err)
			}
			return bucket
		}
	}},
	{"external", func(t *testing.T) (map[string]string, func() store.Bucket) {
		o := storetest.StartMinIO(t)
		o.Bucket = "mmspipe"
		env := map[string]string{
			"MMSPIPE_DATA": t.TempDir(), "MMSPIPE_NATS_URL": startNATS(t).ClientURL(),
			"MMSPIPE_S3_ENDPOINT": o.Endpoint, "MMSPIPE_S3_BUCKET": o.Bucket, "MMSPIPE_S3_TLS": "false",
			"MMSPIPE_S3_ACCESS_KEY": o.AccessKey, "MMSPIPE_S3_SECRET_KEY": o.SecretKey,
		}
		return env, func() store.Bucket {
			bucket, err := store.OpenMinIO(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			return bucket
		}
	}},
}

// onBackends runs a test on every backend.
func onBackends(t *testing.T, test func(t *testing.T, p *program)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test(t, startOn(t, b))
		})
	}
}

// startOn starts a program on b. When the test ends the program is stopped and
// every blob in its bucket is rehashed against its record.
func startOn(t *testing.T, b backend) *program {
	t.Helper()
	env, open := b.prepare(t)
	twilio, err := simulate.Start(simulate.Options{Account: testAccount, Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twilio.Close() })
	settings := testSettings(t, twilio)
	if forward, err := url.Parse(env["MMSPIPE_FORWARD"]); err == nil && forward.Port() != "" {
		settings["MMSPIPE_FETCH_ALLOW"] += ",127.0.0.0/8:" + forward.Port()
	}
	if more := env["MMSPIPE_FETCH_ALLOW"]; more != "" {
		settings["MMSPIPE_FETCH_ALLOW"] += "," + more
	}
	maps.Copy(env, settings)
	maps.Copy(env, map[string]string{"MMSPIPE_LISTEN": "127.0.0.1:0", "MMSPIPE_ADMIN_LISTEN": "127.0.0.1:0"})
	p := &program{t: t, twilio: twilio, env: env}
	p.start()
	t.Cleanup(func() {
		if status := p.stop(); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if orphans := storetest.Audit(t, open()); len(orphans) > 0 {
			t.Errorf("blobs without a record: %v", orphans)
		}
	})
	return p
}

// testSettings are those of a service whose world outside is a simulated Twilio.
func testSettings(t *testing.T, twilio *simulate.Simulator) map[string]string {
	t.Helper()
	cdn, err := url.Parse(twilio.CDN())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"MMSPIPE_ACCOUNTS": testAccount + ":" + testToken,
		"MMSPIPE_UPSTREAM": twilio.Origin(), "MMSPIPE_FETCH_ALLOW": cdn.Hostname() + "/32:" + cdn.Port(),
		"MMSPIPE_LOG_LEVEL": "debug", "MMSPIPE_LOG_FORMAT": "json",
	}
}

// start runs mmspipe serve until it says that it is serving.
func (p *program) start() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.logs = &logs{}
	serving := p.logs.find("serving")
	exited := make(chan int, 1)
	getenv := func(name string) (string, bool) { value, ok := p.env[name]; return value, ok }
	go func() {
		exited <- run(ctx, []string{"serve"}, getenv, stdio{strings.NewReader(""), io.Discard, p.logs})
	}()
	p.stop = sync.OnceValue(func() int { cancel(); return <-exited })
	select {
	case line := <-serving:
		p.public, p.admin = "http://"+line["public"].(string), "http://"+line["admin"].(string)
		p.twilio.SetWebhook(p.public + "/webhooks/twilio")
	case status := <-exited:
		p.t.Fatalf("exit status %d before it was serving:\n%s", status, p.logs)
	case <-time.After(patience):
		p.t.Fatalf("not serving after %v:\n%s", patience, p.logs)
	}
}

// logs is what a program writes to its log. Lines can be waited for.
type logs struct {
	mu      sync.Mutex
	text    bytes.Buffer
	waiting map[string][]chan map[string]any
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	scanner := bufio.NewScanner(bytes.NewReader(b))
	for scanner.Scan() {
		line := map[string]any{}
		if json.Unmarshal(scanner.Bytes(), &line) != nil {
			continue
		}
		message, _ := line["message"].(string)
		for _, c := range l.waiting[message] {
			c <- line
		}
		delete(l.waiting, message)
	}
	return len(b), nil
}

// find returns a channel that gets the next line with this message.
func (l *logs) find(message string) <-chan map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan map[string]any, 1)
	if l.waiting == nil {
		l.waiting = map[string][]chan map[string]any{}
	}
	l.waiting[message] = append(l.waiting[message], c)
	return c
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// eventually polls until check is true.
func (p *program) eventually(what string, check func() bool) {
	p.t.Helper()
	p.within(patience, what, check)
}

// within polls until check is true, for some time at most.
func (p *program) within(limit time.Duration, what string, check func() bool) {
	p.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("not in %v: %s\n%s", limit, what, p.logs)
		}
	}
}

// send sends a message and wants the webhook answered 200 with empty TwiML.
func (p *program) send(m simulate.Message) simulate.Sent {
	p.t.Helper()
	sent, err := p.twilio.Send(p.t.Context(), m)
	if err != nil {
		p.t.Fatal(err)
	}
	if sent.Status != http.StatusOK || !strings.Contains(sent.Body, "<Response/>") {
		p.t.Fatalf("webhook answered %d %q", sent.Status, sent.Body)
	}
	return sent
}

// get reads a path of the public listener with the account's credentials.
func (p *program) get(path string) (*http.Response, []byte) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.public+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.SetBasicAuth(testAccount, testToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response, body
}

// mediaPath is the path of a message's i-th medium here.
func mediaPath(t *testing.T, sent simulate.Sent, i int) string {
	t.Helper()
	u, err := url.Parse(sent.MediaURLs[i])
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}

// awaitMedium waits until the i-th medium of a message is served and returns it.
func (p *program) awaitMedium(sent simulate.Sent, i int) (response *http.Response, body []byte) {
	p.t.Helper()
	path := mediaPath(p.t, sent, i)
	p.eventually("GET "+path, func() bool {
		response, body = p.get(path)
		return response.StatusCode == http.StatusOK
	})
	return response, body
}

// event is what the tests read of an event.
type event struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Subject  string         `json:"subject"`
	Sequence string         `json:"sequence"`
	Data     map[string]any `json:"data"`
}

// events reads the account's feed, page by page.
func (p *program) events() (events []event) {
	p.t.Helper()
	for after := ""; ; after = "&after=" + events[len(events)-1].Sequence {
		response, body := p.get("/feed?limit=1000" + after)
		if response.StatusCode != http.StatusOK {
			p.t.Fatalf("GET /feed: %d %s", response.StatusCode, body)
		}
		for line := range bytes.Lines(body) {
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				p.t.Fatalf("feed: %v in %s", err, line)
			}
			events = append(events, e)
		}
		if len(body) == 0 {
			return events
		}
	}
}

// awaitEvents waits until the feed has as many events of a type.
func (p *program) awaitEvents(kind string, count int) []event {
	p.t.Helper()
	var found []event
	p.eventually(fmt.Sprintf("%d events %s", count, kind), func() bool {
		found = slices.DeleteFunc(p.events(), func(e event) bool { return e.Type != kind })
		return len(found) >= count
	})
	if len(found) != count {
		p.t.Fatalf("%d events %s, want %d: %v", len(found), kind, count, found)
	}
	return found
}

// testImage reads a file of the project's test pictures.
func testImage(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../testdata/images", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
