package freshness

import (
	"net/http"
	"testing"
	"time"
)

// FuzzStorable: whatever stands beside it, no-store is seen, and nothing of what a
// host may say is fresh before it came or for longer than a century.
func FuzzStorable(f *testing.F) {
	f.Add("max-age=60", "3", "Fri, 02 Jan 2026 03:05:05 GMT", "0", "Thu, 01 Jan 1970 00:00:00 GMT")
	f.Add("no-cache=\"a, b\", s-maxage=99999999999", "-1", "", "Fri, 01 Jan 9999 00:00:00 GMT", "")
	f.Add("no-cache=a", "", "", "", "")
	f.Add("private=\"a\\", ",", "x", "x", "x")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, control, age, date, expires, modified string) {
		h := http.Header{"Cache-Control": {control}, "Age": {age}, "Date": {date}, "Expires": {expires}, "Last-Modified": {modified}}
		if until := Until(h, now); until.After(now.AddDate(100, 0, 0)) || directives(h) == nil && until.After(now) {
			t.Fatalf("fresh until %v", until)
		}
		for _, values := range [][]string{{"no-store", control}, {control, "no-store"}, {"no-store," + control}, {control + ",no-store"}} {
			if Storable(http.Header{"Cache-Control": values, "Etag": {"x"}}, now) {
				t.Fatalf("%q may be kept", values)
			}
		}
	})
}
