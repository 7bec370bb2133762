package rest

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// LeadsTo tells whether a URL leads to an origin, however its host is written: in capitals,
// with a dot at its end, in Unicode, as another address of the loopback. User
// information, path and query do not count, and the default ports of http and https are
// one: a proxy answers both.
//
// Names are not resolved. What is posted to another name of the same host is signed
// under that name, and no origin takes a signature that was made for another.
func LeadsTo(origin, u *url.URL) bool {
	return host(origin) == host(u) && port(origin) == port(u)
}

func host(u *url.URL) string {
	name := strings.TrimSuffix(u.Hostname(), ".")
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip = ip.Unmap().WithZone(""); ip.IsLoopback() {
			return "localhost"
		}
		return ip.String()
	}
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		name = ascii
	}
	return strings.ToLower(name)
}

// port is that of a URL, and empty for the default ones.
func port(u *url.URL) string {
	if p := u.Port(); p != "80" && p != "443" {
		return p
	}
	return ""
}
