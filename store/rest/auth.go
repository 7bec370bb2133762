package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
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
}

// MayUse tells whether the identity may use an account.
func (i Identity) MayUse(account string) bool {
	return i.Account == Operator || i.Account == account
}

const (
	// failuresAtOnce and failuresEach bound what guessing can try from one
	// address: so many failed logins are answered at once, later ones one at a
	// time.
	failuresAtOnce = 10
	failuresEach   = time.Second

	// maxDelay is how long a failed login waits at most before it is told to come
	// back later.
	maxDelay = 5 * time.Second

	// maxAddresses is how many addresses are remembered.
	maxAddresses = 10_000
)

// Keys checks HTTP Basic authentication: an account's SID with one of its auth
// tokens, or an API key with its secret
// (https://www.twilio.com/docs/iam/api-keys).
type Keys struct {
	accounts map[string][]string
	keys     []APIKey

	mu       sync.Mutex
	failures map[string]*rate.Limiter // by remote address
}

// NewKeys returns Keys for accounts with their tokens, and API keys.
func NewKeys(accounts map[string][]string, keys []APIKey) *Keys {
	return &Keys{accounts: accounts, keys: keys, failures: map[string]*rate.Limiter{}}
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
	return Identity{}, k.delay(r)
}

// check compares in constant time.
func (k *Keys) check(user, password string) (identity Identity, ok bool) {
	for _, token := range k.accounts[user] {
		if equal(token, password) {
			identity, ok = Identity{Account: user, Write: true}, true
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

// delay waits as long as the failures of the request's address ask for.
func (k *Keys) delay(r *http.Request) error {
	reservation := k.limiter(r).Reserve()
	wait := reservation.Delay()
	if wait > maxDelay {
		reservation.Cancel()
		return TooManyRequests(wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	return Unauthorized()
}

func (k *Keys) limiter(r *http.Request) *rate.Limiter {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := k.failures[host]; l != nil {
		return l
	}
	if len(k.failures) >= maxAddresses {
		clear(k.failures)
	}
	l := rate.NewLimiter(rate.Every(failuresEach), failuresAtOnce)
	k.failures[host] = l
	return l
}
