package rest_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/store/rest"
)

// FuzzParsePage: whatever is asked for, the pages that follow from it have every
// record once, and their tokens are letters and digits.
func FuzzParsePage(f *testing.F) {
	for _, s := range []string{"", "PageSize=2", "PageSize=3&Page=1", "PageToken=PAb&PageSize=1", "PageToken=PBc", "DateCreated%3E=x%26y&PageSize=2", "Page=99999999999"} {
		f.Add(s)
	}
	all := strings.Split("abcdefghij", "")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/list.json", nil)
		r.URL.RawQuery = query
		q, err := rest.ParsePage(r, "DateCreated>")
		if err != nil {
			return
		}
		records, page := rest.Cut(q, all, func(s string) string { return s })
		seen := slices.Clone(records)
		for page.Next != "" {
			u, err := url.Parse(string(page.Next))
			if err != nil {
				t.Fatal(err)
			}
			token := u.Query().Get("PageToken")
			if strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
				t.Fatalf("token %q", token)
			}
			if got, want := u.Query()["DateCreated>"], r.URL.Query()["DateCreated>"]; !slices.Equal(got, want) {
				t.Fatalf("the filters %q became %q", want, got)
			}
			r := httptest.NewRequest("GET", "/list.json", nil)
			r.URL = u
			if q, err = rest.ParsePage(r, "DateCreated>"); err != nil {
				t.Fatal(err)
			}
			if records, page = rest.Cut(q, all, func(s string) string { return s }); len(records) == 0 && page.Next != "" {
				t.Fatal("an empty page leads on")
			}
			seen = append(seen, records...)
		}
		if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
			t.Fatalf("records %v", seen)
		}
	})
}

// FuzzParseDateFilter: a filter is refused or admits what it says.
func FuzzParseDateFilter(f *testing.F) {
	for _, s := range []string{
		"2026-01-03", "2026-01-03T23:59:59-05:00", "2026-01-03T12:30:15 02:00", "2026-01", "2026", "01/04/2026 12:30:15 MST",
		"Sun, 04 Jan 2026 12:30:15 +0000", "Sun, 4 Jan 2026 12:30:15 GMT", ">=2019-08-08", "0000-01-01", "9999-12-31T23:59:60Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		since, err := rest.ParseDateFilter(url.Values{"D>": {value}}, "D")
		notAfter, err2 := rest.ParseDateFilter(url.Values{"D<": {value}}, "D")
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v, %v", err, err2)
		}
		if err != nil || strings.TrimSpace(value) == "" {
			return
		}
		for _, date := range []time.Time{time.Unix(0, 0), time.Now(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
			if !since.Admits(date) && !notAfter.Admits(date) {
				t.Fatalf("%v is neither since nor until %q", date, value)
			}
		}
	})
}

// TestWriteError: an error that is not for clients is told as 503, without its
// text.
func TestWriteError(t *testing.T) {
	for path, want := range map[string]string{
		"/2010-04-01/x.json": `{"code":20503,"message":"Service unavailable, please try again","more_info":"https://www.twilio.com/docs/errors/20503","status":503}`,
		"/2010-04-01/x": "<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException><Code>20503</Code><Message>Service unavailable, please try again</Message>" +
			"<MoreInfo>https://www.twilio.com/docs/errors/20503</MoreInfo><Status>503</Status></RestException></TwilioResponse>",
	} {
		w := httptest.NewRecorder()
		if status := rest.WriteError(w, httptest.NewRequest("GET", path, nil), fmt.Errorf("dial tcp 10.0.0.1: refused")); status != 503 || w.Code != 503 {
			t.Errorf("%s: status %d", path, status)
		}
		if got := w.Body.String(); got != want {
			t.Errorf("%s: %s\nwant %s", path, got, want)
		}
	}
	w := httptest.NewRecorder()
	rest.WriteError(w, httptest.NewRequest("GET", "/x", nil), fmt.Errorf("job: %w", rest.Conflict("in flight")))
	if w.Code != 409 || !strings.Contains(w.Body.String(), "20009") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestErrors is the table of all errors in both representations.
func TestErrors(t *testing.T) {
	const path = "/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1"
	for _, c := range []struct {
		err          *rest.Error
		status, code int
		header       [2]string
	}{
		{rest.BadRequest("Invalid date value."), 400, 20001, [2]string{}},
		{rest.Unauthorized(), 401, 20003, [2]string{"WWW-Authenticate", `Basic realm="Twilio API"`}},
		{rest.NotFound(httptest.NewRequest("GET", path+"?x=y", nil)), 404, 20404, [2]string{}},
		{rest.MethodNotAllowed("GET", "HEAD"), 405, 20004, [2]string{"Allow", "GET, HEAD"}},
		{rest.NotAcceptable(), 406, 20406, [2]string{}},
		{rest.Conflict("Cannot delete message because delivery has not been completed."), 409, 20009, [2]string{}},
		{rest.TooLarge(), 413, 20413, [2]string{}},
		{rest.TooManyRequests(1500 * time.Millisecond), 429, 20429, [2]string{"Retry-After", "2"}},
		{rest.Internal(), 500, 20500, [2]string{}},
		{rest.Unavailable(), 503, 20503, [2]string{}},
	} {
		info := fmt.Sprintf("https://www.twilio.com/docs/errors/%d", c.code)
		for suffix, want := range map[string]string{
			".json": fmt.Sprintf(`{"code":%d,"message":%q,"more_info":%q,"status":%d}`, c.code, c.err.Message, info, c.status),
			"": fmt.Sprintf("<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException><Code>%d</Code><Message>%s</Message><MoreInfo>%s</MoreInfo><Status>%d</Status></RestException></TwilioResponse>",
				c.code, c.err.Message, info, c.status),
		} {
			w := httptest.NewRecorder()
			rest.WriteError(w, httptest.NewRequest("GET", path+suffix, nil), c.err)
			if w.Code != c.status || w.Body.String() != want || c.header[0] != "" && w.Header().Get(c.header[0]) != c.header[1] {
				t.Errorf("%d %v %s, want %d %s", w.Code, w.Header(), w.Body, c.status, want)
			}
		}
	}
	if e := rest.NotFound(httptest.NewRequest("GET", path+".json?x=y", nil)); e.Message != "The requested resource "+path+".json was not found" {
		t.Errorf("message %s", e.Message)
	}
}

func TestParseAPIKeys(t *testing.T) {
	keys, err := rest.ParseAPIKeys("SK1:secret:AC1:read, SK2:other:*:write")
	if err != nil || len(keys) != 2 || keys[0].Write || !keys[1].Write || keys[1].Account != rest.Operator {
		t.Errorf("%+v, %v", keys, err)
	}
	_, err = rest.ParseAPIKeys("SK1:hidden:AC1:read,SK2:hidden:AC1,AC1:hidden:*:read,SK3::*:read,SK4:hidden:*:admin")
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("error %v", err)
	}
	for _, n := range []string{"entry 2", "entry 3", "entry 4", "entry 5"} {
		if !strings.Contains(err.Error(), n) {
			t.Errorf("%s is not named in %v", n, err)
		}
	}
}
