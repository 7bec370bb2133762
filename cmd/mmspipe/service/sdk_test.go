package service_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/simulate"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// runNode runs a script of Twilio's own client for Node against a program.
func runNode(t *testing.T, p *servicetest.Program, script string, env ...string) {
	t.Helper()
	sdk := filepath.Join(servicetest.Root(t), "testdata", "sdk")
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(sdk, "node_modules", "twilio"))
	}
	if err != nil {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatalf("%v, and MMSPIPE_TEST_NO_SKIP=1 forbids to leave it out: npm ci --prefix testdata/sdk", err)
		}
		t.Skipf("NOT TESTED with Twilio's client for Node: %v: npm ci --prefix testdata/sdk", err)
	}
	client := exec.CommandContext(t.Context(), node, filepath.Join(sdk, script))
	client.Env = append(os.Environ(), append(env, "ORIGIN="+p.Public, "ACCOUNT="+servicetest.Account, "TOKEN="+servicetest.Token)...)
	if output, err := client.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestTwilioNode reads and deletes media.
func TestTwilioNode(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded)
	var media []simulate.Media
	for range 5 {
		media = append(media, simulate.Media{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"})
	}
	sent := p.Send(simulate.Message{Media: media})
	p.AwaitEvents("mms.stored", 5)
	runNode(t, p, "media.mjs", "MESSAGE="+sent.MessageSID)
	p.AwaitEvents("mms.deleted", 1)
}

// relaying is a program on b that sends through the simulated provider, and the origin
// of a host of pictures.
func relaying(t *testing.T, b servicetest.Backend) (p *servicetest.Program, pictures string) {
	t.Helper()
	host := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(servicetest.Root(t), "testdata", "images"))))
	t.Cleanup(host.Close)
	return servicetest.Start(t, b, "--relay=true", "--fetch-allow="+servicetest.Allow(t, host.URL)), host.URL
}

// TestTwilioNodeMessages sends, reads and deletes messages.
func TestTwilioNodeMessages(t *testing.T) {
	t.Parallel()
	p, pictures := relaying(t, servicetest.Embedded)
	runNode(t, p, "messages.mjs", "MEDIA_URL="+pictures+"/photo.jpg")
	p.AwaitEvents("mms.sent", 3)
	p.AwaitEvents("mms.deleted", 1)
}

// elsewhere changes the origin of requests, and nothing else.
type elsewhere struct{ host string }

// RoundTrip implements http.RoundTripper.
func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "http", e.host, ""
	return http.DefaultTransport.RoundTrip(r)
}

// TestTwilioGoMessages sends, reads and deletes messages with Twilio's client for Go,
// and looks for what it gave away.
func TestTwilioGoMessages(t *testing.T) {
	servicetest.OnBackends(t, sendAndDelete)
}

func sendAndDelete(t *testing.T, b servicetest.Backend) {
	t.Helper()
	p, pictures := relaying(t, b)
	c := &client.Client{
		Credentials: client.NewCredentials(servicetest.Account, servicetest.Token),
		HTTPClient:  &http.Client{Transport: elsewhere{strings.TrimPrefix(p.Public, "http://")}},
	}
	c.SetAccountSid(servicetest.Account)
	sdk := twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}).Api
	const to, text = "+15558675311", "words that are nobody else's"
	created, err := sdk.CreateMessage((&openapi.CreateMessageParams{}).SetTo(to).SetFrom("+15005550006").SetBody(text).
		SetMediaUrl([]string{pictures + "/photo.jpg", pictures + "/sticker.png"}))
	if err != nil {
		t.Fatal(err)
	}
	p.Eventually("the message is delivered", func() bool {
		m, err := sdk.FetchMessage(*created.Sid, nil)
		return err == nil && *m.Status == "delivered" && *m.NumMedia == "2"
	})
	if media, err := sdk.ListMedia(*created.Sid, nil); err != nil || len(media) != 2 {
		t.Errorf("%d media, %v", len(media), err)
	}
	if list, err := sdk.ListMessage((&openapi.ListMessageParams{}).SetTo(to)); err != nil || len(list) != 1 || *list[0].Body != text {
		t.Errorf("list of %d, %v", len(list), err)
	}
	accepted := p.Twilio.Accepted()
	if len(accepted) != 1 || accepted[0].Form.Get("Body") != text || len(accepted[0].Links) != 2 ||
		accepted[0].Links[0].ContentType != "image/jpeg" || accepted[0].Links[0].Size > 600_000 {
		t.Errorf("accepted %+v", accepted)
	}
	if err := sdk.DeleteMessage(*created.Sid, nil); err != nil {
		t.Error(err)
	}
	p.AwaitEvents("mms.deleted", 2)
	for _, secret := range []string{to, text, "Signature=", servicetest.Token} {
		if strings.Contains(p.Logs.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
		for _, e := range p.Events() {
			if strings.Contains(fmt.Sprint(e), secret) {
				t.Errorf("%q is in event %s, which the deletion left", secret, e.ID)
			}
		}
	}
}
