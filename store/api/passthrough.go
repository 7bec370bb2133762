package api

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"mmspipe/store"
	"mmspipe/store/rest"
)

// PassThrough answers a request for a resource of an account with what the provider
// answers. Ours, if not zero, is a message in its path that the provider knows as
// theirs. It returns an error before anything is answered, or not at all.
type PassThrough func(w http.ResponseWriter, r *http.Request, account store.AccountSID, ours, theirs store.MessageSID) error

// segment is what paths that are passed through are made of, between slashes. All
// others could be read as another path by whoever comes next: escapes, dots, parameters.
var segment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// owned are the resources below an account that are served here, or would be another way
// to the same: SMS/Messages is the one of old applications.
var owned = []string{"messages", "message", "media", "sms", "sms/messages", "sms/message"}

// guarded are the resources whose answers hold secrets of the account. The provider
// opens them to no API key either, but for those of its main kind
// (https://www.twilio.com/docs/iam/api-keys).
var guarded = []string{"", "keys", "signingkeys"}

// foreign is a path that is passed through.
type foreign struct {
	account  string
	resource string // in small letters, without a suffix; empty for the account itself
	message  string // that a Feedback is about
}

// parseForeign takes a path apart. It is not ok for a path that is served here, in any
// spelling, and for one that is not the API's.
func parseForeign(r *http.Request) (foreign, bool) {
	tail, ok := strings.CutPrefix(r.URL.Path, rest.Prefix+"Accounts/")
	if !ok || r.URL.EscapedPath() != r.URL.Path {
		return foreign{}, false
	}
	parts := strings.Split(tail, "/")
	if slices.ContainsFunc(parts, func(part string) bool { return !segment.MatchString(part) }) {
		return foreign{}, false
	}
	small := strings.Split(strings.ToLower(tail), "/")
	for i := range small {
		small[i], _, _ = strings.Cut(small[i], ".")
	}
	f := foreign{account: parts[0]}
	if len(parts) == 1 {
		f.account, _, _ = strings.Cut(parts[0], ".")
		return f, true
	}
	f.resource = small[1]
	if f.resource == "sms" && len(small) > 2 {
		f.resource = strings.Join(small[1:3], "/")
	}
	if len(parts) == 4 && parts[1] == "Messages" && small[3] == "feedback" {
		f.message = parts[2]
		return f, true
	}
	return f, !slices.Contains(owned, f.resource)
}

// passThrough answers a request for a resource that is not served here.
func (a *api) passThrough(w http.ResponseWriter, r *http.Request) error {
	f, ok := parseForeign(r)
	if !ok {
		return rest.NotFound(r)
	}
	identity, err := a.Keys.Authenticate(r)
	switch {
	case err != nil:
		return err
	case !identity.MayUse(f.account):
		return rest.NotFound(r)
	case slices.Contains(guarded, f.resource) && !identity.Owner:
		return rest.Unauthorized()
	case !identity.Write && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return rest.Unauthorized()
	}
	if err := allow(r, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete); err != nil {
		return err
	}
	account, err := store.ParseAccountSID(f.account)
	if err != nil {
		return rest.NotFound(r)
	}
	if f.message == "" {
		return a.PassThrough(w, r, account, store.MessageSID{}, store.MessageSID{})
	}
	ours, theirs, err := a.names(r, account, f.message)
	if err != nil {
		return err
	}
	return a.PassThrough(w, r, account, ours, theirs)
}

// names are the SIDs, here and at the provider, of a message that was sent from here. Both
// are zero of any other message, which has only one.
func (a *api) names(r *http.Request, account store.AccountSID, message string) (ours, theirs store.MessageSID, err error) {
	if ours, err = store.ParseMessageSID(message); err != nil {
		return ours, theirs, rest.NotFound(r)
	}
	m, err := a.Store.Message(r.Context(), account, ours)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && m.Deleted.IsZero() && m.Outgoing == nil:
		return store.MessageSID{}, store.MessageSID{}, nil
	case err != nil:
		return ours, theirs, err
	case !m.Deleted.IsZero() || m.Outgoing.Upstream.IsZero(): // the provider does not have it, or not yet
		return ours, theirs, rest.NotFound(r)
	}
	return ours, m.Outgoing.Upstream, nil
}
