package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// shelf is a host of media.
type shelf struct {
	*httptest.Server
	requests atomic.Int64
}

// file is what a shelf has under a path.
type file struct {
	data        []byte
	contentType string
	status      int // 200 if 0
	header      http.Header
}

// newShelf starts a host that workers may fetch from.
func (h *house) newShelf(files map[string]file) *shelf {
	s := &shelf{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		maps.Copy(w.Header(), f.header)
		w.Header().Set("Content-Type", f.contentType)
		if f.status != 0 {
			w.WriteHeader(f.status)
		}
		_, _ = w.Write(f.data)
	}))
	h.t.Cleanup(s.Close)
	h.permit(s.URL)
	return s
}

// noise is a JPEG of many bytes, another for each seed.
func noise(seed uint64, width, height int) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	m := image.NewGray(image.Rect(0, 0, width, height))
	for i := range m.Pix {
		m.Pix[i] = byte(random.UintN(256))
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const vcard = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Nobody\r\nEND:VCARD\r\n"

// outgoingForm is what a client posts.
func outgoingForm(media ...string) url.Values {
	return url.Values{"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {"the text"}, "MediaUrl": media}
}

// post queues an outgoing message as the API does, without its record.
func (h *house) post(form url.Values) store.MessageSID {
	h.t.Helper()
	sid, err := store.ParseMessageSID(fmt.Sprintf("MM%032x", queued.Add(1)))
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.streams.PublishJob(h.t.Context(), stream.Job{
		Kind: stream.Outbound, Account: h.account, Message: sid, ID: "out:" + h.account.String() + ":" + sid.String(), Data: []byte(form.Encode()),
	}); err != nil {
		h.t.Fatal(err)
	}
	return sid
}

// readyOf returns the ready event of a message.
func (h *house) readyOf(sid store.MessageSID) readyData {
	h.t.Helper()
	entries, err := h.streams.Events(h.t.Context(), stream.Query{Types: []string{stream.EventReady}}, 100_000)
	if err != nil {
		h.t.Fatal(err)
	}
	var e struct{ Data readyData }
	for _, entry := range entries {
		if strings.Contains(entry.ID, sid.String()) {
			if err := json.Unmarshal(entry.JSON, &e); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	return e.Data
}

// work1 does the next Job with a worker until there is nothing to be tried again.
func (h *house) work1(w *Worker) {
	h.t.Helper()
	d := h.take()
	for range 5 {
		result := w.work(h.t.Context(), d)
		if result.verb == done {
			if err := d.Ack(h.t.Context()); err != nil {
				h.t.Fatal(err)
			}
			return
		}
		h.t.Logf("tried again for: %v", result.err)
	}
	h.t.Fatal("the job is not done after five tries")
}

// TestOutboundShares: pictures share what a vCard leaves of the profile, none has more
// than it needs, and the ready event tells of all of them.
func TestOutboundShares(t *testing.T) {
	h := newHouse(t)
	small := picture()
	host := h.newShelf(map[string]file{
		"/a.jpg": {data: noise(1, 1500, 1500), contentType: "image/jpeg"}, "/b.jpg": {data: noise(2, 1200, 1400), contentType: "image/jpeg"},
		"/small.jpg": {data: small, contentType: "image/jpeg"}, "/card": {data: []byte(vcard), contentType: "text/x-vcard"},
	})
	w := h.worker(dir(t))
	sid := h.post(outgoingForm(host.URL+"/a.jpg", host.URL+"/card", host.URL+"/b.jpg", host.URL+"/small.jpg"))
	h.work1(w)
	message, err := w.Store.Message(t.Context(), h.account, sid)
	if err != nil || message.Status != "queued" || message.Outgoing.Ready == 0 || message.Outgoing.Profile != "us" || message.NumMedia != 4 {
		t.Fatalf("message %+v, outgoing %+v, %v", message, message.Outgoing, err)
	}
	ready := h.readyOf(sid)
	if ready.To != "+15005550200" || ready.From != "+15005550300" || ready.Body != "the text" || ready.Profile != "us" || ready.Relay || len(ready.Media) != 4 {
		t.Errorf("ready: %+v", ready)
	}
	total := int64(0)
	for i, m := range ready.Media {
		record, err := w.Store.Media(t.Context(), h.account, sid, m.MediaSID)
		if err != nil || record.Index != i || record.Announced == 0 {
			t.Errorf("medium %d: %+v, %v", i, record, err)
		}
		total += m.Bytes
		link := h.parse(m.URL)
		if expires, ok := w.Links.Verify(link.Path, link.Query(), record.DateCreated); !ok || link.Host != "mms.example.com" || expires.Sub(record.DateCreated) < linkLife-time.Minute {
			t.Errorf("link %s opens until %v", m.URL, expires)
		}
	}
	limit := int64(h.profile.MaxBytes - h.profile.Reserve)
	share := (limit - int64(len(vcard)) - int64(len(small))) / 2
	a, b := ready.Media[0].Bytes, ready.Media[2].Bytes
	if total > limit || min(a, b) < share*8/10 {
		t.Errorf("%d bytes of %d; the large ones have %d and %d of %d each", total, limit, a, b, share)
	}
	if card := ready.Media[1]; card.ContentType != "text/vcard" || card.Bytes != int64(len(vcard)) || strings.Contains(card.URL, "variant=") {
		t.Errorf("card: %+v", card)
	}
	if ready.Media[3].Bytes != int64(len(small)) || !strings.Contains(ready.Media[3].URL, "variant=us") {
		t.Errorf("small picture: %+v, %d bytes as it came", ready.Media[3], len(small))
	}
	links, err := w.mediaLinks(t.Context(), message)
	if err != nil || len(links) != 4 || !strings.HasPrefix(links[2], strings.SplitN(ready.Media[2].URL, "?", 2)[0]+"?") {
		t.Errorf("links %v, %v", links, err)
	}
	want := []string{stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventStored, stream.EventStored, stream.EventReady}
	if got := h.eventTypes(sid.String()); !slices.Equal(got, want) {
		t.Errorf("events %v", got)
	}
}

// message is the record of one.
func (h *house) message(w *Worker, sid store.MessageSID) store.Message {
	h.t.Helper()
	message, err := w.Store.Message(h.t.Context(), h.account, sid)
	if err != nil {
		h.t.Fatal(err)
	}
	return message
}

// TestOutboundFailures: each thing that keeps a message from leaving has Twilio's code,
// is told once in the feed and to the client, and leaves no media behind.
func TestOutboundFailures(t *testing.T) {
	h := newHouse(t)
	mp4 := append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), make([]byte, 590_000)...)
	host := h.newShelf(map[string]file{
		"/ok.jpg": {data: picture(), contentType: "image/jpeg"}, "/gone": {status: http.StatusGone}, "/forbidden": {status: http.StatusForbidden},
		"/empty": {contentType: "image/jpeg"}, "/text": {data: []byte("plain text"), contentType: "text/plain"},
		"/page": {data: []byte("<!DOCTYPE html><html></html>"), contentType: "image/jpeg"},
		"/mp4":  {data: mp4, contentType: "video/mp4"}, "/huge": {data: make([]byte, 33<<20), contentType: "application/pdf"},
		"/8mb":  {data: append([]byte("%PDF-1.7\n"), make([]byte, 8_000_000)...), contentType: "application/pdf"},
		"/torn": {data: append([]byte("RIFF\x24\x00\x00\x00WEBPVP8 "), make([]byte, 40)...), contentType: "image/webp"},
		"/loop": {status: http.StatusFound, header: http.Header{"Location": {"/loop"}}},
		"/zip":  {data: picture(), contentType: "image/jpeg", header: http.Header{"Content-Encoding": {"br"}}},
	})
	for _, c := range []struct {
		name   string
		media  []string
		code   int
		reason string
		status int
		index  int
	}{
		{"gone", []string{"/ok.jpg", "/gone"}, codeDownload, "status", 410, 1},
		{"not found", []string{"/nowhere"}, codeDownload, "status", 404, 0},
		{"forbidden", []string{"/forbidden"}, codeDownload, "status", 403, 0},
		{"empty", []string{"/empty"}, codeDownload, reasonEmpty, 0, 0},
		{"compressed", []string{"/zip"}, codeDownload, "encoded", 0, 0},
		{"redirects", []string{"/loop"}, codeUnreachable, "too-many-redirects", 0, 0},
		{"private address", []string{"http://10.0.0.1/x"}, codeUnreachable, "forbidden-address", 0, 0},
		{"no web address", []string{"ftp://example.com/x"}, codeUnreachable, "unsupported-scheme", 0, 0},
		{"text", []string{"/ok.jpg", "/text"}, codeType, reasonType, 0, 1},
		{"a page as a picture", []string{"/page"}, codeType, reasonType, 0, 0},
		{"a picture that is damaged, of a type not taken", []string{"/torn"}, codeType, reasonType, 0, 0},
		{"one over the limit", []string{"/huge"}, codeTooLarge, "too-large", 0, 0},
		{"eight times 8 MB", slices.Repeat([]string{"/8mb"}, 9), codeTooLarge, "too-large", 0, 0},
		{"over Twilio's limit", []string{"/8mb"}, codeTooLarge, "too-large", 0, 0},
		{"over the carrier's limit", []string{"/mp4", "/ok.jpg"}, codeCarrier, reasonCarrier, 0, 0},
		{"eleven", slices.Repeat([]string{"/ok.jpg"}, 11), codeTooLarge, "too-large", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := dir(t)
			w := h.worker(b)
			form := outgoingForm()
			for _, m := range c.media {
				if strings.HasPrefix(m, "/") {
					m = host.URL + m
				}
				form.Add("MediaUrl", m)
			}
			form.Set("StatusCallback", "https://client.example.com/status")
			sid := h.post(form)
			h.work1(w)
			m := h.message(w, sid)
			if m.Status != "failed" || m.ErrorCode != c.code || m.ErrorMessage == "" || m.Outgoing.Failure == nil {
				t.Fatalf("status %s, code %d %q, failure %+v", m.Status, m.ErrorCode, m.ErrorMessage, m.Outgoing.Failure)
			}
			if f := m.Outgoing.Failure; f.Reason != c.reason || f.Status != c.status || f.Index != c.index || f.Announced == 0 || f.Attempts != 1 {
				t.Errorf("failure %+v", f)
			}
			if got := h.eventTypes(sid.String()); !slices.Equal(got, []string{stream.EventReceived, stream.EventFailed, stream.EventStatus}) {
				t.Errorf("events %v", got)
			}
			if orphans := storetest.Audit(t, b); len(orphans) > 0 {
				t.Errorf("left behind: %v", orphans)
			}
			callback := h.take()
			told, err := url.ParseQuery(string(callback.Data))
			if err != nil || callback.Kind != stream.Forward || callback.Message != sid ||
				told.Get("MessageStatus") != "failed" || told.Get("ErrorCode") != fmt.Sprint(c.code) || told.Get("MessageSid") != sid.String() {
				t.Errorf("job %s of %s: %v, %v", callback.Kind, callback.Message, told, err)
			}
			if err := callback.Ack(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOutboundAsItCame: a picture that cannot be fitted leaves as it came where it may,
// and the others share what it leaves. What is accepted under another name gets that.
func TestOutboundAsItCame(t *testing.T) {
	h := newHouse(t)
	var broken bytes.Buffer
	if err := png.Encode(&broken, image.NewGray(image.Rect(0, 0, 1700, 1700))); err != nil {
		t.Fatal(err)
	}
	broken.Truncate(broken.Len() / 2)
	m4a := append([]byte("\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A mp42"), make([]byte, 100)...)
	host := h.newShelf(map[string]file{
		"/large.jpg": {data: noise(4, 1300, 1300), contentType: "image/jpeg"}, "/broken.png": {data: broken.Bytes(), contentType: "image/png"},
		"/song": {data: m4a, contentType: "audio/x-m4a"}, "/fax": {data: []byte("II*\x00\x08\x00\x00\x00\x00\x00"), contentType: "image/tiff"},
	})
	w := h.worker(dir(t))
	sid := h.post(outgoingForm(host.URL+"/large.jpg", host.URL+"/broken.png", host.URL+"/song", host.URL+"/fax"))
	h.work1(w)
	ready := h.readyOf(sid)
	if len(ready.Media) != 4 {
		t.Fatalf("ready %+v; message %+v", ready, h.message(w, sid).Outgoing.Failure)
	}
	total := int64(0)
	for i, want := range []string{"image/jpeg", "image/png", "audio/mp4", "image/tiff"} {
		total += ready.Media[i].Bytes
		if got := ready.Media[i].ContentType; got != want {
			t.Errorf("medium %d is %s, want %s", i, got, want)
		}
	}
	if limit := int64(h.profile.MaxBytes - h.profile.Reserve); total > limit {
		t.Errorf("%d bytes of %d", total, limit)
	}
	record, err := w.Store.Media(t.Context(), h.account, sid, ready.Media[1].MediaSID)
	if err != nil || len(record.Variants) != 0 || record.Note == "" {
		t.Errorf("broken picture: %+v, %v", record, err)
	}
}

// TestOutboundRetry: a host that is away is asked again, until the validity period
// ends.
func TestOutboundRetry(t *testing.T) {
	h := newHouse(t)
	away := atomic.Bool{}
	away.Store(true)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(picture())
	}))
	t.Cleanup(host.Close)
	h.permit(host.URL)
	w := h.worker(dir(t))

	sid := h.post(outgoingForm(host.URL))
	d := h.take()
	if result := w.work(t.Context(), d); result.verb != retry || h.message(w, sid).Status != "queued" {
		t.Errorf("verb %d, %v; want another try", result.verb, result.err)
	}
	d.Queued = d.Queued.Add(-defaultValidity) // as if it had been tried for so long
	if result := w.work(t.Context(), d); result.verb != done {
		t.Errorf("verb %d, %v", result.verb, result.err)
	}
	if m := h.message(w, sid); m.ErrorCode != codeDownload || m.Outgoing.Failure.Status != http.StatusServiceUnavailable {
		t.Errorf("code %d, %+v", m.ErrorCode, m.Outgoing.Failure)
	}

	form := outgoingForm(host.URL)
	form.Set("ValidityPeriod", "60")
	sid = h.post(form)
	away.Store(false)
	d = h.take()
	d.Queued = d.Queued.Add(-time.Hour)
	if result := w.work(t.Context(), d); result.verb != done {
		t.Errorf("verb %d, %v", result.verb, result.err)
	}
	if m := h.message(w, sid); m.ErrorCode != codeExpired || m.Outgoing.Ready != 0 {
		t.Errorf("code %d, %+v", m.ErrorCode, m.Outgoing)
	}

	sid = h.post(outgoingForm(host.URL))
	h.work1(w)
	if m := h.message(w, sid); m.Outgoing.Ready == 0 || m.Status != "queued" {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestOutboundCredentials: those of the account go to a medium of any message of it on
// the provider's origin, and nowhere else.
func TestOutboundCredentials(t *testing.T) {
	h := newHouse(t)
	var mu sync.Mutex
	seen := map[string]bool{} // path, with credentials
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, token, ok := r.BasicAuth()
		mu.Lock()
		seen[r.URL.RequestURI()] = ok && user == testAccount && token == testToken
		mu.Unlock()
		_, _ = w.Write(picture())
	}))
	t.Cleanup(provider.Close)
	h.permit(provider.URL)
	w := h.worker(dir(t))
	w.Upstream = h.parse(provider.URL)
	w.Fetcher = fetch.New(fetch.Options{Upstream: w.Upstream, Allow: h.allow})
	media := "/2010-04-01/Accounts/" + testAccount + "/Messages/MM" + strings.Repeat("5", 32) + "/Media/ME" + strings.Repeat("7", 32)
	others := strings.Replace(media, testAccount, "AC"+strings.Repeat("9", 32), 1)
	sid := h.post(outgoingForm(provider.URL+media, provider.URL+others, provider.URL+media+"?x=1", provider.URL+"/x.jpg"))
	h.work1(w)
	if h.message(w, sid).Outgoing.Ready == 0 {
		t.Error("the message is not ready")
	}
	if want := (map[string]bool{media: true, others: false, media + "?x=1": false, "/x.jpg": false}); !maps.Equal(seen, want) {
		t.Errorf("requests with credentials: %v", seen)
	}
}

// TestOutboundText: a message without media is ready at once, also one whose sender a
// messaging service is to choose.
func TestOutboundText(t *testing.T) {
	h := newHouse(t)
	w := h.worker(dir(t))
	form := outgoingForm()
	form.Del("From")
	form.Set("MessagingServiceSid", "MG"+strings.Repeat("3", 32))
	sid := h.post(form)
	h.work1(w)
	m, ready := h.message(w, sid), h.readyOf(sid)
	if m.Status != "accepted" || m.Outgoing.Profile != "" || ready.Media == nil || len(ready.Media) != 0 ||
		ready.MessagingServiceSID != form.Get("MessagingServiceSid") || ready.To != form.Get("To") || ready.From != "" {
		t.Errorf("%s, %+v, ready %+v", m.Status, m.Outgoing, ready)
	}
	if got := h.eventTypes(sid.String()); !slices.Equal(got, []string{stream.EventReceived, stream.EventReady}) {
		t.Errorf("events %v", got)
	}
}

// TestOutboundTombstone: of a message that was deleted while it was queued nothing is
// done.
func TestOutboundTombstone(t *testing.T) {
	h := newHouse(t)
	host := h.newShelf(map[string]file{"/a.jpg": {data: picture(), contentType: "image/jpeg"}})
	b := dir(t)
	w := h.worker(b)
	sid := h.post(outgoingForm(host.URL + "/a.jpg"))
	now := time.Now()
	if _, _, err := w.Store.CreateMessage(t.Context(), store.Message{Account: h.account, SID: sid, DateCreated: now, DateUpdated: now, Deleted: now}); err != nil {
		t.Fatal(err)
	}
	h.work1(w)
	if n, events := host.requests.Load(), h.eventTypes(sid.String()); n != 0 || len(events) != 0 {
		t.Errorf("%d requests, events %v", n, events)
	}
	if orphans := storetest.Audit(t, b); len(orphans) > 0 {
		t.Errorf("left behind: %v", orphans)
	}
}

// TestOutboundPoison: a picture that was being fitted when two processes died leaves as
// it came, unless what was made of it is kept.
func TestOutboundPoison(t *testing.T) {
	for _, c := range []struct {
		deaths       int
		kept, fitted bool
	}{{1, false, true}, {2, false, false}, {2, true, true}} {
		t.Run(fmt.Sprintf("%d deaths, fit kept %v", c.deaths, c.kept), func(t *testing.T) {
			h := newHouse(t)
			host := h.newShelf(map[string]file{"/a.jpg": {data: picture(), contentType: "image/jpeg"}})
			b := dir(t)
			fits, err := fetch.OpenCache(t.TempDir(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			start := func(b store.Bucket) *Worker {
				w := h.worker(b)
				if c.kept {
					w.FitCache = fits
				}
				return w
			}
			if c.kept {
				h.post(outgoingForm(host.URL + "/a.jpg"))
				h.work1(start(dir(t)))
			}
			sid := h.post(outgoingForm(host.URL + "/a.jpg"))
			media, _ := h.worker(b).Store.Identify(h.account, sid, 0, host.URL+"/a.jpg", nil)
			d := h.take()
			d.Attempt++
			if c.deaths > 1 {
				d.Attempt++
				if _, err := store.New(b, nil).BeginFit(t.Context(), h.account, sid, media, "a process that died"); err != nil {
					t.Fatal(err)
				}
			}
			w := start(b)
			if result := w.work(t.Context(), d); result.verb != done || h.message(w, sid).Outgoing.Ready == 0 {
				t.Fatalf("outcome %+v", result)
			}
			record, err := w.Store.Media(t.Context(), h.account, sid, media)
			if err != nil || (len(record.Variants) > 0) != c.fitted || (record.Note == "") != c.fitted {
				t.Errorf("record %+v, %v", record, err)
			}
			if left, err := b.List(t.Context(), "fitting/", "", 10); err != nil || len(left) > 0 {
				t.Errorf("notes left %v, %v", left, err)
			}
		})
	}
}
