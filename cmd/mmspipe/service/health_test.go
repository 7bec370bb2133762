package service_test

import (
	"net/http"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
)

// readyz is /readyz of the public listener.
func readyz(t *testing.T, p *servicetest.Program) int {
	t.Helper()
	response, err := http.Get(p.Public + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// TestReadyByRole: while the object store is away a receiver takes webhooks, and is
// ready; an API is not.
func TestReadyByRole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		roles string
		want  int
	}{{"receiver", http.StatusOK}, {"api", http.StatusServiceUnavailable}} {
		t.Run(c.roles, func(t *testing.T) {
			t.Parallel()
			gate := &servicetest.Gate{}
			p := servicetest.Start(t, gate.Behind(servicetest.External), "--roles="+c.roles, "--secret="+servicetest.Secret)
			if status := readyz(t, p); status != http.StatusOK {
				t.Errorf("with an object store: %d", status)
			}
			gate.Closed.Store(true)
			defer gate.Closed.Store(false)
			p.Eventually("the object store is known to be away", func() bool { _, r := p.Readyz(); return !r.Objects.OK })
			p.Eventually("the public listener says the same", func() bool { return readyz(t, p) == c.want })
			status, r := p.Readyz()
			if status != c.want || !r.Queue.OK || r.Objects.Needed != (c.want != http.StatusOK) {
				t.Errorf("%d %+v, want %d", status, r, c.want)
			}
			if c.roles == "receiver" {
				p.Send(simulate.Message{Body: "meanwhile"})
			}
		})
	}
}

// TestQueueIsToBlame: while NATS is away, it is said to be, and nothing else.
func TestQueueIsToBlame(t *testing.T) {
	t.Parallel()
	nats := servicetest.StartNATS(t)
	p := servicetest.Start(t, servicetest.External, "--nats-url="+nats.URL())
	nats.Stop()
	status, r := p.Readyz()
	if status != http.StatusServiceUnavailable || r.Queue.OK || !r.Objects.OK {
		t.Errorf("%d %+v", status, r)
	}
	nats.Start()
	p.Eventually("ready again", func() bool { return readyz(t, p) == http.StatusOK })
}
