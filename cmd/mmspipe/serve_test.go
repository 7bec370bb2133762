package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

func TestMessageWithThreeMedia(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		photo, screenshot, card := testImage(t, "photo.jpg"), testImage(t, "screenshot.png"), []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n")
		sent := p.send(simulate.Message{From: "+14155550100", To: "+14155550199", Body: "three", Media: []simulate.Media{
			{Data: photo, ContentType: "image/jpeg"}, {Data: screenshot, ContentType: "image/png"}, {Data: card, ContentType: "text/x-vcard"},
		}})
		for i, want := range []struct {
			data        []byte
			contentType string
		}{{photo, "image/jpeg"}, {screenshot, "image/png"}, {card, "text/vcard"}} {
			response, body := p.awaitMedium(sent, i)
			if !bytes.Equal(body, want.data) {
				t.Errorf("medium %d: %d bytes with hash %s, want the %d sent", i, len(body), sha256Hex(body), len(want.data))
			}
			if got := response.Header.Get("Content-Type"); got != want.contentType {
				t.Errorf("medium %d: Content-Type %q, want %q", i, got, want.contentType)
			}
		}
		// The photograph is over the limit of a third of the message: its variant
		// is not.
		response, fitted := p.get(mediaPath(t, sent, 0) + "?variant=us")
		if response.StatusCode != http.StatusOK || len(fitted) >= len(photo) || response.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("variant us: %s, %d bytes of %s", response.Status, len(fitted), response.Header.Get("Content-Type"))
		}
		p.awaitEvents("mms.received", 1)
		for _, e := range p.awaitEvents("mms.stored", 3) {
			if e.Data["messageSid"] != sent.MessageSID || e.Data["sha256"] == "" {
				t.Errorf("event %+v is not of message %s", e, sent.MessageSID)
			}
		}
	})
}

func TestTextOnly(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		sent := p.send(simulate.Message{From: "+14155550100", To: "+14155550199", Body: "just words"})
		received := p.awaitEvents("mms.received", 1)
		if received[0].Data["messageSid"] != sent.MessageSID || received[0].Data["numMedia"] != 0.0 {
			t.Errorf("event %+v, want message %s without media", received[0], sent.MessageSID)
		}
		if strings.Contains(p.logs.String(), "just words") {
			t.Error("the text of a message is in the log")
		}
	})
}

func TestSameWebhookTwice(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		sent := p.send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{{Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"}}})
		again, err := p.twilio.Repeat(t.Context(), sent)
		if err != nil || again.Status != http.StatusOK || again.Body != sent.Body {
			t.Fatalf("the repeat was answered %d %q, %v; want it like the first", again.Status, again.Body, err)
		}
		p.awaitMedium(sent, 0)
		p.awaitEvents("mms.stored", 1)
		p.awaitEvents("mms.received", 1)
	})
}

func TestForged(t *testing.T) {
	p := startOn(t, backends[0])
	form := url.Values{
		"AccountSid": {testAccount}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"},
		"Body": {"forged"}, "NumMedia": {"0"},
	}
	hook := p.public + "/webhooks/twilio"
	signed := signature.Sign(testToken, hook, form)
	big := url.Values{"Body": {strings.Repeat("x", 257<<10)}}.Encode()
	for _, c := range []struct {
		name, method, target, signature, contentType, body string
		want                                               int
	}{
		{"no signature", "POST", hook, "", "application/x-www-form-urlencoded", form.Encode(), 403},
		{"wrong signature", "POST", hook, signature.Sign("another", hook, form), "application/x-www-form-urlencoded", form.Encode(), 403},
		{"other parameters", "POST", hook, signed, "application/x-www-form-urlencoded", form.Encode() + "&MediaUrl0=http%3A%2F%2Fevil", 403},
		{"other URL", "POST", hook + "?x=1", signed, "application/x-www-form-urlencoded", form.Encode(), 403},
		{"parameters in the query", "POST", hook + "?" + form.Encode(), signature.Sign("another", hook, nil), "application/x-www-form-urlencoded", "", 403},
		{"by GET", "GET", hook + "?" + form.Encode(), signed, "", "", 403},
		{"another account", "POST", hook, signed, "application/x-www-form-urlencoded", strings.Replace(form.Encode(), testAccount, "AC"+strings.Repeat("0", 32), 1), 403},
		{"broken form", "POST", hook, signed, "application/x-www-form-urlencoded", "AccountSid=%zz", 400},
		{"multipart", "POST", hook, signed, "multipart/form-data; boundary=x", "--x--", 400},
		{"JSON", "POST", hook, signed, "application/json", "{}", 400},
		{"too large", "POST", hook, signed, "application/x-www-form-urlencoded", big, 413},
		{"PUT", "PUT", hook, signed, "application/x-www-form-urlencoded", form.Encode(), 405},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", c.contentType)
		if c.signature != "" {
			request.Header.Set("X-Twilio-Signature", c.signature)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.name, response.StatusCode, c.want)
		}
	}
	// What was refused is nowhere: the next event is that of a true message.
	p.send(simulate.Message{From: "+1", To: "+2", Body: "true"})
	p.awaitEvents("mms.received", 1)
}

// TestNoWayAround: headers that some frameworks trust, encodings and paths that some
// unfold change nothing: a body that was not signed is refused.
func TestNoWayAround(t *testing.T) {
	p := startOn(t, backends[0])
	form := url.Values{"AccountSid": {testAccount}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"}, "NumMedia": {"0"}}
	elsewhere := "http://mms.example.com/webhooks/twilio"
	signedElsewhere := signature.Sign(testToken, elsewhere, form)
	signedQuery := signature.Sign(testToken, p.public+"/webhooks/twilio?"+form.Encode(), nil)
	for _, c := range []struct {
		name, method, path, signature string
		header                        map[string]string
	}{
		{"forwarded host", "POST", "/webhooks/twilio", signedElsewhere, map[string]string{"X-Forwarded-Host": "mms.example.com", "Forwarded": "host=mms.example.com"}},
		{"host", "POST", "/webhooks/twilio", signedElsewhere, map[string]string{"Host": "mms.example.com"}},
		{"original URL", "POST", "/webhooks/twilio", signedElsewhere, map[string]string{"X-Original-URL": elsewhere, "X-Rewrite-URL": elsewhere}},
		{"method override", "POST", "/webhooks/twilio", signedQuery, map[string]string{"X-HTTP-Method-Override": "GET"}},
		{"compressed", "POST", "/webhooks/twilio", signature.Sign(testToken, p.public+"/webhooks/twilio", form), map[string]string{"Content-Encoding": "gzip"}},
		{"HEAD", "HEAD", "/webhooks/twilio?" + form.Encode(), signedQuery, nil},
		{"case of the path", "POST", "/Webhooks/Twilio", signature.Sign(testToken, p.public+"/webhooks/twilio", form), nil},
		{"escaped path", "POST", "/webhooks%2Ftwilio", signature.Sign(testToken, p.public+"/webhooks/twilio", form), nil},
		{"longer path", "POST", "/webhooks/twilio/", signature.Sign(testToken, p.public+"/webhooks/twilio", form), nil},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, p.public+c.path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("X-Twilio-Signature", c.signature)
		for name, value := range c.header {
			if name == "Host" {
				request.Host = value
			}
			request.Header.Set(name, value)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		// The body that says it is compressed is what was signed: it is taken as it
		// is, never unpacked.
		if taken := response.StatusCode == http.StatusOK; taken != (c.name == "compressed") {
			t.Errorf("%s: %d", c.name, response.StatusCode)
		}
	}
	p.awaitEvents("mms.received", 1)
}

// TestOtherWebhooks: a webhook by GET, a fallback call and status callbacks are
// taken; the fallback call is the message that it repeats.
func TestOtherWebhooks(t *testing.T) {
	p := startOn(t, backends[0])
	query := url.Values{"AccountSid": {testAccount}, "MessageSid": {"SM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"}, "Body": {"by GET"}}
	address := p.public + "/webhooks/twilio?" + query.Encode()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Twilio-Signature", signature.Sign(testToken, address, nil))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/xml" {
		t.Errorf("GET: %d %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
	sent := p.send(simulate.Message{Body: "hi"})
	if again, err := p.twilio.Fallback(t.Context(), sent); err != nil || again.Status != http.StatusOK {
		t.Errorf("fallback call: %d, %v", again.Status, err)
	}
	for _, status := range []string{"delivered", "sent", "delivered"} {
		if again, err := p.twilio.StatusCallback(t.Context(), sent.MessageSID, status); err != nil || again.Status != http.StatusOK {
			t.Errorf("status callback: %d, %v", again.Status, err)
		}
	}
	p.awaitEvents("mms.received", 2)
	p.awaitEvents("mms.status", 2)
}

func TestNotThereAtFirst(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		picture := testImage(t, "small.jpg")
		sent := p.send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{
			{Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.NotFound, simulate.NotFound}},
			{Data: picture, ContentType: "image/jpeg"},
		}})
		for i := range 2 {
			if _, body := p.awaitMedium(sent, i); !bytes.Equal(body, picture) {
				t.Errorf("medium %d: %d bytes, want %d", i, len(body), len(picture))
			}
		}
		p.awaitEvents("mms.stored", 2)
	})
}

// TestWrongToken: media that upstream refuses because of the token wait, loudly,
// until an operator has set the right one.
func TestWrongToken(t *testing.T) {
	p := startOn(t, backends[0])
	picture := testImage(t, "small.jpg")
	refused := p.logs.find("medium not stored yet")
	sent := p.send(simulate.Message{Media: []simulate.Media{{
		Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.Unauthorized},
	}}})
	if line := <-refused; line["level"] != "error" || !strings.Contains(fmt.Sprint(line["hint"]), "MMSPIPE_ACCOUNTS") {
		t.Errorf("line %v", line)
	}
	if _, body := p.awaitMedium(sent, 0); !bytes.Equal(body, picture) {
		t.Errorf("%d bytes, want %d", len(body), len(picture))
	}
}

// TestDelete: what is deleted through the API is gone, original and variants, and
// the feed says so after it said that it was stored. The same webhook again does
// not bring it back.
func TestDelete(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		sent := p.send(simulate.Message{Media: []simulate.Media{
			{Data: testImage(t, "photo.jpg"), ContentType: "image/jpeg"}, {Data: testImage(t, "small.jpg"), ContentType: "image/jpeg"},
		}})
		p.awaitMedium(sent, 0)
		p.awaitMedium(sent, 1)
		p.awaitEvents("mms.stored", 2)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, p.public+mediaPath(t, sent, 0)+".json", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(testAccount, testToken)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			t.Fatalf("DELETE: %d", response.StatusCode)
		}
		deleted := p.awaitEvents("mms.deleted", 1)
		if deleted[0].Data["mediaSid"] != sent.MediaSIDs[0] {
			t.Errorf("event %v", deleted[0])
		}
		if _, err := p.twilio.Repeat(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"", ".json", "?variant=us", "?variant=thumb"} {
			if response, _ := p.get(mediaPath(t, sent, 0) + path); response.StatusCode != http.StatusNotFound {
				t.Errorf("GET %s after DELETE: %d", path, response.StatusCode)
			}
		}
		p.awaitMedium(sent, 1)
		p.awaitEvents("mms.stored", 2)
	})
}

// TestPresigned: with required authentication and an object store that browsers
// reach, content is read from there, by a link that says what it is.
func TestPresigned(t *testing.T) {
	p := startOn(t, backend{"presigned", func(t *testing.T) (map[string]string, func() store.Bucket) {
		env, open := backends[1].prepare(t)
		env["MMSPIPE_MEDIA_AUTH"] = "required"
		env["MMSPIPE_S3_PUBLIC_ENDPOINT"] = "http://" + env["MMSPIPE_S3_ENDPOINT"]
		return env, open
	}})
	card := []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n")
	sent := p.send(simulate.Message{Media: []simulate.Media{{Data: card, ContentType: "text/x-vcard"}}})
	response, body := p.awaitMedium(sent, 0) // the client follows the redirect
	if !bytes.Equal(body, card) || response.Request.URL.Host != p.env["MMSPIPE_S3_ENDPOINT"] {
		t.Errorf("%d bytes from %s", len(body), response.Request.URL.Host)
	}
	if got := response.Header.Get("Content-Type"); got != "text/vcard" {
		t.Errorf("Content-Type %q", got)
	}
	if got := response.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment; filename=") {
		t.Errorf("Content-Disposition %q", got)
	}
	query := response.Request.URL.Query()
	query.Set("response-content-type", "text/html")
	response.Request.URL.RawQuery = query.Encode()
	forged, err := http.Get(response.Request.URL.String())
	if err != nil {
		t.Fatal(err)
	}
	forged.Body.Close()
	if forged.StatusCode != http.StatusForbidden {
		t.Errorf("an altered link: %d", forged.StatusCode)
	}
	anonymous, err := http.Get(p.public + mediaPath(t, sent, 0))
	if err != nil {
		t.Fatal(err)
	}
	anonymous.Body.Close()
	if anonymous.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %s", anonymous.Status)
	}
	if strings.Contains(p.logs.String(), query.Get("X-Amz-Signature")) {
		t.Error("a signed link is in the log")
	}
}

// TestForbiddenAddresses sends MediaUrls, and redirects, to the service's own
// parts on an address on which only the simulator's ports are allowed.
func TestForbiddenAddresses(t *testing.T) {
	p := startOn(t, backends[1])
	targets := []string{
		p.admin + "/readyz",
		"http://" + p.env["MMSPIPE_S3_ENDPOINT"] + "/minio/health/live",
		strings.Replace(p.env["MMSPIPE_NATS_URL"], "nats://", "http://", 1),
		"http://169.254.169.254/latest/meta-data/",
		"http://[::ffff:127.0.0.1]:" + port(t, p.admin),
	}
	var media []simulate.Media
	for _, target := range targets {
		media = append(media, simulate.Media{URL: target, ContentType: "image/jpeg"},
			simulate.Media{Data: []byte("x"), ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.RedirectTo(target)}})
	}
	sent := p.send(simulate.Message{From: "+1", To: "+2", Body: "look inside", Media: media})
	for _, e := range p.awaitEvents("mms.failed", len(media)) {
		if e.Data["messageSid"] != sent.MessageSID || e.Data["reason"] != "forbidden-address" {
			t.Errorf("event %v, want a forbidden address", e.Data)
		}
	}
	for line := range strings.Lines(p.logs.String()) {
		if strings.Contains(line, testToken) {
			t.Errorf("the token is in the log: %s", line)
		}
	}
}

func port(t *testing.T, origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// TestStoppedInTheMiddle stops the service while a medium is being fetched: the
// job is handed back, and done after the next start.
func TestStoppedInTheMiddle(t *testing.T) {
	onBackends(t, func(t *testing.T, p *program) {
		picture := testImage(t, "photo.jpg")
		sent := p.send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{
			{Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.Stall}},
		}})
		p.eventually("the medium is asked for", func() bool { return p.twilio.Requests(sent.MediaSIDs[0]) > 0 })
		if status := p.stop(); status != 0 {
			t.Fatalf("exit status %d\n%s", status, p.logs)
		}
		p.start()
		if _, body := p.awaitMedium(sent, 0); !bytes.Equal(body, picture) {
			t.Errorf("%d bytes, want %d", len(body), len(picture))
		}
		p.awaitEvents("mms.stored", 1)
		p.awaitEvents("mms.received", 1)
	})
}

// TestQueueAway stops NATS under the service: webhooks are answered 503, and
// taken again when it is back.
func TestQueueAway(t *testing.T) {
	nats := startNATS(t)
	p := startOn(t, backend{"external NATS", func(t *testing.T) (map[string]string, func() store.Bucket) {
		env, open := backends[0].prepare(t)
		env["MMSPIPE_NATS_URL"] = nats.ClientURL()
		return env, open
	}})
	p.send(simulate.Message{From: "+1", To: "+2", Body: "before"})
	nats.Stop()
	sent, err := p.twilio.Send(t.Context(), simulate.Message{From: "+1", To: "+2", Body: "meanwhile"})
	if err != nil || sent.Status != http.StatusServiceUnavailable {
		t.Fatalf("answered %d, %v; want 503", sent.Status, err)
	}
	nats.Start()
	p.eventually("the webhook is taken again", func() bool {
		again, err := p.twilio.Repeat(t.Context(), sent)
		return err == nil && again.Status == http.StatusOK
	})
	p.awaitEvents("mms.received", 2)
}
