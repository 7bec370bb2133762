package operator

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard keeps web pages of others away from the admin listener, which browsers of the
// house can reach and strangers cannot. The listener is called by an IP address, as
// localhost or by one of these names: a page whose own name was made to lead here (DNS
// rebinding) calls it by that name and is answered 421. A page of another origin may
// read nothing, and what it would have changed is answered 403.
func Guard(admin http.Handler, names []string) http.Handler {
	guarded := http.NewCrossOriginProtection().Handler(admin)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostname(r.Host)
		known := name == "localhost" || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		if _, err := netip.ParseAddr(name); err != nil && !known {
			http.Error(w, fmt.Sprintf("%q is not a name of this listener: call it by its address, or add the name to MMSPIPE_ADMIN_HOSTS", name), http.StatusMisdirectedRequest)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// hostname is a Host header without its port, in lower case.
func hostname(host string) string { return strings.ToLower((&url.URL{Host: host}).Hostname()) }

// isLocal tells whether a request came from this machine, and for it.
func isLocal(r *http.Request) bool {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	name := hostname(r.Host)
	return err == nil && isLoopback(from) && (name == "localhost" || isLoopback(name))
}

func isLoopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Unmap().IsLoopback()
}

// ready answers how the process and its dependencies are. It names addresses and
// directories, so that only this machine is told without an operator's key.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if !isLocal(r) {
		if err := s.authenticate(r); err != nil {
			s.refuse(w, r, err)
			return
		}
	}
	report := s.Health.Check(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(report.Status())
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(report) // a client that has gone cannot be told
}
