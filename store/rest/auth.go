package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Operator is the account of an API key that may use all of them.
const Operator = "*"

// APIKey is accepted wherever an account's own token is.
type APIKey struct {
	SID     string // SK…
	Secret  string
	Account string // or Operator
	Write   bool   // false: it may only read
}

// ParseAPIKeys reads "SK…:secret:AC…|*:read|write,…". The error names every entry
// that is wrong, by its number: secrets do not reach it.
func ParseAPIKeys(s string) ([]APIKey, error) {
	var keys []APIKey
	var mistakes []error
	i := 0
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		i++
		parts := strings.Split(entry, ":")
		if len(parts) != 4 || !strings.HasPrefix(parts[0], "SK") || parts[1] == "" ||
			parts[2] != Operator && !strings.HasPrefix(parts[2], "AC") || parts[3] != "read" && parts[3] != "write" {
			mistakes = append(mistakes, fmt.Errorf("entry %d is not SK…:SECRET:AC…:read, with * for all accounts and write for more", i))
			continue
		}
		keys = append(keys, APIKey{parts[0], parts[1], parts[2], parts[3] == "write"})
	}
	return keys, errors.Join(mistakes...)
}

// Identity is whom a request comes from.
type Identity struct {
	Account string // or Operator
	Write   bool
	Owner   bool // it has the account's own token, not a key
}

// MayUse tells whether the identity may use an account.
func (i Identity) MayUse(account string) bool {
	return i.Account == Operator || i.Account == account
}

// Keys checks HTTP Basic authentication: an account's SID with one of its auth
// tokens, or an API key with its secret
// (https://www.twilio.com/docs/iam/api-keys).
type Keys struct {
	accounts map[string][]string
	keys     []APIKey
	failures *Failures
}

// NewKeys returns Keys for accounts with their tokens, and API keys.
func NewKeys(accounts map[string][]string, keys []APIKey) *Keys {
	return &Keys{accounts: accounts, keys: keys, failures: NewFailures()}
}

// Authenticate returns whom a request comes from. Without the right credentials
// that is 401/20003, after a delay if the address has failed often, or 429/20429.
// The right ones never wait.
func (k *Keys) Authenticate(r *http.Request) (Identity, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return Identity{}, Unauthorized()
	}
	if identity, ok := k.check(user, password); ok {
		return identity, nil
	}
	if err := k.failures.Delay(r); err != nil {
		return Identity{}, err
	}
	return Identity{}, Unauthorized()
}

// check compares in constant time.
func (k *Keys) check(user, password string) (identity Identity, ok bool) {
	for _, token := range k.accounts[user] {
		if equal(token, password) {
			identity, ok = Identity{Account: user, Write: true, Owner: true}, true
		}
	}
	for _, key := range k.keys {
		if key.SID == user && equal(key.Secret, password) {
			identity, ok = Identity{Account: key.Account, Write: key.Write}, true
		}
	}
	return identity, ok
}

// equal takes the same time wherever the two differ, and however long they are.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
