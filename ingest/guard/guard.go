// Package guard keeps connections inside what may be reached: public addresses on
// ports 80 and 443, and exceptions that the operator names. It looks at the address
// that is about to be dialled, so that no name, redirect or spelling leads past it.
// A proxy would: whoever dials through the guard uses none.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"code.dny.dev/ssrf"
)

// Allow is one exception to the guard: addresses and the one port of them.
type Allow struct {
	Prefix netip.Prefix
	Port   uint16
}

// Parse reads "10.0.0.0/8:9000,[fd00::/8]:443". The error names every entry
// that is wrong.
func Parse(s string) ([]Allow, error) {
	var allows []Allow
	var mistakes []error
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		colon := strings.LastIndexByte(entry, ':')
		address := entry[:max(colon, 0)]
		if inner, ok := strings.CutPrefix(address, "["); ok {
			address = strings.TrimSuffix(inner, "]")
		}
		prefix, err := netip.ParsePrefix(address)
		if err != nil || prefix.Addr().Is4In6() { // such an address is dialled as IPv4
			mistakes = append(mistakes, fmt.Errorf("%q is not CIDR:PORT such as 10.0.0.0/8:9000", entry))
			continue
		}
		port, err := strconv.ParseUint(entry[colon+1:], 10, 16)
		if err != nil || port == 0 {
			mistakes = append(mistakes, fmt.Errorf("%q: the port is not a number from 1 to 65535", entry))
			continue
		}
		allows = append(allows, Allow{prefix.Masked(), uint16(port)})
	}
	return allows, errors.Join(mistakes...)
}

// exceptions are what may be dialled beside public addresses on ports 80 and 443.
type exceptions []Allow

// public knows IANA's special purpose registries, and nothing of IPv6 outside
// global unicast: so NAT64, IPv4-mapped and unique local addresses are refused
// with the rest, and 6to4 and Teredo by their prefixes.
var public = ssrf.New()

// control is a net.Dialer's ControlContext: address is the one that is about to
// be connected to.
func (e exceptions) control(_ context.Context, network, address string, c syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrForbidden, address)
	}
	ip := to.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(e, func(a Allow) bool { return a.Port == to.Port() && a.Prefix.Contains(ip) }) {
		return nil
	}
	if err := public.Safe(network, netip.AddrPortFrom(ip, to.Port()).String(), c); err != nil || isISATAP(ip) {
		return ErrForbidden
	}
	return nil
}

// ErrForbidden is wrapped by the error of a connection that the guard refused.
var ErrForbidden = errors.New("the address is not to be connected to")

// Dial returns the DialContext of a dialer that connects to public addresses on
// ports 80 and 443 and to those of allow, and to no other. It wraps [ErrForbidden]
// where all addresses of a name are refused.
func Dial(allow []Allow, dialer net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return exceptions(allow).dial(dialer)
}

// dial returns the DialContext of a dialer behind the guard. A name is forbidden
// if all of its addresses are: where one is refused, such as that of a NAT64, and
// another one does not answer, the second may do so at another time.
func (e exceptions) dial(dialer net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var permitted atomic.Bool
		dialer := dialer
		dialer.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
			err := e.control(ctx, network, address, c)
			if err == nil {
				permitted.Store(true)
			}
			return err
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if errors.Is(err, ErrForbidden) && permitted.Load() {
			err = &net.OpError{Op: "dial", Net: network, Err: errors.New("no address that is permitted can be reached")}
		}
		return conn, err
	}
}

// isISATAP tells an address that carries an IPv4 address in its interface
// identifier (RFC 5214 section 6.1), which ssrf does not look at.
func isISATAP(ip netip.Addr) bool {
	if !ip.Is6() {
		return false
	}
	b := ip.As16()
	return b[8]&^0x03 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
