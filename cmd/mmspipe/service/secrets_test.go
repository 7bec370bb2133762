package service_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
)

// privateText is the text of messages.
const privateText = "a text that nobody else should read"

// secretFiles are the files of a data directory that hold secrets.
var secretFiles = []string{"secret", "operator-key", "nats-password"}

// TestSecretsStayInside looks for everything that is secret in everything that a
// run writes: the log at its most talkative, the feed and the data directory.
func TestSecretsStayInside(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		app := servicetest.NewApplication(t)
		p := talker{servicetest.Start(t, presigned(b), "--secret="+servicetest.Secret, "--fetch-allow="+servicetest.Allow(t, app.URL()),
			"--forward=http://shop:password0of0a0forward@"+app.Host+"/sms?key=query0of0a0forward")}
		secrets := map[string]string{"auth token": servicetest.Token, "secret": servicetest.Secret}
		if p.Config.S3 != nil {
			secrets["S3 secret key"] = p.Config.S3.SecretKey
		}
		for _, name := range secretFiles {
			content, _ := os.ReadFile(filepath.Join(p.Config.Data, name))
			secrets["file "+name] = strings.TrimSpace(string(content))
		}
		if secrets["file operator-key"] == "" {
			t.Error("there is no operator key to look for")
		}
		maps.Copy(secrets, p.talk(secrets["file operator-key"]))
		secrets["password of a forward"], secrets["query of a forward"] = "password0of0a0forward", "query0of0a0forward"
		secrets["signature of a forward"] = p.refuseForward(app)
		maps.DeleteFunc(secrets, func(_, secret string) bool { return secret == "" })
		p.lookFor(secrets)
	})
}

// talker is a program that is made to talk.
type talker struct{ *servicetest.Program }

// talk makes the service handle everything that is secret, in success and in
// failure, and returns what it made of that which must not be seen again.
func (p talker) talk(operatorKey string) map[string]string {
	p.T.Helper()
	hook := p.Public + "/webhooks/twilio"
	secrets := map[string]string{}
	photo := servicetest.Image(p.T, "small.jpg")
	medium := func(always simulate.Fault, first ...simulate.Fault) simulate.Media {
		return simulate.Media{Data: photo, ContentType: "image/jpeg", Faults: first, Always: always}
	}
	sent := p.Send(simulate.Message{Body: privateText, Media: []simulate.Media{
		medium("", simulate.Unauthorized), medium("", simulate.Forbidden), medium("", simulate.Reset, simulate.Truncate),
		medium("", simulate.ServerError, simulate.NotFound), medium(simulate.Gone), medium(simulate.RedirectLoop),
		medium(simulate.RedirectTo(p.Admin + "/readyz?X-Amz-Signature=of0a0redirect")),
		{URL: "http://user:password0of0a0url@127.0.0.1:1/?Signature=of0a0webhook", ContentType: "image/jpeg"},
	}})
	secrets["signature of a redirect"], secrets["signature in a webhook"] = "of0a0redirect", "of0a0webhook"
	secrets["password in a webhook"] = "password0of0a0url"
	secrets["signature of a webhook"] = signature.Sign(servicetest.Token, hook, sent.Form)

	forged, err := p.Twilio.Send(p.T.Context(), simulate.Message{Body: privateText, Forged: true})
	if err != nil || forged.Status != http.StatusForbidden {
		p.T.Errorf("a forged webhook: %d, %v", forged.Status, err)
	}
	secrets["forged signature"] = signature.Sign(servicetest.Token+"forged", hook, forged.Form)

	response, _ := p.AwaitMedium(sent, 0) // the client follows the redirect
	for _, name := range []string{"X-Amz-Signature", "Signature", "signature"} {
		if value := response.Request.URL.Query().Get(name); value != "" {
			secrets["signed link"] = value
		}
	}
	if secrets["signed link"] == "" {
		p.T.Errorf("a medium was served without a signed link, at %s", response.Request.URL.Path)
	}
	p.refused(servicetest.MediaPath(p.T, sent, 0)+"?Expires=1&Signature="+secrets["signed link"], "", "")
	p.refused("/feed", servicetest.Account, operatorKey)
	p.refused("/feed", operator.KeySID, servicetest.Token)
	p.AwaitEvents("mms.stored", 4)
	p.AwaitEvents("mms.failed", 4)
	for i, signature := range p.Twilio.Signatures() {
		secrets[fmt.Sprintf("signature of CDN link %d", i)] = signature
	}
	return secrets
}

// refuseForward has an application refuse a webhook, and returns what signed it.
func (p talker) refuseForward(app *servicetest.Application) string {
	p.T.Helper()
	app.Answer(http.StatusInternalServerError)
	p.Send(simulate.Message{From: "+15005550111", Body: privateText})
	p.Eventually("the log says that it does", func() bool { return strings.Contains(p.Logs.String(), "answered 500") })
	signatures := app.Signatures()
	return signatures[len(signatures)-1]
}

// refused wants a request with these credentials refused.
func (p talker) refused(path, user, password string) {
	p.T.Helper()
	request, err := http.NewRequestWithContext(p.T.Context(), http.MethodGet, p.Public+path, nil)
	if err != nil {
		p.T.Fatal(err)
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.T.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode < 400 {
		p.T.Errorf("GET %s as %q: %s", path, user, response.Status)
	}
}

// lookFor fails the test where a secret is found. The text of messages may be in
// the records of their account, and in the queue until their jobs are done, but not
// in the log or the feed.
func (p talker) lookFor(secrets map[string]string) {
	p.T.Helper()
	_, feed := p.Get("/feed?limit=1000")
	log := []byte(p.Logs.String())
	for name, content := range map[string][]byte{"log": log, "feed": feed} {
		if !bytes.Contains(content, []byte(servicetest.Account)) {
			p.T.Errorf("the %s does not even have the account's SID", name)
		}
		if bytes.Contains(content, []byte(privateText)) {
			p.T.Errorf("the text of a message is in the %s", name)
		}
		for what, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				p.T.Errorf("%s is in the %s: %s", what, name, lineWith(content, secret))
			}
		}
	}
	err := filepath.WalkDir(p.Config.Data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || slices.Contains(secretFiles, entry.Name()) {
			return err
		}
		content, err := os.ReadFile(path)
		for what, secret := range secrets {
			if strings.HasSuffix(what, "in a webhook") {
				continue // the form of a webhook is kept as it came
			}
			if bytes.Contains(content, []byte(secret)) {
				p.T.Errorf("%s is in %s", what, path)
			}
		}
		return err
	})
	if err != nil {
		p.T.Error(err)
	}
}

// lineWith is the first line that contains a text.
func lineWith(content []byte, text string) string {
	for line := range bytes.Lines(content) {
		if bytes.Contains(line, []byte(text)) {
			return string(line)
		}
	}
	return ""
}
