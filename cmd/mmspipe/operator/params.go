package operator

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mmspipe/ingest/operate"
	"mmspipe/store"
	"mmspipe/store/number"
)

// params reads the parameters of one request strictly: anything that is not clear is
// a mistake, because some requests cannot be undone. A handler reads each
// parameter that it knows, and then asks for mistakes.
type params struct {
	values   url.Values
	known    []string
	mistakes []error
}

// badRequest is the error of a request whose parameters are not clear.
type badRequest struct{ error }

const formType = "application/x-www-form-urlencoded"

// readParams takes the parameters from the query and, of a POST, from the form. A
// body that is no form is a mistake: parameters in it would be overlooked.
func readParams(r *http.Request) (*params, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.ContentLength != 0 && (err != nil || kind != formType) {
		return nil, badRequest{fmt.Errorf("the body is not %s", formType)}
	}
	if err := r.ParseForm(); err != nil {
		return nil, badRequest{fmt.Errorf("the parameters cannot be read: %w", err)}
	}
	return &params{values: r.Form}, nil
}

// get returns the value of a parameter, and whether it was given.
func (p *params) get(name string) (value string, given bool) {
	p.known = append(p.known, name)
	values := p.values[name]
	if len(values) > 1 {
		p.mistake(name, "is given %d times, want it once", len(values))
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

func (p *params) mistake(name, format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Errorf(name+" "+format, args...))
}

// flag is false unless it is given.
func (p *params) flag(name string) bool {
	value, given := p.get(name)
	if given && value != "true" && value != "false" {
		p.mistake(name, "is %q, want true or false", value)
	}
	return value == "true"
}

// text is empty unless it is given. Space around it is a mistake: a plus sign that was
// not encoded as %2B becomes a space, and the number would be another one.
func (p *params) text(name string) string {
	value, given := p.get(name)
	if given && (value == "" || strings.TrimSpace(value) != value) {
		p.mistake(name, "is %q, want text without space around it; a plus sign is written as %%2B", value)
	}
	return value
}

// number is empty unless it is given.
func (p *params) number(name string, region number.Region) string {
	value := p.text(name)
	if value == "" {
		return ""
	}
	normal, err := region.Parse(value)
	if err != nil {
		p.mistake(name, "is wrong: %v", err)
	}
	return normal
}

// moment is zero unless it is given.
func (p *params) moment(name string) time.Time {
	value, given := p.get(name)
	if !given {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		p.mistake(name, "is %q, want a time such as 2026-11-23T15:04:05Z", value)
	}
	return at
}

// parsed is zero unless the parameter is given.
func parsed[T any](p *params, name string, parse func(string) (T, error)) (v T) {
	value, given := p.get(name)
	if !given {
		return v
	}
	v, err := parse(value)
	if err != nil {
		p.mistake(name, "is %q: %w", value, err)
	}
	return v
}

// account is one of those that the service works for, or zero unless it is given.
func (p *params) account(accounts []store.AccountSID) store.AccountSID {
	account := parsed(p, "account", store.ParseAccountSID)
	if account != (store.AccountSID{}) && !slices.Contains(accounts, account) {
		p.mistake("account", "is %s, which is not an account of this service", account)
	}
	return account
}

// query reads what [values] writes.
func (p *params) query(accounts []store.AccountSID) operate.Query {
	return operate.Query{
		Account: p.account(accounts),
		Message: parsed(p, "message", store.ParseMessageSID),
		Media:   parsed(p, "media", store.ParseMediaSID),
		Reason:  p.text("reason"),
		Since:   p.moment("since"),
		Until:   p.moment("until"),
	}
}

// err lists all mistakes, also parameters that the handler does not know.
func (p *params) err() error {
	for name := range p.values {
		if slices.Contains(p.known, name) {
			continue
		}
		want := "this request takes none"
		if len(p.known) > 0 {
			want = "want any of " + strings.Join(p.known, ", ")
		}
		p.mistake(name, "is not a parameter; %s", want)
	}
	if len(p.mistakes) == 0 {
		return nil
	}
	return badRequest{errors.Join(p.mistakes...)}
}

// values writes a query as parameters.
func values(q operate.Query) url.Values {
	v := url.Values{}
	if q.Account != (store.AccountSID{}) {
		v.Set("account", q.Account.String())
	}
	if q.Message != (store.MessageSID{}) {
		v.Set("message", q.Message.String())
	}
	if q.Media != (store.MediaSID{}) {
		v.Set("media", q.Media.String())
	}
	if q.Reason != "" {
		v.Set("reason", q.Reason)
	}
	setTime(v, "since", q.Since)
	setTime(v, "until", q.Until)
	return v
}

func setTime(v url.Values, name string, at time.Time) {
	if !at.IsZero() {
		v.Set(name, at.Format(time.RFC3339))
	}
}
