package fetch_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
)

// packed compresses by gzip.
func packed(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// TestGzip: what a host compresses by gzip although nobody asked is decoded, within the
// limit of what is sent and of what comes out.
func TestGzip(t *testing.T) {
	const limit = 100_000
	card := strings.Repeat("BEGIN:VCARD\r\nEND:VCARD\r\n", 100)
	full := strings.Repeat("x", limit)
	damaged := []byte(packed(card))
	damaged[len(damaged)-8] ^= 1                                                                          // in its checksum
	empty := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + strings.Repeat("\x00\x00\x00\xff\xff", limit/4) // of blocks of no bytes
	for _, c := range []struct {
		name, encoding, body, want string
		reason                     fetch.Reason
	}{
		{"gzip", "gzip", packed(card), card, ""},
		{"its other name", "X-GZip", packed(card), card, ""},
		{"and identity", "identity, gzip", packed(card), card, ""},
		{"two members", "gzip", packed(card) + packed("more"), card + "more", ""},
		{"as much as is allowed", "gzip", packed(full), full, ""},
		{"nothing in it", "gzip", packed(""), "", ""},
		{"nothing", "gzip", "", "", ""},
		{"a bomb", "gzip", packed(strings.Repeat("x", 100*limit)), "", fetch.TooLarge},
		{"a byte too much", "gzip", packed(full + "x"), "", fetch.TooLarge},
		{"much of nothing", "gzip", empty, "", fetch.TooLarge},
		{"cut off", "gzip", packed(card)[:30], "", fetch.ShortBody},
		{"cut off in its header", "gzip", packed(card)[:5], "", fetch.ShortBody},
		{"without its checksum", "gzip", packed(card)[:len(packed(card))-8], "", fetch.ShortBody},
		{"damaged", "gzip", string(damaged), "", fetch.Network},
		{"not what it says", "gzip", card, "", fetch.Encoded},
		{"twice", "gzip, gzip", packed(packed(card)), "", fetch.Encoded},
		{"deflate", "deflate", card, "", fetch.Encoded},
		{"brotli", "br", card, "", fetch.Encoded},
		{"zstd", "zstd", card, "", fetch.Encoded},
		{"unknown", "gzip, of-nobody", packed(card), "", fetch.Encoded},
	} {
		for _, framing := range []string{fmt.Sprintf("Content-Length: %d\r\n", len(c.body)), "Connection: close\r\n"} {
			origin := raw(t, "HTTP/1.1 200 OK\r\nContent-Type: text/x-vcard\r\nContent-Encoding: "+c.encoding+"\r\n"+framing+"\r\n"+c.body)
			f := fetch.New(fetch.Options{MaxBytes: limit, Allow: allow(t, origin)})
			var got bytes.Buffer
			response, err := f.Fetch(t.Context(), origin, nil, &got)
			trouble, _ := errors.AsType[*fetch.Error](err)
			switch {
			case c.reason != "" && (trouble == nil || trouble.Reason != c.reason):
				t.Errorf("%s: error %v, want %s", c.name, err, c.reason)
			case c.reason == "" && (err != nil || got.String() != c.want || response.Size != int64(len(c.want)) || response.ContentType != "text/x-vcard"):
				t.Errorf("%s: %+v with %d bytes, %v; want %d bytes", c.name, response, got.Len(), err, len(c.want))
			}
			if got.Len() > limit+1 {
				t.Errorf("%s: %d bytes were written, the limit is %d", c.name, got.Len(), limit)
			}
		}
	}
}

// TestFullDestinationOfGzip: an error of where a compressed body is written to is that,
// and no fault of the host.
func TestFullDestinationOfGzip(t *testing.T) {
	origin := raw(t, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+packed("picture"))
	f := fetch.New(fetch.Options{Allow: allow(t, origin)})
	full := errors.New("no space left")
	if _, err := f.Fetch(t.Context(), origin, nil, failing{full}); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

// TestCachedGzip: the decoded body is kept. It is asked for by the validators of the
// answer that it came with, and replaced when these have changed, also by one that is
// not compressed.
func TestCachedGzip(t *testing.T) {
	h, origin, f := newCached(t, t.TempDir(), 1<<20)
	h.answer(packed("one"), "Etag", `"1-gzip"`, "Cache-Control", "max-age=60", "Content-Encoding", "gzip", "Content-Type", "image/png", "Vary", "Accept-Encoding")
	wantBody(t, f, origin, "one")
	if r := wantBody(t, f, origin, "one"); !r.Cached || r.ContentType != "image/png" {
		t.Errorf("second use: %+v", r)
	}
	wantAsked(t, h, "200")
	h.clock.pass(2 * time.Minute)
	if r := wantBody(t, f, origin, "one"); !r.Cached {
		t.Errorf("confirmed: %+v", r)
	}
	wantAsked(t, h, "304")
	h.clock.pass(2 * time.Minute)
	h.answer("two", "Etag", `"2"`, "Cache-Control", "max-age=60")
	wantBody(t, f, origin, "two")
	wantBody(t, f, origin, "two")
	wantAsked(t, h, "200")
}

// FuzzGzip: whatever a host says is gzip is decoded as the library does, or refused, and
// never more is written than the limit and a byte.
func FuzzGzip(f *testing.F) {
	const limit = 1000
	f.Add([]byte(packed("picture")))
	f.Add([]byte(packed("picture"))[:12])
	f.Add([]byte(packed(strings.Repeat("x", limit+1))))
	f.Add([]byte("picture"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(body)
		})
		var got bytes.Buffer
		_, err := fetch.New(fetch.Options{MaxBytes: limit, Allow: allow(t, origin)}).Fetch(t.Context(), origin, nil, &got)
		if got.Len() > limit+1 || err == nil && got.Len() > limit {
			t.Fatalf("%d bytes, error %v", got.Len(), err)
		}
		if err == nil && len(body) > 0 {
			z, headErr := gzip.NewReader(bytes.NewReader(body))
			if headErr != nil {
				t.Fatal("what is no gzip was decoded")
			}
			if want, wantErr := io.ReadAll(z); wantErr != nil || !bytes.Equal(want, got.Bytes()) {
				t.Fatalf("decoded to %d bytes, want %d, %v", got.Len(), len(want), wantErr)
			}
		}
	})
}
