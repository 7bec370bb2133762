package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/store/link"
)

func TestContent(t *testing.T) {
	h := newHouse(t, "public")
	h.put(1, "image/jpeg", "picture")
	h.put(2, "text/html", "<script>")
	h.put(3, "image/svg+xml", "<svg/>")
	h.put(4, "audio/amr", "sound")
	h.put(5, "image/jpg", "picture")
	h.put(6, "text/x-vcard", "BEGIN:VCARD")
	h.put(7, "audio/x+xml", "<html/>")
	sum := sha256.Sum256([]byte("picture"))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	for _, c := range []struct {
		name, method, path string
		header             [2]string
		status             int
		body               string
		want               map[string]string
	}{
		{"original", "GET", medium(1), [2]string{}, 200, "picture", map[string]string{
			"Content-Type": "image/jpeg", "ETag": etag, "Last-Modified": "Fri, 02 Jan 2026 12:30:15 GMT", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; sandbox", "Access-Control-Allow-Origin": "*",
			"Content-Disposition": `inline; filename="ME00000000000000000000000000000001.jpg"`, "Cache-Control": "public, max-age=300",
		}},
		{"singular path", "GET", strings.Replace(medium(1), "Messages", "Message", 1), [2]string{}, 200, "picture", nil},
		{"head", "HEAD", medium(1), [2]string{}, 200, "", map[string]string{"Content-Length": "7"}},
		{"variant", "GET", medium(1) + "?variant=us", [2]string{}, 200, "small picture", nil},
		{"original by name", "GET", medium(1) + "?variant=original", [2]string{}, 200, "picture", nil},
		{"unknown variant", "GET", medium(1) + "?variant=eu", [2]string{}, 404, "", nil},
		{"hostile variant", "GET", medium(1) + "?variant=../../x", [2]string{}, 404, "", nil},
		{"range", "GET", medium(1), [2]string{"Range", "bytes=1-3"}, 206, "ict", map[string]string{"Content-Range": "bytes 1-3/7"}},
		{"range past the end", "GET", medium(1), [2]string{"Range", "bytes=9-"}, 416, "", nil},
		{"same etag", "GET", medium(1), [2]string{"If-None-Match", etag}, 304, "", nil},
		{"not modified", "GET", medium(1), [2]string{"If-Modified-Since", "Fri, 02 Jan 2026 12:30:15 GMT"}, 304, "", nil},
		{"other etag", "GET", medium(1), [2]string{"If-Match", `"x"`}, 412, "", nil},
		{"html is a download", "GET", medium(2), [2]string{}, 200, "<script>", map[string]string{"Content-Disposition": `attachment; filename="ME00000000000000000000000000000002.html"`}},
		{"svg is a download", "GET", medium(3), [2]string{}, 200, "<svg/>", map[string]string{"Content-Disposition": `attachment; filename="ME00000000000000000000000000000003.svg"`}},
		{"audio", "GET", medium(4), [2]string{}, 200, "sound", map[string]string{"Content-Disposition": `inline; filename="ME00000000000000000000000000000004.amr"`}},
		{"another name of JPEG", "GET", medium(5), [2]string{}, 200, "picture", map[string]string{"Content-Type": "image/jpg", "Content-Disposition": `inline; filename="ME00000000000000000000000000000005.jpg"`}},
		{"another name of vCard", "GET", medium(6), [2]string{}, 200, "BEGIN:VCARD", map[string]string{"Content-Type": "text/x-vcard", "Content-Disposition": `attachment; filename="ME00000000000000000000000000000006.vcf"`}},
		{"XML of any group is a download", "GET", medium(7), [2]string{}, 200, "<html/>", map[string]string{"Content-Disposition": `attachment; filename="ME00000000000000000000000000000007"`}},
		{"absent", "GET", medium(9), [2]string{}, 404, "", nil},
		{"method", "PUT", medium(1), [2]string{}, 405, "", map[string]string{"Allow": "GET, HEAD, DELETE"}},
		{"csv", "GET", medium(1) + ".csv", [2]string{}, 406, "", nil},
	} {
		response, body := h.call(c.method, c.path, func(r *http.Request) {
			anonymous(r)
			if c.header[0] != "" {
				r.Header.Set(c.header[0], c.header[1])
			}
		})
		if response.StatusCode != c.status || c.body != "" && body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, response.StatusCode, body, c.status, c.body)
		}
		for name, want := range c.want {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", c.name, name, got, want)
			}
		}
	}
}

// TestRequired: with required authentication content is reached by credentials,
// which lead to a link that needs none, expires and cannot be altered.
func TestRequired(t *testing.T) {
	h := newHouse(t, "required")
	h.put(1, "image/jpeg", "picture")
	h.put(2, "image/jpeg", "another")
	if response, _ := h.call("GET", medium(1), anonymous); response.StatusCode != 401 || response.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without credentials: %d", response.StatusCode)
	}
	if response, _ := h.call("GET", medium(9), anonymous); response.StatusCode != 401 {
		t.Errorf("without credentials, absent: %d", response.StatusCode)
	}
	response, body := h.call("GET", medium(1)+"?variant=us", nil)
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil || response.StatusCode != 307 || body != "" || response.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("with credentials: %d %q, %v", response.StatusCode, body, err)
	}
	response, body = h.call("GET", location.String(), anonymous)
	if response.StatusCode != 200 || body != "small picture" || !strings.HasPrefix(response.Header.Get("Cache-Control"), "private, max-age=1") {
		t.Errorf("by the link: %d %q %s", response.StatusCode, body, response.Header.Get("Cache-Control"))
	}
	if response, body := h.call("GET", location.String(), func(r *http.Request) { anonymous(r); r.Header.Set("Range", "bytes=0-4") }); response.StatusCode != 206 || body != "small" {
		t.Errorf("a range by the link: %d %q", response.StatusCode, body)
	}
	query := location.Query()
	for name, change := range map[string]func(url.Values) string{
		"another medium":  func(q url.Values) string { return medium(2) + "?" + q.Encode() },
		"another variant": func(q url.Values) string { q.Set("variant", "original"); return medium(1) + "?" + q.Encode() },
		"two variants":    func(q url.Values) string { q.Add("variant", "original"); return medium(1) + "?" + q.Encode() },
		"no variant":      func(q url.Values) string { q.Del("variant"); return medium(1) + "?" + q.Encode() },
		"later":           func(q url.Values) string { q.Set("Expires", "99999999999"); return medium(1) + "?" + q.Encode() },
		"no signature":    func(q url.Values) string { q.Del("Signature"); return medium(1) + "?" + q.Encode() },
		"expired": func(url.Values) string {
			return medium(1) + "?" + link.New([]byte("secret")).Sign(medium(1), "us", time.Now().Add(-time.Second)).Encode()
		},
		"another secret": func(url.Values) string {
			return medium(1) + "?" + link.New([]byte("other")).Sign(medium(1), "us", time.Now().Add(time.Hour)).Encode()
		},
	} {
		if response, _ := h.call("GET", change(maps.Clone(query)), anonymous); response.StatusCode != 401 {
			t.Errorf("%s: %d, want 401", name, response.StatusCode)
		}
	}
	// The record takes no link, and no link reaches the log.
	if response, _ := h.call("GET", medium(1)+".json?"+query.Encode(), anonymous); response.StatusCode != 401 {
		t.Errorf("a record by the link: %d", response.StatusCode)
	}
	if strings.Contains(h.log.String(), query.Get("Signature")) {
		t.Error("a signed link is in the log")
	}
}
