package signature

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// defaultPorts are those that may be written or left out.
var defaultPorts = map[string]string{"https": "443", "http": "80"}

// variants returns the forms in which a URL may have been signed, the given one
// first.
func variants(rawURL string) []string {
	urls := []string{withoutUser(rawURL)}
	add := func(u string) {
		if !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	if u, err := url.Parse(urls[0]); err == nil && strings.HasPrefix(urls[0], u.Scheme+"://"+u.Host) {
		path := strings.TrimPrefix(urls[0], u.Scheme+"://"+u.Host)
		host := u.Hostname()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		add(u.Scheme + "://" + host + path)
		if port := defaultPorts[u.Scheme]; port != "" && u.Port() == "" {
			add(u.Scheme + "://" + host + ":" + port + path)
		}
	}
	for _, u := range urls {
		path, query, ok := strings.Cut(u, "?")
		if !ok || query == "" || strings.Contains(query, "#") {
			continue
		}
		add(path + "?" + normalQuery(query))
		if query, ok := legacyQuery(query); ok {
			add(path + "?" + query)
		}
	}
	return urls
}

// normalQuery escapes what the URL class of JavaScript escapes in a query
// (https://url.spec.whatwg.org/#special-query-percent-encode-set).
func normalQuery(query string) string {
	return escape(query, func(b byte) bool { return b > ' ' && b <= '~' && !strings.ContainsRune(`"#<>'`, rune(b)) })
}

// legacyQuery writes a query anew as Node's querystring module does
// (https://nodejs.org/api/querystring.html): each name and value escaped in its way,
// all values of a name after its first, and every name with a =. It is not ok for what is
// no UTF-8, in whose place the module would write something else.
func legacyQuery(query string) (string, bool) {
	var names []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, value := unescape(rawName), unescape(rawValue)
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return "", false
		}
		if values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], value)
	}
	var pairs []string
	for _, name := range names {
		for _, value := range values[name] {
			pairs = append(pairs, escape(name, isLegacyPlain)+"="+escape(value, isLegacyPlain))
		}
	}
	return strings.Join(pairs, "&"), true
}

// unescape reads a name or a value. A percent sign that begins no escape is itself.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c, i = byte(n), i+2
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// isLegacyPlain tells what querystring.escape leaves as it is.
func isLegacyPlain(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.ContainsRune("-_.!~*'()", rune(b))
}

// escape writes each byte that is not plain as a percent sign and two digits.
func escape(s string, plain func(byte) bool) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
