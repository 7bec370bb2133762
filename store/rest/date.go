package rest

import (
	"net/url"
	"strings"
	"time"
)

// dateLayouts are the forms in which dates reach filters: what the three
// official libraries send, what the documentation shows, and what Twilio was
// seen to accept (twilio-oai issue 21). Zones left out mean GMT.
var dateLayouts = []string{
	time.RFC3339, // twilio-go, with the caller's zone; twilio-node and -python in GMT
	"2006-01-02T15:04:05-0700",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02",
	"2006-01",
	"2006",
	"01/02/2006 15:04:05 MST",
	"Mon, 2 Jan 2006 15:04:05 -0700",
	"Mon, 2 Jan 2006 15:04:05 MST",
}

// usZones are the zones that RFC 2822 section 4.3 names, in hours from GMT;
// package time knows only those of the machine's own place.
var usZones = map[string]int{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}

func parseDate(s string) (time.Time, bool) {
	// A plus sign that was not escaped arrives as a space.
	if i := strings.LastIndexByte(s, ' '); i > 0 && strings.Contains(s[:i], "T") && !strings.Contains(s, ",") {
		s = s[:i] + "+" + s[i+1:]
	}
	for _, layout := range dateLayouts {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if name, offset := t.Zone(); offset == 0 {
			t = t.Add(-time.Duration(usZones[name]) * time.Hour)
		}
		return t.UTC(), true
	}
	return time.Time{}, false
}

// DateFilter is the condition that the parameters NAME, NAME< and NAME> of a list
// make. The zero value admits every date.
type DateFilter struct {
	on              time.Time // midnight, GMT
	notAfter, since time.Time
}

// ParseDateFilter reads a filter. What is documented as NAME<=DATE reaches the
// server as the parameter "NAME<" with the value DATE, so both ends are
// included. NAME selects the day, in GMT. A bad value is 400/20001.
func ParseDateFilter(query url.Values, name string) (DateFilter, error) {
	var f DateFilter
	for param, field := range map[string]*time.Time{name: &f.on, name + "<": &f.notAfter, name + ">": &f.since} {
		value := strings.TrimSpace(query.Get(param))
		if value == "" {
			continue
		}
		t, ok := parseDate(value)
		if !ok {
			return f, BadRequest("Invalid date value.")
		}
		*field = t
	}
	f.on = f.on.Truncate(24 * time.Hour)
	return f, nil
}

// Admits tells whether a date, to the second as it is shown, is inside.
func (f DateFilter) Admits(date time.Time) bool {
	date = date.UTC().Truncate(time.Second)
	return (f.on.IsZero() || date.Truncate(24*time.Hour).Equal(f.on)) &&
		(f.notAfter.IsZero() || !date.After(f.notAfter)) &&
		(f.since.IsZero() || !date.Before(f.since))
}

// Bounds are times between which all dates lie that are admitted: from since, before
// until. A zero one is no bound.
func (f DateFilter) Bounds() (since, until time.Time) {
	since = f.since
	if f.on.After(since) {
		since = f.on
	}
	if !f.notAfter.IsZero() {
		until = f.notAfter.Add(time.Second)
	}
	if day := f.on.Add(24 * time.Hour); !f.on.IsZero() && (until.IsZero() || day.Before(until)) {
		until = day
	}
	return since, until
}
