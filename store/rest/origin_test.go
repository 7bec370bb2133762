package rest_test

import (
	"net/url"
	"testing"

	"mmspipe/store/rest"
)

// TestLeadsTo: a URL leads to an origin however its host is written, and no other does.
func TestLeadsTo(t *testing.T) {
	for _, c := range []struct {
		origin, url string
		want        bool
	}{
		{"https://mms.example.com", "https://mms.example.com/x?y#z", true},
		{"https://mms.example.com", "http://user:pass@MMS.example.com.:80", true},
		{"https://mms.example.com", "https://mms.example.com:8443/x", false},
		{"https://mms.example.com:8443", "http://mms.example.com:8443/x", true},
		{"https://mms.example.com:8443", "https://mms.example.com/x", false},
		{"https://mms.example.com", "https://example.com/x", false},
		{"https://mms.example.com", "https://mms.example.com@evil.example/x", false},
		{"https://müms.example", "https://xn--mms-hoa.example/x", true},
		{"https://xn--mms-hoa.example", "https://MÜMS.example/x", true},
		{"http://127.0.0.1:8080", "http://localhost:8080/x", true},
		{"http://127.0.0.1:8080", "http://LOCALHOST.:8080/x", true},
		{"http://127.0.0.1:8080", "http://[::1]:8080/x", true},
		{"http://127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/x", true},
		{"http://127.0.0.1:8080", "http://127.0.0.1:3000/x", false},
		{"http://192.0.2.7", "http://[::ffff:192.0.2.7]/x", true},
		{"http://192.0.2.7", "http://192.0.2.8/x", false},
	} {
		origin, err1 := url.Parse(c.origin)
		u, err2 := url.Parse(c.url)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if got := rest.LeadsTo(origin, u); got != c.want {
			t.Errorf("%s leads to %s: %v", c.url, c.origin, got)
		}
	}
}
