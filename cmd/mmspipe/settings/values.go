package settings

import (
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

	"mmspipe/ingest/outbound"
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

// minRetention is twice the time for which media are tried by default.
const minRetention = 48 * time.Hour

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

func readAccounts(path string) (map[store.AccountSID][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseAccounts(string(text))
}

func readRules(path string) ([]outbound.Rule, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return outbound.ParseRules(file)
}

func parseBytes(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<40 {
		return 0, fmt.Errorf("%q is not a size such as 32MiB", s)
	}
	return int64(n), nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number above 0", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90m or 24h", s)
	}
	return d, nil
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
