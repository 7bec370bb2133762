package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/outbound/route"
	"mmspipe/store"

	"github.com/dustin/go-humanize"
	"github.com/rs/zerolog"
)

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port is not a number up to 65535", s)
	}
	return nil
}

// checkLoopback refuses an address that others could reach.
func checkLoopback(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address and a port, such as 127.0.0.1:4222", address)
	}
	if !to.Addr().IsLoopback() {
		return fmt.Errorf("%s is not a loopback address", address)
	}
	return nil
}

func parseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an origin such as https://mms.example.com", s)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("an origin is a scheme, a host and perhaps a port, and nothing else")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// parseOrigins reads a list of origins.
func parseOrigins(s string) ([]*url.URL, error) {
	var origins []*url.URL
	var m []error
	for entry := range strings.SplitSeq(s, ",") {
		origin, err := parseOrigin(strings.TrimSpace(entry))
		origins, m = append(origins, origin), append(m, err)
	}
	return origins, errors.Join(m...)
}

// parseAccounts reads "AC…:token[:token2],…". Tokens do not reach an error.
func parseAccounts(s string) (map[store.AccountSID][]string, error) {
	accounts := map[store.AccountSID][]string{}
	var m []error
	for i, entry := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		name, tokens, _ := strings.Cut(strings.TrimSpace(entry), ":")
		sid, err := store.ParseAccountSID(name)
		if err != nil {
			m = append(m, fmt.Errorf("entry %d: the text before the first colon is not an account SID", i+1))
			continue
		}
		accounts[sid] = strings.Split(tokens, ":")
		if len(accounts[sid]) > 2 || slices.Contains(accounts[sid], "") {
			m = append(m, fmt.Errorf("entry %d, %s: want one token or two, with colons between", i+1, sid))
		}
	}
	return accounts, errors.Join(m...)
}

func readRules(path string) ([]route.Rule, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return route.ParseRules(file)
}

// ParseBytes reads a size such as 600KB, 32MiB or 1048576, of up to 1 TiB.
func ParseBytes(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<40 {
		return 0, fmt.Errorf("%q is not a size such as 600KB or 32MiB", s)
	}
	return int64(n), nil
}

// ParseDuration reads a duration such as 90m, 24h, 90d or 1d12h. A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 16)
	d := time.Duration(n) * 24 * time.Hour
	if err == nil && rest != "" {
		var more time.Duration
		more, err = time.ParseDuration(rest)
		d += more
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90m, 24h or 90d", s)
	}
	return d, nil
}

// atLeast refuses what is too little to be of use.
func atLeast[T cmp.Ordered](least T, parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (T, error) {
		v, err := parse(s)
		if err == nil && v < least {
			want := any(least)
			if size, ok := want.(int64); ok {
				want = humanize.IBytes(uint64(size))
			}
			err = fmt.Errorf("%s is too little to be of use; want %v at least", s, want)
		}
		return v, err
	}
}

// numberUpTo reads a count from 1 on.
func numberUpTo(most int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return 0, fmt.Errorf("%q is not a number from 1 to %d", s, most)
		}
		return n, nil
	}
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", s)
}

// parseNames reads a list of host names.
func parseNames(s string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name == "" || strings.ContainsAny(name, ":/@ ") {
			return nil, fmt.Errorf("%q is not a list of host names without ports, with commas between", s)
		}
		names = append(names, name)
	}
	return names, nil
}

// checkServers looks at URLs of NATS, which may hold passwords and do not reach an
// error.
func checkServers(s string) error {
	for i, entry := range strings.Split(s, ",") {
		entry = strings.TrimSpace(entry)
		if !strings.Contains(entry, "://") {
			entry = "nats://" + entry // as NATS's clients do
		}
		u, err := url.Parse(entry)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("entry %d is not a URL such as nats://nats-1:4222", i+1)
		}
	}
	return nil
}

func checkReadable(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return file.Close()
}

func parseLevel(s string) (zerolog.Level, error) {
	level, err := zerolog.ParseLevel(s)
	if err != nil || s == "" {
		return level, fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	return level, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}
