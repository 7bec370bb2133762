package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPageSize = 50
	maxPageSize     = 1000 // of twilio_api_v2010.json; more is taken as this many
)

// Page is what a list says of itself besides its records.
type Page struct {
	Page     int     `json:"page" xml:"page,attr"`
	PageSize int     `json:"page_size" xml:"pagesize,attr"`
	Start    int     `json:"start" xml:"start,attr"` // index of the first record, 0 of an empty page
	End      int     `json:"end" xml:"end,attr"`     // index of the last record, 0 of an empty page
	URI      string  `json:"uri" xml:"uri,attr"`
	First    string  `json:"first_page_uri" xml:"firstpageuri,attr"`
	Next     PageURI `json:"next_page_uri" xml:"nextpageuri,attr"`
	Previous PageURI `json:"previous_page_uri" xml:"previouspageuri,attr"`
}

// PageURI leads to another page. If there is none it is null in JSON, which ends
// the SDKs' loops, and empty in XML.
type PageURI string

// MarshalJSON writes null for none.
func (u PageURI) MarshalJSON() ([]byte, error) {
	if u == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(u))
}

// PageQuery is the part of a list's query that says which page is asked for.
type PageQuery struct {
	page, size int
	token      string // a key: records after it, or before it
	before     bool
	path       string
	filters    string // encoded, in the order of their names' list
}

// ParsePage reads PageSize, Page and PageToken. A page after the first is found
// by its token; without one, Page counts pages from the start. The filters named
// are kept in the URIs of other pages. A bad value is 400/20001.
func ParsePage(r *http.Request, filters ...string) (PageQuery, error) {
	query := r.URL.Query()
	q := PageQuery{size: defaultPageSize, path: r.URL.Path}
	var err error
	if s := query.Get("PageSize"); s != "" {
		if q.size, err = strconv.Atoi(s); err != nil || q.size < 1 {
			return q, BadRequest("Invalid PageSize value.")
		}
		q.size = min(q.size, maxPageSize)
	}
	if s := query.Get("Page"); s != "" {
		if q.page, err = strconv.Atoi(s); err != nil || q.page < 0 || q.page > 1<<20 {
			return q, BadRequest("Invalid Page value.")
		}
	}
	if s := query.Get("PageToken"); s != "" {
		direction, key, ok := cutToken(s)
		if !ok {
			return q, BadRequest("Invalid PageToken value.")
		}
		q.token, q.before = key, direction == tokenBefore
	}
	for _, name := range filters {
		for _, value := range query[name] {
			q.filters += url.QueryEscape(name) + "=" + url.QueryEscape(value) + "&"
		}
	}
	return q, nil
}

// Page tokens are a direction and the key of a record at the edge of the page
// that led there: letters and digits alone, because twilio-go strips a dot with
// digits behind it from every query.
const (
	tokenAfter  = "PA"
	tokenBefore = "PB"
)

func cutToken(token string) (direction, key string, ok bool) {
	if len(token) < 3 || len(token) > 100 || token[:2] != tokenAfter && token[:2] != tokenBefore {
		return "", "", false
	}
	odd := strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	return token[:2], token[2:], odd == ""
}

// Cut returns the records of the page, out of all, which are in the order of
// their keys. Because a page is found by a key and not by a count, what is added
// or deleted between two pages neither repeats nor hides another record.
func Cut[T any](q PageQuery, all []T, key func(T) string) ([]T, Page) {
	from := min(q.page*q.size, len(all))
	if q.token != "" {
		found, exact := slices.BinarySearchFunc(all, q.token, func(record T, token string) int {
			return strings.Compare(key(record), token)
		})
		switch {
		case q.before:
			from = max(found-q.size, 0)
			all = all[:found]
		case exact:
			from = found + 1
		default:
			from = found
		}
	}
	records := all[from:min(from+q.size, len(all))]
	p := Page{Page: q.page, PageSize: q.size, URI: q.uri(q.page, q.tokenParam()), First: q.uri(0, "")}
	if len(records) == 0 {
		return records, p
	}
	p.Start = q.page * q.size
	p.End = p.Start + len(records) - 1
	if from+len(records) < len(all) || q.before {
		p.Next = PageURI(q.uri(q.page+1, tokenAfter+key(records[len(records)-1])))
	}
	if from > 0 {
		p.Previous = PageURI(q.uri(max(q.page-1, 0), tokenBefore+key(records[0])))
	}
	return records, p
}

// Size is how many records the page has at most.
func (q PageQuery) Size() int { return q.size }

// Edge returns the key at the edge of the page, of a list that is not counted: the
// page's records come after it, or before it if before is true. It is empty for the
// first page. A later page without a token is 400/70002.
func (q PageQuery) Edge() (key string, before bool, err error) {
	if q.page > 0 && q.token == "" {
		return "", false, Refused(70002, "Paged requests must include a PageToken")
	}
	return q.token, q.before, nil
}

// Uncounted returns the Page of so many records from such a list. previous and next
// are the keys of the first and the last of them, or empty if nothing comes before or
// after.
func (q PageQuery) Uncounted(records int, previous, next string) Page {
	p := Page{Page: q.page, PageSize: q.size, URI: q.uri(q.page, q.tokenParam()), First: q.uri(0, "")}
	if records > 0 {
		p.Start = q.page * q.size
		p.End = p.Start + records - 1
	}
	if next != "" {
		p.Next = PageURI(q.uri(q.page+1, tokenAfter+next))
	}
	if previous != "" {
		p.Previous = PageURI(q.uri(max(q.page-1, 0), tokenBefore+previous))
	}
	return p
}

func (q PageQuery) tokenParam() string {
	switch {
	case q.token == "":
		return ""
	case q.before:
		return tokenBefore + q.token
	}
	return tokenAfter + q.token
}

// uri is the path of a page with the query in the order of Twilio's own.
func (q PageQuery) uri(page int, token string) string {
	u := q.path + "?" + q.filters + "PageSize=" + strconv.Itoa(q.size) + "&Page=" + strconv.Itoa(page)
	if token != "" {
		u += "&PageToken=" + token
	}
	return u
}
