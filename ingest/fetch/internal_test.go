package fetch

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"
)

// SetClock makes a cache go by a test's clock.
func (c *Cache) SetClock(now func() time.Time) { c.now = now }

// TestIsUpstream: upstream is one scheme, host and port.
func TestIsUpstream(t *testing.T) {
	upstream, err := url.Parse("https://api.twilio.com")
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{Upstream: upstream})
	for address, want := range map[string]bool{
		"https://api.twilio.com/2010-04-01/":      true,
		"https://api.twilio.com:443/":             true,
		"https://API.Twilio.com./":                true,
		"https://u:p@api.twilio.com/":             true,
		"http://api.twilio.com/":                  false,
		"http://api.twilio.com:443/":              false,
		"https://api.twilio.com:80/":              false,
		"https://x.api.twilio.com/":               false,
		"https://twilio.com/":                     false,
		"https://api.twilio.com@example.com/":     false,
		"https://api.twilio.com.example.com/":     false,
		"https://ap\u0130.twilio.com/":            false, // a dotted capital I is another name to DNS
		"https://ap%C4%B0.twilio.com/":            false,
		"https://\uff41pi.twilio.com/":            false,
		"https://example.com/?https://api.twilio": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.isUpstream(u); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "3600": time.Hour, "3601": time.Hour, "99999999999999999999999": time.Hour,
		"-1": 0, "+5": 0, "1.5": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Friday, 02-Jan-26 03:05:05 GMT": time.Minute, "Fri Jan  2 03:05:05 2026": time.Minute,
		"Fri, 02 Jan 2026 03:04:05 GMT": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0, "Fri, 01 Jan 9999 00:00:00 GMT": time.Hour,
	} {
		if got := parseRetryAfter(s, now); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range []string{"", "0", "120", "-1", "1e9", "99999999999", "Fri, 02 Jan 2026 03:05:05 GMT", "Fri, 02 Jan 1970 03:05:05 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := parseRetryAfter(s, now); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q: %v", s, d)
		}
	})
}

// FuzzRecord: no block makes the cache fail, and one that is read is what was
// written.
func FuzzRecord(f *testing.F) {
	good, err := record{Header: http.Header{"Etag": {"\"1\""}}, Size: 7, SHA256: make([]byte, 32)}.block()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:100])
	f.Add(make([]byte, blockSize))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parseRecord(text); err == nil && !bytes.Equal(text, good) {
			t.Log("a block that a hash was found for")
		}
		sum := sha256.Sum256(bytes.TrimRight(text, "\x00")) // as if it had been stored
		block := append(sum[:], text...)
		if len(block) > blockSize {
			return
		}
		r, err := parseRecord(append(block, make([]byte, blockSize-len(block))...))
		if err != nil {
			return
		}
		again, err := r.block()
		if err != nil {
			return // it does not fit
		}
		if back, err := parseRecord(again); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v became %+v, error %v", r, back, err)
		}
		r.fresh(time.Now())
	})
}
