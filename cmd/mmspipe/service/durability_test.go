package service_test

import (
	"net/http"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
)

// monitored starts a NATS server and returns settings that use it, and see at its
// monitoring port how it syncs if seen is set.
func monitored(t *testing.T, syncAlways, seen bool) []string {
	t.Helper()
	n := servicetest.NewNATS(t)
	n.Options.HTTPHost, n.Options.HTTPPort, n.Options.SyncAlways = "127.0.0.1", server.RANDOM_PORT, syncAlways
	n.Start()
	flags := []string{"--nats-url=" + n.URL()}
	if seen {
		flags = append(flags, "--nats-monitor=http://"+n.Server.MonitorAddr().String())
	}
	return flags
}

// TestDurability: the class of the queue is what its server says it is.
func TestDurability(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                  string
		embedded              bool
		syncAlways, monitored bool
		want                  stream.Class
	}{
		{name: "embedded", embedded: true, want: stream.Fsync},
		{name: "synced", syncAlways: true, monitored: true, want: stream.Fsync},
		{name: "not synced", monitored: true, want: stream.Lazy},
		{name: "not seen", syncAlways: true, want: stream.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var flags []string
			if !c.embedded {
				flags = monitored(t, c.syncAlways, c.monitored)
			}
			p := servicetest.Start(t, servicetest.Embedded, flags...)
			status, r := p.Readyz()
			if status != http.StatusOK || r.Durability.Class != c.want || r.Durability.Reason == "" {
				t.Errorf("%d %+v, want class %s", status, r, c.want)
			}
			if warned := strings.Contains(p.Logs.String(), "MMSPIPE_NATS_MONITOR"); warned != !c.want.Durable() {
				t.Errorf("warned: %v", warned)
			}
		})
	}
}

// TestRequireDurable: the service refuses to start on a queue whose
// acknowledgements may not survive, and says what to do.
func TestRequireDurable(t *testing.T) {
	t.Parallel()
	err := servicetest.Refused(t, servicetest.Embedded, append(monitored(t, false, true), "--require-durable=true")...)
	if err == nil || !strings.Contains(err.Error(), "MMSPIPE_REQUIRE_DURABLE") || !strings.Contains(err.Error(), "sync_interval: always") {
		t.Errorf("error %v", err)
	}
}
