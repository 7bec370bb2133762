package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/simulate/cdn"
)

// Sizes of a page (twilio_api_v2010.json). More is taken as the maximum.
const (
	defaultPageSize = 50
	maxPageSize     = 1000
)

// records are what a list is made of.
type records struct {
	name   string            // of the records in JSON
	sids   []string          // of all, in order
	listed func(string) bool // whether the list has that SID
	view   func(string) any  // its JSON
}

// list answers with a page. Pages are found by tokens: PA and the last SID of the
// page before, or PB and the first of the page after. What is not listed any more
// keeps its place, so a page may be deleted before the next is asked for.
func (s *API) list(c call, all records) answer {
	size, number := defaultPageSize, 0
	for name, value := range map[string]*int{"PageSize": &size, "Page": &number} {
		if given := c.query.Get(name); given != "" {
			n, err := strconv.Atoi(given)
			if err != nil || n < 0 || n == 0 && value == &size {
				return invalid(20001, "Invalid "+name+" value.")
			}
			*value = n
		}
	}
	size = min(size, maxPageSize)
	token := c.query.Get("PageToken")
	if number > 0 && token == "" {
		return invalid(70002, "Paged requests must include a PageToken")
	}
	page, more, ok := all.page(token, size)
	if !ok {
		return invalid(20001, "Invalid PageToken value.")
	}
	views := make([]any, len(page))
	for i, sid := range page {
		views[i] = all.view(sid)
	}
	uri := func(number int, token string) string { return pageURI(c, size, number, token) }
	body := map[string]any{
		all.name: views, "page": number, "page_size": size, "start": number * size, "end": number*size + max(len(page)-1, 0),
		"uri": uri(number, token), "first_page_uri": uri(0, ""), "next_page_uri": nil, "previous_page_uri": nil,
	}
	if more {
		body["next_page_uri"] = uri(number+1, "PA"+page[len(page)-1])
	}
	if number > 0 && len(page) > 0 {
		body["previous_page_uri"] = uri(number-1, "PB"+page[0])
	}
	a := answer{status: http.StatusOK, body: body}
	if s.cut(c.operation, number) {
		a.fault = cdn.Truncate
	}
	return a
}

// page finds the SIDs that a token asks for, the first ones if it is empty, and
// whether there are more after them.
func (all records) page(token string, size int) (page []string, more, ok bool) {
	from, before := 0, strings.HasPrefix(token, "PB")
	if token != "" {
		i := slices.Index(all.sids, strings.TrimPrefix(token, token[:min(2, len(token))]))
		if i < 0 || !before && !strings.HasPrefix(token, "PA") {
			return nil, false, false
		}
		from = i + 1
	}
	if before {
		for _, sid := range slices.Backward(all.sids[:from-1]) {
			if len(page) < size && all.listed(sid) {
				page = append(page, sid)
			}
		}
		slices.Reverse(page)
		return page, len(page) > 0, true
	}
	for _, sid := range all.sids[from:] {
		if !all.listed(sid) {
			continue
		}
		if len(page) == size {
			return page, true, true
		}
		page = append(page, sid)
	}
	return page, false, true
}

// pageURI leads to a page of the list that a call asks for, with its filters.
func pageURI(c call, size, number int, token string) string {
	filters := url.Values{}
	for name, values := range c.query {
		if name != "PageSize" && name != "Page" && name != "PageToken" {
			filters[name] = values
		}
	}
	uri := c.path + "?"
	if len(filters) > 0 {
		uri += filters.Encode() + "&"
	}
	uri += fmt.Sprintf("PageSize=%d&Page=%d", size, number)
	if token != "" {
		uri += "&PageToken=" + url.QueryEscape(token)
	}
	return uri
}

// dateFilter reads the parameters NAME, NAME< and NAME> of a list, which are a
// day or an instant (RFC 3339). NAME alone selects the whole day, in GMT. The
// others include what they name: written as NAME<=VALUE they reach the server as
// "NAME<" and VALUE.
func dateFilter(query url.Values, name string) (admits func(time.Time) bool, ok bool) {
	var on, until, since time.Time
	for param, field := range map[string]*time.Time{name: &on, name + "<": &until, name + ">": &since} {
		given := query.Get(param)
		if given == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, given)
		if err != nil {
			if t, err = time.Parse(time.DateOnly, given); err != nil {
				return nil, false
			}
		}
		*field = t
	}
	const day = 24 * time.Hour
	return func(t time.Time) bool {
		t = t.Truncate(time.Second) // as it is shown
		return (on.IsZero() || t.Truncate(day).Equal(on.Truncate(day))) &&
			(until.IsZero() || !t.After(until)) && (since.IsZero() || !t.Before(since))
	}, true
}
