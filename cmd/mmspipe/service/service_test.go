package service_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/signature"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

func TestMessageWithThreeMedia(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := servicetest.Start(t, b)
		photo, screenshot, card := servicetest.Image(t, "photo.jpg"), servicetest.Image(t, "screenshot.png"), []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n")
		sent := p.Send(simulate.Message{From: "+14155550100", To: "+14155550199", Body: "three", Media: []simulate.Media{
			{Data: photo, ContentType: "image/jpeg"}, {Data: screenshot, ContentType: "image/png"}, {Data: card, ContentType: "text/x-vcard"},
		}})
		for i, want := range []struct {
			data        []byte
			contentType string
		}{{photo, "image/jpeg"}, {screenshot, "image/png"}, {card, "text/x-vcard"}} {
			response, body := p.AwaitMedium(sent, i)
			if !bytes.Equal(body, want.data) {
				t.Errorf("medium %d: %d bytes with hash %s, want the %d sent", i, len(body), servicetest.SHA256(body), len(want.data))
			}
			if got := response.Header.Get("Content-Type"); got != want.contentType {
				t.Errorf("medium %d: Content-Type %q, want %q", i, got, want.contentType)
			}
		}
		// The photograph is over the limit of a third of the message: its variant
		// is not.
		response, fitted := p.Get(servicetest.MediaPath(t, sent, 0) + "?variant=us")
		if response.StatusCode != http.StatusOK || len(fitted) >= len(photo) || response.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("variant us: %s, %d bytes of %s", response.Status, len(fitted), response.Header.Get("Content-Type"))
		}
		p.AwaitEvents("mms.received", 1)
		for _, e := range p.AwaitEvents("mms.stored", 3) {
			if e.Data["messageSid"] != sent.MessageSID || e.Data["sha256"] == "" {
				t.Errorf("event %+v is not of message %s", e, sent.MessageSID)
			}
		}
	})
}

func TestTextOnly(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := servicetest.Start(t, b)
		sent := p.Send(simulate.Message{From: "+14155550100", To: "+14155550199", Body: "just words"})
		received := p.AwaitEvents("mms.received", 1)
		if received[0].Data["messageSid"] != sent.MessageSID || received[0].Data["numMedia"] != 0.0 {
			t.Errorf("event %+v, want message %s without media", received[0], sent.MessageSID)
		}
		if strings.Contains(p.Logs.String(), "just words") {
			t.Error("the text of a message is in the log")
		}
	})
}

func TestSameWebhookTwice(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := servicetest.Start(t, b)
		sent := p.Send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}}})
		again, err := p.Twilio.Repeat(t.Context(), sent)
		if err != nil || again.Status != http.StatusOK || again.Body != sent.Body {
			t.Fatalf("the repeat was answered %d %q, %v; want it like the first", again.Status, again.Body, err)
		}
		p.AwaitMedium(sent, 0)
		p.AwaitEvents("mms.stored", 1)
		p.AwaitEvents("mms.received", 1)
	})
}

func TestForged(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded)
	form := url.Values{
		"AccountSid": {servicetest.Account}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"},
		"Body": {"forged"}, "NumMedia": {"0"},
	}
	hook := p.Public + "/webhooks/twilio"
	signed := signature.Sign(servicetest.Token, hook, form)
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
		{"another account", "POST", hook, signed, "application/x-www-form-urlencoded", strings.Replace(form.Encode(), servicetest.Account, "AC"+strings.Repeat("0", 32), 1), 403},
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
	p.Send(simulate.Message{From: "+1", To: "+2", Body: "true"})
	p.AwaitEvents("mms.received", 1)
}

// TestNoWayAround: headers that some frameworks trust, encodings and paths that some
// unfold change nothing: a body that was not signed is refused.
func TestNoWayAround(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded)
	form := url.Values{"AccountSid": {servicetest.Account}, "MessageSid": {"MM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"}, "NumMedia": {"0"}}
	elsewhere := "http://mms.example.com/webhooks/twilio"
	signedElsewhere := signature.Sign(servicetest.Token, elsewhere, form)
	signedQuery := signature.Sign(servicetest.Token, p.Public+"/webhooks/twilio?"+form.Encode(), nil)
	for _, c := range []struct {
		name, method, path, signature string
		header                        map[string]string
	}{
		{"forwarded host", "POST", "/webhooks/twilio", signedElsewhere, map[string]string{"X-Forwarded-Host": "mms.example.com", "Forwarded": "host=mms.example.com"}},
		{"host", "POST", "/webhooks/twilio", signedElsewhere, map[string]string{"Host": "mms.example.com"}},
		{"original URL", "POST", "/webhooks/twilio", signedElsewhere, map[string]string{"X-Original-URL": elsewhere, "X-Rewrite-URL": elsewhere}},
		{"method override", "POST", "/webhooks/twilio", signedQuery, map[string]string{"X-HTTP-Method-Override": "GET"}},
		{"compressed", "POST", "/webhooks/twilio", signature.Sign(servicetest.Token, p.Public+"/webhooks/twilio", form), map[string]string{"Content-Encoding": "gzip"}},
		{"HEAD", "HEAD", "/webhooks/twilio?" + form.Encode(), signedQuery, nil},
		{"case of the path", "POST", "/Webhooks/Twilio", signature.Sign(servicetest.Token, p.Public+"/webhooks/twilio", form), nil},
		{"escaped path", "POST", "/webhooks%2Ftwilio", signature.Sign(servicetest.Token, p.Public+"/webhooks/twilio", form), nil},
		{"longer path", "POST", "/webhooks/twilio/", signature.Sign(servicetest.Token, p.Public+"/webhooks/twilio", form), nil},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, p.Public+c.path, strings.NewReader(form.Encode()))
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
	p.AwaitEvents("mms.received", 1)
}

// TestOtherWebhooks: a webhook by GET, a fallback call and status callbacks are
// taken; the fallback call is the message that it repeats.
func TestOtherWebhooks(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded)
	query := url.Values{"AccountSid": {servicetest.Account}, "MessageSid": {"SM0123456789abcdef0123456789abcdef"}, "From": {"+1"}, "To": {"+2"}, "Body": {"by GET"}}
	address := p.Public + "/webhooks/twilio?" + query.Encode()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Twilio-Signature", signature.Sign(servicetest.Token, address, nil))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/xml" {
		t.Errorf("GET: %d %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
	sent := p.Send(simulate.Message{Body: "hi"})
	if again, err := p.Twilio.Fallback(t.Context(), sent); err != nil || again.Status != http.StatusOK {
		t.Errorf("fallback call: %d, %v", again.Status, err)
	}
	for _, status := range []string{"delivered", "sent", "delivered"} {
		if again, err := p.Twilio.StatusCallback(t.Context(), sent.MessageSID, status); err != nil || again.Status != http.StatusOK {
			t.Errorf("status callback: %d, %v", again.Status, err)
		}
	}
	p.AwaitEvents("mms.received", 2)
	p.AwaitEvents("mms.status", 2)
}

func TestNotThereAtFirst(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := servicetest.Start(t, b)
		picture := servicetest.Image(t, "small.jpg")
		sent := p.Send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{
			{Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.NotFound, simulate.NotFound}},
			{Data: picture, ContentType: "image/jpeg"},
		}})
		for i := range 2 {
			if _, body := p.AwaitMedium(sent, i); !bytes.Equal(body, picture) {
				t.Errorf("medium %d: %d bytes, want %d", i, len(body), len(picture))
			}
		}
		p.AwaitEvents("mms.stored", 2)
	})
}

// TestWrongToken: media that upstream refuses because of the token wait, loudly,
// until an operator has set the right one.
func TestWrongToken(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded)
	picture := servicetest.Image(t, "small.jpg")
	refused := p.Logs.Find("medium not stored yet")
	sent := p.Send(simulate.Message{Media: []simulate.Media{{
		Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.Unauthorized},
	}}})
	if line := <-refused; line["level"] != "error" || !strings.Contains(fmt.Sprint(line["hint"]), "MMSPIPE_ACCOUNTS") {
		t.Errorf("line %v", line)
	}
	if _, body := p.AwaitMedium(sent, 0); !bytes.Equal(body, picture) {
		t.Errorf("%d bytes, want %d", len(body), len(picture))
	}
}

// TestDelete: what is deleted through the API is gone, original and variants, and
// the feed says so after it said that it was stored. The same webhook again does
// not bring it back.
func TestDelete(t *testing.T) {
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := servicetest.Start(t, b)
		sent := p.Send(simulate.Message{Media: []simulate.Media{
			{Data: servicetest.Image(t, "photo.jpg"), ContentType: "image/jpeg"}, {Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"},
		}})
		p.AwaitMedium(sent, 0)
		p.AwaitMedium(sent, 1)
		p.AwaitEvents("mms.stored", 2)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, p.Public+servicetest.MediaPath(t, sent, 0)+".json", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(servicetest.Account, servicetest.Token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			t.Fatalf("DELETE: %d", response.StatusCode)
		}
		deleted := p.AwaitEvents("mms.deleted", 1)
		if deleted[0].Data["mediaSid"] != sent.MediaSIDs[0] {
			t.Errorf("event %v", deleted[0])
		}
		if _, err := p.Twilio.Repeat(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"", ".json", "?variant=us", "?variant=thumb"} {
			if response, _ := p.Get(servicetest.MediaPath(t, sent, 0) + path); response.StatusCode != http.StatusNotFound {
				t.Errorf("GET %s after DELETE: %d", path, response.StatusCode)
			}
		}
		p.AwaitMedium(sent, 1)
		p.AwaitEvents("mms.stored", 2)
	})
}

// presigned is a backend whose media need credentials, and browsers reach its object
// store.
func presigned(b servicetest.Backend) servicetest.Backend {
	return servicetest.Backend{Name: b.Name, Prepare: func(t testing.TB) ([]string, func() store.Bucket) {
		flags, open := b.Prepare(t)
		for _, flag := range flags {
			if endpoint, ok := strings.CutPrefix(flag, "--s3-endpoint="); ok {
				flags = append(flags, "--s3-public-endpoint=http://"+endpoint)
			}
		}
		return append(flags, "--media-auth=required"), open
	}}
}

// TestPresigned: with required authentication and an object store that browsers
// reach, content is read from there, by a link that says what it is.
func TestPresigned(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, presigned(servicetest.External))
	card := []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n")
	sent := p.Send(simulate.Message{Media: []simulate.Media{{Data: card, ContentType: "text/x-vcard"}}})
	response, body := p.AwaitMedium(sent, 0) // the client follows the redirect
	if !bytes.Equal(body, card) || response.Request.URL.Host != p.Config.S3.Endpoint {
		t.Errorf("%d bytes from %s", len(body), response.Request.URL.Host)
	}
	if got := response.Header.Get("Content-Type"); got != "text/x-vcard" {
		t.Errorf("Content-Type %q", got)
	}
	if got := response.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment; filename=") || !strings.HasSuffix(got, `.vcf"`) {
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
	anonymous, err := http.Get(p.Public + servicetest.MediaPath(t, sent, 0))
	if err != nil {
		t.Fatal(err)
	}
	anonymous.Body.Close()
	if anonymous.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %s", anonymous.Status)
	}
	if strings.Contains(p.Logs.String(), query.Get("X-Amz-Signature")) {
		t.Error("a signed link is in the log")
	}
}

// TestForbiddenAddresses sends MediaUrls, and redirects, to the service's own
// parts on an address on which only the simulator's ports are allowed.
func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.External)
	targets := []string{
		p.Admin + "/readyz",
		"http://" + p.Config.S3.Endpoint + "/minio/health/live",
		strings.Replace(p.Config.NATS.URL, "nats://", "http://", 1),
		"http://169.254.169.254/latest/meta-data/",
		"http://[::ffff:127.0.0.1]:" + port(t, p.Admin),
	}
	var media []simulate.Media
	for _, target := range targets {
		media = append(media, simulate.Media{URL: target, ContentType: "image/jpeg"},
			simulate.Media{Data: []byte("x"), ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.RedirectTo(target)}})
	}
	sent := p.Send(simulate.Message{From: "+1", To: "+2", Body: "look inside", Media: media})
	for _, e := range p.AwaitEvents("mms.failed", len(media)) {
		if e.Data["messageSid"] != sent.MessageSID || e.Data["reason"] != "forbidden-address" {
			t.Errorf("event %v, want a forbidden address", e.Data)
		}
	}
	for line := range strings.Lines(p.Logs.String()) {
		if strings.Contains(line, servicetest.Token) {
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
	servicetest.OnBackends(t, func(t *testing.T, b servicetest.Backend) {
		p := servicetest.Start(t, b)
		picture := servicetest.Image(t, "photo.jpg")
		sent := p.Send(simulate.Message{From: "+1", To: "+2", Media: []simulate.Media{
			{Data: picture, ContentType: "image/jpeg", Faults: []simulate.Fault{simulate.Stall}},
		}})
		p.Eventually("the medium is asked for", func() bool { return p.Twilio.Requests(sent.MediaSIDs[0]) > 0 })
		if err := p.Stop(); err != nil {
			t.Fatalf("%v\n%s", err, p.Logs)
		}
		p.Start()
		if _, body := p.AwaitMedium(sent, 0); !bytes.Equal(body, picture) {
			t.Errorf("%d bytes, want %d", len(body), len(picture))
		}
		p.AwaitEvents("mms.stored", 1)
		p.AwaitEvents("mms.received", 1)
	})
}

// TestQueueAway stops NATS under the service: webhooks are answered 503, and
// taken again when it is back.
func TestQueueAway(t *testing.T) {
	t.Parallel()
	nats := servicetest.StartNATS(t)
	p := servicetest.Start(t, servicetest.Embedded, "--nats-url="+nats.URL())
	p.Send(simulate.Message{From: "+1", To: "+2", Body: "before"})
	nats.Stop()
	sent, err := p.Twilio.Send(t.Context(), simulate.Message{From: "+1", To: "+2", Body: "meanwhile"})
	if err != nil || sent.Status != http.StatusServiceUnavailable {
		t.Fatalf("answered %d, %v; want 503", sent.Status, err)
	}
	nats.Start()
	p.Eventually("the webhook is taken again", func() bool {
		again, err := p.Twilio.Repeat(t.Context(), sent)
		return err == nil && again.Status == http.StatusOK
	})
	p.AwaitEvents("mms.received", 2)
}
