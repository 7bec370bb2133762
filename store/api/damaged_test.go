package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// overwrite puts other content under a key, or nothing if it is empty.
func (h *house) overwrite(key, content string) {
	h.t.Helper()
	err := h.bucket.Delete(h.t.Context(), key)
	if err == nil && content != "" {
		_, err = h.bucket.Put(h.t.Context(), key, strings.NewReader(content), int64(len(content)), store.Condition{})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestDamagedContent: content that has not the size of its record is an error before a
// byte is sent, whatever a client has of it already. It is a failure then, once, the feed
// tells it, and a Job is queued that makes it again.
func TestDamagedContent(t *testing.T) {
	for name, content := range map[string]string{"cut": "pic", "longer": "picture and more", "missing": ""} {
		for _, blob := range []string{store.Original, "us"} {
			t.Run(blob+", "+name, func(t *testing.T) {
				h := newHouse(t, "public")
				m := h.put(1, "image/jpeg", "picture")
				h.overwrite(h.store.BlobKey(m.Key(), blob), content)
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					response, body := h.call(method, medium(1)+"?variant="+blob, func(r *http.Request) {
						anonymous(r)
						r.Header.Set("If-None-Match", `"`+m.SHA256+`"`)
					})
					if response.StatusCode != http.StatusBadGateway || response.Header.Get("ETag") != "" || response.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("%s: %d %v", method, response.StatusCode, response.Header)
					}
					if method == http.MethodGet && !strings.Contains(body, "<RestException><Code>20502</Code>") {
						t.Errorf("body %s", body)
					}
				}
				record, err := h.store.Message(t.Context(), h.account, h.message)
				if f := record.Failures[m.SID]; err != nil || f.Reason != store.ReasonDamaged || f.Index != 1 || f.Announced == 0 || !strings.HasPrefix(f.Detail, blob) {
					t.Errorf("failure %+v, %v", f, err)
				}
				entries, err := h.streams.Events(t.Context(), stream.Query{Types: []string{stream.EventFailed}}, 10)
				if err != nil || len(entries) != 1 || !strings.Contains(string(entries[0].JSON), `"reason":"damaged"`) {
					t.Errorf("%d events, %v", len(entries), err)
				}
				if queued, err := h.streams.Queued(t.Context(), h.account, h.message); err != nil || !queued {
					t.Errorf("a job is queued: %v, %v", queued, err)
				}
				other := map[string]string{store.Original: "us", "us": store.Original}[blob]
				if response, _ := h.call(http.MethodGet, medium(1)+"?variant="+other, anonymous); response.StatusCode != http.StatusOK {
					t.Errorf("the other blob: %d", response.StatusCode)
				}
			})
		}
	}
}

// TestReprDigest: the digest is that of all the bytes as they were stored, also of a
// range, and tells a client that it got others.
func TestReprDigest(t *testing.T) {
	h := newHouse(t, "public")
	m := h.put(1, "image/jpeg", "picture")
	digest := func(content string) string {
		sum := sha256.Sum256([]byte(content))
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	for name, c := range map[string]struct{ query, byteRange, want string }{
		"whole": {"", "", "picture"}, "range": {"", "bytes=1-3", "picture"}, "variant": {"?variant=us", "", "small picture"},
	} {
		response, _ := h.call(http.MethodGet, medium(1)+c.query, func(r *http.Request) {
			anonymous(r)
			r.Header.Set("Range", c.byteRange)
		})
		if got := response.Header.Get("Repr-Digest"); got != digest(c.want) {
			t.Errorf("%s: %s, want %s", name, got, digest(c.want))
		}
		if exposed := response.Header.Get("Access-Control-Expose-Headers"); exposed != "ETag, Repr-Digest" {
			t.Errorf("%s: exposed %s", name, exposed)
		}
	}
	h.overwrite(h.store.BlobKey(m.Key(), store.Original), "qicture")
	response, body := h.call(http.MethodGet, medium(1), anonymous)
	if response.Header.Get("Repr-Digest") == digest(body) {
		t.Errorf("the digest is that of %q", body)
	}
}

// TestDamagedPages: pages leave a damaged message out, forth and back, and tell the log.
func TestDamagedPages(t *testing.T) {
	h := newHouse(t, "public")
	for n := range 6 {
		h.record(n, "+15550000001", "+15005550006", time.Date(2026, 3, 1+n, 12, 0, 0, 0, time.UTC))
	}
	h.overwrite("message/"+account+"/SM00000000000000000000000000000003.json", "null")
	h.backAndForth(messages + ".json?PageSize=2")
	h.backAndForth(messages + ".json?PageSize=2&From=%2B15550000001")
	p := h.listPage(messages + ".json?PageSize=10")
	if len(p.Messages) != 6 { // of seven
		t.Errorf("messages %v", p.Messages)
	}
	if !strings.Contains(h.log.String(), "left out of a list") {
		t.Error("nothing is in the log")
	}
}
