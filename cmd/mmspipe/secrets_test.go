package main

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

	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// secretFiles are the files of a data directory that hold secrets.
var secretFiles = []string{"secret", "operator-key", "nats-password"}

// TestSecretsStayInside looks for everything that is secret in everything that a
// run writes: the log at its most talkative, the feed and the data directory.
func TestSecretsStayInside(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			app := newApplication(t)
			p := startOn(t, backend{b.name, func(t *testing.T) (map[string]string, func() store.Bucket) {
				env, open := b.prepare(t)
				env["MMSPIPE_FORWARD"] = "http://shop:password0of0a0forward@" + app.host + "/sms?key=query0of0a0forward"
				env["MMSPIPE_MEDIA_AUTH"] = "required"
				if env["MMSPIPE_S3_ENDPOINT"] != "" {
					env["MMSPIPE_SECRET"] = testSecret
					env["MMSPIPE_S3_PUBLIC_ENDPOINT"] = "http://" + env["MMSPIPE_S3_ENDPOINT"]
				}
				return env, open
			}})
			secrets := map[string]string{"auth token": testToken}
			for _, name := range []string{"MMSPIPE_SECRET", "MMSPIPE_S3_SECRET_KEY"} {
				secrets[name] = p.env[name]
			}
			for _, name := range secretFiles {
				content, _ := os.ReadFile(filepath.Join(p.env["MMSPIPE_DATA"], name))
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
}

// talk makes the service handle everything that is secret, in success and in
// failure, and returns what it made of that which must not be seen again.
func (p *program) talk(operatorKey string) map[string]string {
	p.t.Helper()
	hook := p.public + "/webhooks/twilio"
	secrets := map[string]string{}
	photo := testImage(p.t, "small.jpg")
	medium := func(always simulate.Fault, first ...simulate.Fault) simulate.Media {
		return simulate.Media{Data: photo, ContentType: "image/jpeg", Faults: first, Always: always}
	}
	sent := p.send(simulate.Message{Body: loadText, Media: []simulate.Media{
		medium("", simulate.Unauthorized), medium("", simulate.Forbidden), medium("", simulate.Reset, simulate.Truncate),
		medium("", simulate.ServerError, simulate.NotFound), medium(simulate.Gone), medium(simulate.RedirectLoop),
		medium(simulate.RedirectTo(p.admin + "/readyz?X-Amz-Signature=of0a0redirect")),
		{URL: "http://user:password0of0a0url@127.0.0.1:1/?Signature=of0a0webhook", ContentType: "image/jpeg"},
	}})
	secrets["signature of a redirect"], secrets["signature in a webhook"] = "of0a0redirect", "of0a0webhook"
	secrets["password in a webhook"] = "password0of0a0url"
	secrets["signature of a webhook"] = signature.Sign(testToken, hook, sent.Form)

	forged, err := p.twilio.Send(p.t.Context(), simulate.Message{Body: loadText, Forged: true})
	if err != nil || forged.Status != http.StatusForbidden {
		p.t.Errorf("a forged webhook: %d, %v", forged.Status, err)
	}
	secrets["forged signature"] = signature.Sign(testToken+"forged", hook, forged.Form)

	response, _ := p.awaitMedium(sent, 0) // the client follows the redirect
	for _, name := range []string{"X-Amz-Signature", "Signature", "signature"} {
		if value := response.Request.URL.Query().Get(name); value != "" {
			secrets["signed link"] = value
		}
	}
	if secrets["signed link"] == "" {
		p.t.Errorf("a medium was served without a signed link, at %s", response.Request.URL.Path)
	}
	p.refused(mediaPath(p.t, sent, 0)+"?Expires=1&Signature="+secrets["signed link"], "", "")
	p.refused("/feed", testAccount, operatorKey)
	p.refused("/feed", operatorSID, testToken)
	p.awaitEvents("mms.stored", 4)
	p.awaitEvents("mms.failed", 4)
	for i, signature := range p.twilio.Signatures() {
		secrets[fmt.Sprintf("signature of CDN link %d", i)] = signature
	}
	return secrets
}

// refuseForward has an application refuse a webhook, and returns what signed it.
func (p *program) refuseForward(app *application) string {
	p.t.Helper()
	app.answer(http.StatusInternalServerError)
	p.send(simulate.Message{From: "+15005550111", Body: loadText})
	p.eventually("the log says that it does", func() bool { return strings.Contains(p.logs.String(), "answered 500") })
	signatures := app.signatures()
	return signatures[len(signatures)-1]
}

// refused wants a request with these credentials refused.
func (p *program) refused(path, user, password string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.public+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode < 400 {
		p.t.Errorf("GET %s as %q: %s", path, user, response.Status)
	}
}

// lookFor fails the test where a secret is found. The text of messages may be in
// the records of their account, and in the queue until their jobs are done, but not
// in the log or the feed.
func (p *program) lookFor(secrets map[string]string) {
	p.t.Helper()
	_, feed := p.get("/feed?limit=1000")
	log := []byte(p.logs.String())
	for name, content := range map[string][]byte{"log": log, "feed": feed} {
		if !bytes.Contains(content, []byte(testAccount)) {
			p.t.Errorf("the %s does not even have the account's SID", name)
		}
		if bytes.Contains(content, []byte(loadText)) {
			p.t.Errorf("the text of a message is in the %s", name)
		}
		for what, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				p.t.Errorf("%s is in the %s: %s", what, name, lineWith(content, secret))
			}
		}
	}
	err := filepath.WalkDir(p.env["MMSPIPE_DATA"], func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || slices.Contains(secretFiles, entry.Name()) {
			return err
		}
		content, err := os.ReadFile(path)
		for what, secret := range secrets {
			if strings.HasSuffix(what, "in a webhook") {
				continue // the form of a webhook is kept as it came
			}
			if bytes.Contains(content, []byte(secret)) {
				p.t.Errorf("%s is in %s", what, path)
			}
		}
		return err
	})
	if err != nil {
		p.t.Error(err)
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
