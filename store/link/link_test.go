package link_test

import (
	"net/url"
	"testing"
	"time"

	"mmspipe/store/link"
)

func TestLink(t *testing.T) {
	now := time.Now()
	s := link.New([]byte("secret"))
	query := s.Sign("/media/ME1", "us", now.Add(time.Hour))
	if expires, ok := link.New([]byte("secret")).Verify("/media/ME1", query, now); !ok || expires.Unix() != now.Add(time.Hour).Unix() {
		t.Errorf("another process with the same secret: %v, %v", expires, ok)
	}
	for name, ok := range map[string]bool{
		"at the end":     verify(s, "/media/ME1", query, now.Add(time.Hour+time.Second)),
		"another path":   verify(s, "/media/ME2", query, now),
		"another secret": verify(link.New([]byte("other")), "/media/ME1", query, now),
		"moved border":   verify(s, "/media/ME1us", url.Values{"Expires": query["Expires"], "Signature": query["Signature"]}, now),
		"no query":       verify(s, "/media/ME1", nil, now),
	} {
		if ok {
			t.Errorf("%s: opens", name)
		}
	}
}

func verify(s link.Signer, path string, query url.Values, now time.Time) bool {
	_, ok := s.Verify(path, query, now)
	return ok
}

// FuzzVerify: no query but the one that was signed opens a path.
func FuzzVerify(f *testing.F) {
	s := link.New([]byte("secret"))
	now := time.Unix(1_800_000_000, 0)
	signed := s.Sign("/media/ME1", "us", now.Add(time.Hour))
	f.Add("/media/ME1", signed.Encode())
	f.Add("/media/ME1", "Expires=1800003600&Signature=&variant=us")
	f.Add("/media/ME1", "Expires=9e9&Signature=zz")
	f.Fuzz(func(t *testing.T, path, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		same := path == "/media/ME1" && query.Get("Expires") == signed.Get("Expires") &&
			query.Get("variant") == "us" && len(query["variant"]) == 1
		if _, ok := s.Verify(path, query, now); ok && !same {
			t.Fatalf("%s?%s opens", path, raw)
		}
	})
}
