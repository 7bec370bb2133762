package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"time"
)

// ErrNobodyListens says that nothing listens where webhooks are sent.
var ErrNobodyListens = errors.New("nothing listens")

// AwaitHandler waits until something listens at the host of a URL, as long as ctx lasts.
// It calls waiting with the host and port if that is not so at once. The error wraps
// [ErrNobodyListens] when ctx ended, and names the address; any other is a reason why no
// connection can be made.
func AwaitHandler(ctx context.Context, handler *url.URL, waiting func(address string)) error {
	address := handler.Host
	if handler.Port() == "" {
		address = net.JoinHostPort(handler.Hostname(), handler.Scheme)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; said = true {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if !said {
			waiting(address)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w at %s", ErrNobodyListens, address)
		}
	}
}
