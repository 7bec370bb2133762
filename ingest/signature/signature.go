// Package signature signs and verifies requests the way Twilio does
// (https://www.twilio.com/docs/usage/security#validating-requests).
//
// A signature is the HMAC-SHA1, keyed with an auth token, of the URL as it was
// configured at the provider and, for a form that was posted, of all its
// parameters; for another body the URL carries its SHA-256. There is no time and
// no nonce in it: a request that was seen once can be sent again, and whoever
// receives it must know a repeat.
//
// # What the URL is
//
// The provider signs the URL that it was given, which a server behind a proxy
// does not see. The caller builds it from its own configuration, never from the
// Host header or one that a proxy adds. Because providers and their libraries
// differ in small ways, [Verify] also accepts the URL without its port, with the
// default port added, with its query escaped as by the URL class of JavaScript, and
// with its query written as by Node's querystring module. All of these have the same
// host, path and parameters. Twilio's validator for Node accepts a little more: a
// path without its dots, another character in place of what is no UTF-8, and names
// that are numbers in another order. These are refused. User information is never
// signed.
//
// # What the form is
//
// Names and values are joined without a separator, and equal ones of one name
// count once: a signature does not tell a=bc from ab=c, nor a=1&a=2 from its
// reverse. A receiver relies only on names that it knows, each given once, and
// parses a form as strictly as [Verify] does.
package signature

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Sign returns the signature of a request to rawURL with the parameters of the
// form that is posted, nil for none. The URL is signed as it is, without its
// fragment and user information.
func Sign(token, rawURL string, form url.Values) string {
	return base64.StdEncoding.EncodeToString(sum(token, bare(rawURL), parameters(form)))
}

// Request is what of a request is signed.
type Request struct {
	Method      string
	URL         string // the public origin, and the path and query as they were received
	ContentType string
	Body        []byte
	Signature   string // of the X-Twilio-Signature header
}

// Match says what a signature was made of.
type Match struct {
	Token int    // index of the token
	URL   string // the form of the URL that was signed
}

// Verify tells whether one of the tokens signed the request. A request with a
// body that is neither a form nor named by its hash in the URL is not signed,
// whatever its signature says of the rest, and neither is a form that cannot be
// parsed. A # in the URL is part of what has to be signed: no fragment is ever
// sent, so that somebody else has put it there. An empty token signs nothing.
//
// The time it takes does not depend on how much of a signature is right.
func Verify(tokens []string, r Request) (Match, bool) {
	given, err := base64.StdEncoding.Strict().DecodeString(r.Signature)
	if err != nil || len(given) != sha1.Size {
		return Match{}, false
	}
	form, ok := signedForm(r)
	if !ok {
		return Match{}, false
	}
	params, urls := parameters(form), variants(r.URL)
	var match Match
	found := false
	for i, token := range tokens {
		for _, u := range urls {
			if hmac.Equal(given, sum(token, u, params)) && token != "" && !found {
				match, found = Match{Token: i, URL: u}, true
			}
		}
	}
	return match, found
}

// signedForm returns the parameters that the signature covers besides the URL,
// and whether the body is covered at all.
func signedForm(r Request) (url.Values, bool) {
	if r.Method == http.MethodGet && len(r.Body) == 0 {
		return nil, true
	}
	mediaType, _, _ := mime.ParseMediaType(r.ContentType)
	if mediaType == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(r.Body))
		return form, err == nil
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, false
	}
	hashes := u.Query()["bodySHA256"]
	if len(hashes) != 1 {
		return nil, false
	}
	sum := sha256.Sum256(r.Body)
	return nil, hmac.Equal([]byte(hashes[0]), []byte(hex.EncodeToString(sum[:])))
}

// parameters joins a form's names and values: names in byte order, and the
// distinct values of a repeated name in theirs, each after its name.
func parameters(form url.Values) string {
	var b strings.Builder
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			b.WriteString(name)
			b.WriteString(value)
		}
	}
	return b.String()
}

func sum(token, u, params string) []byte {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(u))
	mac.Write([]byte(params))
	return mac.Sum(nil)
}

// bare returns a URL without its fragment and user information.
func bare(rawURL string) string {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	return withoutUser(rawURL)
}

func withoutUser(rawURL string) string {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	return scheme + "://" + rest[at+1:]
}
