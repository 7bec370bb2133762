package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// stuckFor is how long a queue may leave publishes unanswered before its
	// embedded server is considered unable to write any more. It is longer than a
	// webhook waits.
	stuckFor = 4 * time.Second

	// sweepTick is the time between two looks for jobs that are done and still
	// queued.
	sweepTick = 30 * time.Second

	// monitorTimeout is how long a server's monitoring port may take to answer.
	monitorTimeout = 3 * time.Second
)

// state is the state of the streams. A queue that answers and takes no Jobs is an
// error too.
func (q *queue) state(ctx context.Context) (*stream.State, error) {
	state, err := q.streams.State(ctx)
	if err != nil {
		return nil, err
	}
	if stuck := q.streams.Stuck(); stuck > stuckFor {
		err = fmt.Errorf("publishes have had no answer for %v", stuck.Round(time.Second))
	}
	return &state, err
}

// restartStuck restarts an embedded server that does not write any more: nothing
// that it acknowledged is lost by that. It is called while the disk has room.
func (q *queue) restartStuck(ctx context.Context) {
	if q.embedded == nil || q.streams.Stuck() < stuckFor {
		return
	}
	q.log.Error().Msg("queue does not answer; restarting the embedded NATS")
	if err := q.embedded.restart(ctx); err != nil {
		q.log.Error().Err(err).Msg("embedded NATS not restarted")
	}
	q.streams.Unstick()
}

// sweep clears up after a queue that could not write.
func (q *queue) sweep(ctx context.Context) {
	if err := q.streams.Sweep(ctx); err != nil && ctx.Err() == nil {
		q.log.Warn().Err(err).Msg("queue not swept")
	}
}

// followReconnects wakes delayed jobs and determines the durability again whenever
// the connection comes back, until ctx ends: there may be other servers now, or the
// same one with other settings.
func (q *queue) followReconnects(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.reconnected:
			if err := q.streams.Wake(ctx); err != nil {
				q.log.Warn().Err(err).Msg("delayed jobs may wait a minute longer")
			}
			q.classify(ctx)
		}
	}
}

// classify determines the durability of the queue, and warns where it is less than
// what people take an acknowledgement for.
func (q *queue) classify(ctx context.Context) {
	var syncs map[string]bool
	if q.embedded != nil {
		syncs = q.embedded.syncs()
	} else {
		syncs = q.askServers(ctx)
	}
	class, reason, err := q.streams.Class(ctx, syncs)
	if err != nil {
		class, reason = stream.Unknown, err.Error()
	}
	q.durability.Store(&health.Durability{Class: class, Reason: reason})
	line := q.log.Info()
	if !class.Durable() {
		line = q.log.Warn().Str("hint", "what is acknowledged may not survive power loss; set sync_interval: always on every server and name their monitoring ports in MMSPIPE_NATS_MONITOR")
	}
	line.Str("class", string(class)).Str("reason", reason).Msg("queue durability")
}

// askServers asks each server's monitoring port whether it syncs before it
// acknowledges. A server that does not answer is left out, with a warning.
func (q *queue) askServers(ctx context.Context) map[string]bool {
	syncs := map[string]bool{}
	for _, address := range q.monitor {
		name, always, err := askServer(ctx, address)
		if err != nil {
			q.log.Warn().Err(err).Msg("NATS server does not answer at its monitoring port")
			continue
		}
		syncs[name] = always
	}
	return syncs
}

// askServer reads /varz (https://docs.nats.io/running-a-nats-service/nats_admin/monitoring).
func askServer(ctx context.Context, address *url.URL) (name string, always bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.JoinPath("varz").String(), nil)
	if err != nil {
		return "", false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", false, err
	}
	defer response.Body.Close()
	var varz server.Varz
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&varz); err != nil || response.StatusCode != http.StatusOK {
		return "", false, fmt.Errorf("%s is not the monitoring port of a NATS server: status %d", address.Host, response.StatusCode)
	}
	return varz.Name, varz.JetStream.Config != nil && varz.JetStream.Config.SyncAlways, nil
}
