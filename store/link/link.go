// Package link signs links to media, so that whoever has one can open it without
// credentials until it expires.
//
// A link opens one path with one variant, and nothing else. It holds on every
// process with the same secret, and across restarts; there is no way to take one
// back but to change the secret or delete the medium.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Signer signs and verifies links.
type Signer struct{ key []byte }

// New returns a Signer whose key is derived from secret.
func New(secret []byte) Signer {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("mmspipe link"))
	return Signer{mac.Sum(nil)}
}

// Sign returns the query that opens a path, with a variant or the original if
// that is empty, until expires, to the second.
func (s Signer) Sign(path, variant string, expires time.Time) url.Values {
	query := url.Values{"Expires": {strconv.FormatInt(expires.Unix(), 10)}}
	if variant != "" {
		query.Set("variant", variant)
	}
	query.Set("Signature", hex.EncodeToString(s.sum(path, variant, query.Get("Expires"))))
	return query
}

// Verify tells whether a query opens a path at a time, and until when it does.
func (s Signer) Verify(path string, query url.Values, now time.Time) (expires time.Time, ok bool) {
	seconds, err := strconv.ParseInt(query.Get("Expires"), 10, 64)
	if err != nil || len(query["variant"]) > 1 {
		return time.Time{}, false
	}
	expires = time.Unix(seconds, 0)
	given, err := hex.DecodeString(query.Get("Signature"))
	if err != nil || !hmac.Equal(given, s.sum(path, query.Get("variant"), query.Get("Expires"))) {
		return time.Time{}, false
	}
	return expires, now.Before(expires)
}

// sum is over each part with its length, so that no two links share one.
func (s Signer) sum(path, variant, expires string) []byte {
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{path, variant, expires} {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return mac.Sum(nil)
}
