package outbound_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/ingesttest"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// Twilio's codes (https://www.twilio.com/docs/api/errors).
const (
	unreachable    = 11200
	tooLarge       = 11751
	wrongType      = 12300
	unknownOutcome = 30008
	overCarrier    = 30019
	expired        = 30036
	notDownloaded  = 63019
)

const vcard = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Nobody\r\nEND:VCARD\r\n"

// jpeg is a picture on a shelf.
func jpeg(data []byte) ingesttest.File {
	return ingesttest.File{Data: data, ContentType: "image/jpeg"}
}

// small is a picture that fits everywhere as it is.
var small = jpeg(ingesttest.Picture())

// media is the record of a medium of a message.
func media(h *ingesttest.House, r *ingesttest.Rooms, message store.MessageSID, sid store.MediaSID) store.Media {
	h.Helper()
	record, err := r.Store.Media(h.Context(), store.MediaKey{Account: h.Account, Message: message, Media: sid})
	if err != nil {
		h.Fatal(err)
	}
	return record
}

// wantEvents fails the test unless these are the events of a message, in this order.
func wantEvents(t *testing.T, h *ingesttest.House, message store.MessageSID, want ...string) {
	t.Helper()
	if got := h.EventTypes(message.String()); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// TestShares: pictures share what a vCard leaves of the profile, none has more than it
// needs, and the ready event tells of all of them.
func TestShares(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{
		"/a.jpg": jpeg(ingesttest.Noise(1, 1500, 1500)), "/b.jpg": jpeg(ingesttest.Noise(2, 1200, 1400)),
		"/small.jpg": small, "/card": {Data: []byte(vcard), ContentType: "text/x-vcard"},
	})
	r := h.Rooms(storetest.OpenDir(t))
	sid := h.Post(ingesttest.Form(host.URL+"/a.jpg", host.URL+"/card", host.URL+"/b.jpg", host.URL+"/small.jpg"))
	h.Next(r)
	m := h.Message(r, sid)
	if m.Status != "queued" || m.Outgoing.Ready == 0 || m.Outgoing.Profile != "us" || m.NumMedia != 4 {
		t.Fatalf("message %+v, outgoing %+v", m, m.Outgoing)
	}
	ready := h.ReadyOf(sid)
	if ready.To != "+15005550200" || ready.From != "+15005550300" || ready.Body != "the text" || ready.Profile != "us" || ready.Relay || len(ready.Media) != 4 {
		t.Errorf("ready: %+v", ready)
	}
	total := int64(0)
	for i, leaving := range ready.Media {
		record := media(h, r, sid, leaving.MediaSID)
		if record.Index != i || record.Announced == 0 {
			t.Errorf("medium %d: %+v", i, record)
		}
		total += leaving.Bytes
		link := h.URL(leaving.URL)
		if expires, ok := r.Links.Verify(link.Path, link.Query(), record.DateCreated); !ok || link.Host != "mms.example.com" || expires.Sub(record.DateCreated) < 24*time.Hour-time.Minute {
			t.Errorf("link %s opens until %v", leaving.URL, expires)
		}
	}
	limit := int64(h.Setup.Profile.MaxBytes - h.Setup.Profile.Reserve)
	share := (limit - int64(len(vcard)) - int64(len(small.Data))) / 2
	a, b := ready.Media[0].Bytes, ready.Media[2].Bytes
	if total > limit || min(a, b) < share*8/10 {
		t.Errorf("%d bytes of %d; the large ones have %d and %d of %d each", total, limit, a, b, share)
	}
	if card := ready.Media[1]; card.ContentType != "text/x-vcard" || card.Bytes != int64(len(vcard)) || strings.Contains(card.URL, "variant=") {
		t.Errorf("card: %+v", card)
	}
	if ready.Media[3].Bytes != int64(len(small.Data)) || !strings.Contains(ready.Media[3].URL, "variant=us") {
		t.Errorf("small picture: %+v, %d bytes as it came", ready.Media[3], len(small.Data))
	}
	wantEvents(t, h, sid, stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventStored, stream.EventStored, stream.EventReady)
}

// TestFailures: each thing that keeps a message from leaving has Twilio's code, is told
// once in the feed and to the client, and leaves no media behind.
func TestFailures(t *testing.T) {
	h := ingesttest.New(t)
	mp4 := append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), make([]byte, 590_000)...)
	host := h.Shelf(map[string]ingesttest.File{
		"/ok.jpg": small, "/gone": {Status: http.StatusGone}, "/forbidden": {Status: http.StatusForbidden},
		"/empty": {ContentType: "image/jpeg"}, "/text": {Data: []byte("plain text"), ContentType: "text/plain"},
		"/page": jpeg([]byte("<!DOCTYPE html><html></html>")),
		"/mp4":  {Data: mp4, ContentType: "video/mp4"}, "/huge": {Data: make([]byte, 33<<20), ContentType: "application/pdf"},
		"/8mb":  {Data: append([]byte("%PDF-1.7\n"), make([]byte, 8_000_000)...), ContentType: "application/pdf"},
		"/torn": {Data: append([]byte("RIFF\x24\x00\x00\x00WEBPVP8 "), make([]byte, 40)...), ContentType: "image/webp"},
		"/loop": {Status: http.StatusFound, Header: http.Header{"Location": {"/loop"}}},
		"/zip":  {Data: small.Data, ContentType: "image/jpeg", Header: http.Header{"Content-Encoding": {"br"}}},
	})
	for _, c := range []struct {
		name   string
		media  []string
		code   int
		reason string
		status int
		index  int
	}{
		{"gone", []string{"/ok.jpg", "/gone"}, notDownloaded, "status", 410, 1},
		{"not found", []string{"/nowhere"}, notDownloaded, "status", 404, 0},
		{"forbidden", []string{"/forbidden"}, notDownloaded, "status", 403, 0},
		{"empty", []string{"/empty"}, notDownloaded, store.ReasonEmpty, 0, 0},
		{"compressed", []string{"/zip"}, notDownloaded, "encoded", 0, 0},
		{"redirects", []string{"/loop"}, unreachable, "too-many-redirects", 0, 0},
		{"private address", []string{"http://10.0.0.1/x"}, unreachable, "forbidden-address", 0, 0},
		{"no web address", []string{"ftp://example.com/x"}, unreachable, "unsupported-scheme", 0, 0},
		{"text", []string{"/ok.jpg", "/text"}, wrongType, store.ReasonType, 0, 1},
		{"a page as a picture", []string{"/page"}, wrongType, store.ReasonType, 0, 0},
		{"a picture that is damaged, of a type not taken", []string{"/torn"}, wrongType, store.ReasonType, 0, 0},
		{"one over the limit", []string{"/huge"}, tooLarge, "too-large", 0, 0},
		{"nine times 8 MB", slices.Repeat([]string{"/8mb"}, 9), tooLarge, "too-large", 0, 0},
		{"over Twilio's limit", []string{"/8mb"}, tooLarge, "too-large", 0, 0},
		{"over the carrier's limit", []string{"/mp4", "/ok.jpg"}, overCarrier, store.ReasonCarrier, 0, 0},
		{"eleven", slices.Repeat([]string{"/ok.jpg"}, 11), tooLarge, "too-large", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := storetest.OpenDir(t)
			r := h.Rooms(b)
			form := ingesttest.Form()
			for _, m := range c.media {
				if strings.HasPrefix(m, "/") {
					m = host.URL + m
				}
				form.Add("MediaUrl", m)
			}
			form.Set("StatusCallback", "https://client.example.com/status")
			sid := h.Post(form)
			h.Next(r)
			m := h.Message(r, sid)
			if m.Status != "failed" || m.ErrorCode != c.code || m.ErrorMessage == "" || m.Outgoing.Failure == nil {
				t.Fatalf("status %s, code %d %q, failure %+v", m.Status, m.ErrorCode, m.ErrorMessage, m.Outgoing.Failure)
			}
			if f := m.Outgoing.Failure; f.Reason != c.reason || f.Status != c.status || f.Index != c.index || f.Announced == 0 || f.Attempts != 1 {
				t.Errorf("failure %+v", f)
			}
			wantEvents(t, h, sid, stream.EventReceived, stream.EventFailed, stream.EventStatus)
			ingesttest.Whole(t, b)
			callback := h.Take()
			told, err := callback.Form()
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

// TestLeavingTypes: what a host declares is the type that a medium leaves as, where that is
// taken, and else the name that is taken of the same type.
func TestLeavingTypes(t *testing.T) {
	h := ingesttest.New(t)
	shelf, wants := map[string]ingesttest.File{}, []string{}
	form := ingesttest.Form()
	for i, c := range []struct{ data, declared, want string }{
		{vcard, "text/directory", "text/directory"},
		{"\xef\xbb\xbf" + vcard, "application/x-vcard", "text/vcard"},
		{vcard, "text/plain", "text/vcard"},
		{"#!AMR\n\x3c\x91\x17\x16", "audio/AMR-NB", "audio/amr-nb"},
		{"#!AMR-WB\n\x3c\x91\x17\x16", "audio/amr-wb", "audio/amr"},
		{"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp42isom", "audio/m4a", "audio/mp4"},
		{"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n", "text/x-vcalendar", "text/calendar"},
	} {
		path := fmt.Sprint("/", i)
		shelf[path], wants = ingesttest.File{Data: []byte(c.data), ContentType: c.declared}, append(wants, c.want)
		form.Add("MediaUrl", path)
	}
	host := h.Shelf(shelf)
	for i := range form["MediaUrl"] {
		form["MediaUrl"][i] = host.URL + form["MediaUrl"][i]
	}
	r := h.Rooms(storetest.OpenDir(t))
	sid := h.Post(form)
	h.Next(r)
	var got []string
	for _, leaving := range h.ReadyOf(sid).Media {
		got = append(got, leaving.ContentType)
	}
	if !slices.Equal(got, wants) {
		t.Errorf("leaving types %q, want %q", got, wants)
	}
}

// TestAsItCame: a picture that cannot be fitted leaves as it came where it may, and the
// others share what it leaves. What is accepted under another name gets that.
func TestAsItCame(t *testing.T) {
	h := ingesttest.New(t)
	var broken bytes.Buffer
	if err := png.Encode(&broken, image.NewGray(image.Rect(0, 0, 1700, 1700))); err != nil {
		t.Fatal(err)
	}
	broken.Truncate(50) // before its first pixel
	m4a := append([]byte("\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A mp42"), make([]byte, 100)...)
	host := h.Shelf(map[string]ingesttest.File{
		"/large.jpg": jpeg(ingesttest.Noise(4, 1300, 1300)), "/broken.png": {Data: broken.Bytes(), ContentType: "image/png"},
		"/song": {Data: m4a, ContentType: "audio/x-m4a"}, "/fax": {Data: []byte("II*\x00\x08\x00\x00\x00\x00\x00"), ContentType: "image/tiff"},
	})
	r := h.Rooms(storetest.OpenDir(t))
	sid := h.Post(ingesttest.Form(host.URL+"/large.jpg", host.URL+"/broken.png", host.URL+"/song", host.URL+"/fax"))
	h.Next(r)
	ready := h.ReadyOf(sid)
	if len(ready.Media) != 4 {
		t.Fatalf("ready %+v; message %+v", ready, h.Message(r, sid).Outgoing.Failure)
	}
	total := int64(0)
	for i, want := range []string{"image/jpeg", "image/png", "audio/mp4", "image/tiff"} {
		total += ready.Media[i].Bytes
		if got := ready.Media[i].ContentType; got != want {
			t.Errorf("medium %d is %s, want %s", i, got, want)
		}
	}
	if limit := int64(h.Setup.Profile.MaxBytes - h.Setup.Profile.Reserve); total > limit {
		t.Errorf("%d bytes of %d", total, limit)
	}
	if record := media(h, r, sid, ready.Media[1].MediaSID); len(record.Variants) != 0 || record.Note == "" {
		t.Errorf("broken picture: %+v", record)
	}
}

// TestRetry: a host that is away is asked again, until the validity period ends.
func TestRetry(t *testing.T) {
	h := ingesttest.New(t)
	away := atomic.Bool{}
	away.Store(true)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(small.Data)
	}))
	t.Cleanup(host.Close)
	h.Permit(host.URL)
	r := h.Rooms(storetest.OpenDir(t))

	sid := h.Post(ingesttest.Form(host.URL))
	d := h.Take()
	if err := r.Handle(t.Context(), d); err == nil || h.Message(r, sid).Status != "queued" {
		t.Errorf("%v; want another try", err)
	}
	d.Queued = d.Queued.Add(-36_000 * time.Second) // as if it had been tried for so long
	if err := r.Handle(t.Context(), d); err != nil {
		t.Error(err)
	}
	if m := h.Message(r, sid); m.ErrorCode != notDownloaded || m.Outgoing.Failure.Status != http.StatusServiceUnavailable {
		t.Errorf("code %d, %+v", m.ErrorCode, m.Outgoing.Failure)
	}

	form := ingesttest.Form(host.URL)
	form.Set("ValidityPeriod", "60")
	sid = h.Post(form)
	away.Store(false)
	d = h.Take()
	d.Queued = d.Queued.Add(-time.Hour)
	if err := r.Handle(t.Context(), d); err != nil {
		t.Error(err)
	}
	if m := h.Message(r, sid); m.ErrorCode != expired || m.Outgoing.Ready != 0 {
		t.Errorf("code %d, %+v", m.ErrorCode, m.Outgoing)
	}

	sid = h.Post(ingesttest.Form(host.URL))
	h.Next(r)
	if m := h.Message(r, sid); m.Outgoing.Ready == 0 || m.Status != "queued" {
		t.Errorf("%s, %+v", m.Status, m.Outgoing)
	}
}

// TestCredentials: those of the account go to a medium of any message of it on the
// provider's origin, and nowhere else.
func TestCredentials(t *testing.T) {
	h := ingesttest.New(t)
	var mu sync.Mutex
	seen := map[string]bool{} // path, with credentials
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, token, ok := r.BasicAuth()
		mu.Lock()
		seen[r.URL.RequestURI()] = ok && user == ingesttest.AccountSID && token == ingesttest.Token
		mu.Unlock()
		_, _ = w.Write(small.Data)
	}))
	t.Cleanup(provider.Close)
	h.Permit(provider.URL)
	h.Setup.Upstream = h.URL(provider.URL)
	r := h.Rooms(storetest.OpenDir(t))
	own := "/2010-04-01/Accounts/" + ingesttest.AccountSID + "/Messages/MM" + strings.Repeat("5", 32) + "/Media/ME" + strings.Repeat("7", 32)
	others := strings.Replace(own, ingesttest.AccountSID, "AC"+strings.Repeat("9", 32), 1)
	sid := h.Post(ingesttest.Form(provider.URL+own, provider.URL+others, provider.URL+own+"?x=1", provider.URL+"/x.jpg"))
	h.Next(r)
	if h.Message(r, sid).Outgoing.Ready == 0 {
		t.Error("the message is not ready")
	}
	if want := (map[string]bool{own: true, others: false, own + "?x=1": false, "/x.jpg": false}); !maps.Equal(seen, want) {
		t.Errorf("requests with credentials: %v", seen)
	}
}

// TestText: a message without media is ready at once, also one whose sender a messaging
// service is to choose.
func TestText(t *testing.T) {
	h := ingesttest.New(t)
	r := h.Rooms(storetest.OpenDir(t))
	form := ingesttest.Form()
	form.Del("From")
	form.Set("MessagingServiceSid", "MG"+strings.Repeat("3", 32))
	sid := h.Post(form)
	h.Next(r)
	m, ready := h.Message(r, sid), h.ReadyOf(sid)
	if m.Status != "accepted" || m.Outgoing.Profile != "" || ready.Media == nil || len(ready.Media) != 0 ||
		ready.MessagingServiceSID != form.Get("MessagingServiceSid") || ready.To != form.Get("To") || ready.From != "" {
		t.Errorf("%s, %+v, ready %+v", m.Status, m.Outgoing, ready)
	}
	wantEvents(t, h, sid, stream.EventReceived, stream.EventReady)
}

// TestTombstone: nothing is done about a message that was deleted while it was queued.
func TestTombstone(t *testing.T) {
	h := ingesttest.New(t)
	host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small})
	b := storetest.OpenDir(t)
	r := h.Rooms(b)
	sid := h.Post(ingesttest.Form(host.URL + "/a.jpg"))
	now := time.Now()
	if _, _, err := r.Store.CreateMessage(t.Context(), store.Message{Account: h.Account, SID: sid, DateCreated: now, DateUpdated: now, Deleted: now}); err != nil {
		t.Fatal(err)
	}
	h.Next(r)
	if n := host.Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
	wantEvents(t, h, sid)
	ingesttest.Whole(t, b)
}

// TestPoison: a picture that was being fitted when two processes died leaves as it
// came, unless what was made of it is kept.
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		deaths       int
		kept, fitted bool
	}{{1, false, true}, {2, false, false}, {2, true, true}} {
		t.Run(fmt.Sprintf("%d deaths, fit kept %v", c.deaths, c.kept), func(t *testing.T) {
			h := ingesttest.New(t)
			host := h.Shelf(map[string]ingesttest.File{"/a.jpg": small})
			if c.kept {
				var err error
				if h.Setup.Fits, err = fetch.OpenCache(t.TempDir(), 1<<20); err != nil {
					t.Fatal(err)
				}
				h.Post(ingesttest.Form(host.URL + "/a.jpg"))
				h.Next(h.Rooms(storetest.OpenDir(t)))
			}
			b := storetest.OpenDir(t)
			r := h.Rooms(b)
			sid := h.Post(ingesttest.Form(host.URL + "/a.jpg"))
			d := h.Take()
			medium := r.Store.MediaOf(store.NewOutgoing(h.Account, sid, ingesttest.Form(host.URL+"/a.jpg"), d.Queued))[0].MediaKey
			d.Attempt, d.Abandoned = 2, true
			if c.deaths > 1 {
				d.Attempt = 3
				if _, err := r.Store.BeginFit(t.Context(), medium, "a process that died"); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Handle(t.Context(), d); err != nil || h.Message(r, sid).Outgoing.Ready == 0 {
				t.Fatalf("%v; %+v", err, h.Message(r, sid).Outgoing)
			}
			if record := media(h, r, sid, medium.Media); (len(record.Variants) > 0) != c.fitted || (record.Note == "") != c.fitted {
				t.Errorf("record %+v", record)
			}
			if left, err := b.List(t.Context(), "fitting/", "", 10); err != nil || len(left) > 0 {
				t.Errorf("notes left %v, %v", left, err)
			}
		})
	}
}
