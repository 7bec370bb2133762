package stream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Class is what an acknowledged publish survives.
type Class string

// The classes. All of them survive the end of a server's process, kill -9 too.
const (
	// Fsync: every server of the streams syncs before it acknowledges. Power loss
	// is survived, of all servers at once too.
	Fsync Class = "fsync"
	// Replicated: three servers or more have it before it is acknowledged. The
	// loss of a minority is survived, not that of power on all.
	Replicated Class = "replicated"
	// Lazy: a server was seen to sync later. Power loss is not survived: what the
	// last two minutes acknowledged may be gone.
	Lazy Class = "lazy"
	// Unknown: not all servers of the streams were seen.
	Unknown Class = "unknown"
)

// Durable tells whether an acknowledged publish survives the loss of one server's
// power.
func (c Class) Durable() bool { return c == Fsync || c == Replicated }

// Class asks for the configuration of both streams and returns the weaker one's
// class, with the reason in words. syncs tells by name of each server that was
// seen whether it syncs before it acknowledges: a client of an ordinary account
// cannot ask.
func (s *Streams) Class(ctx context.Context, syncs map[string]bool) (Class, string, error) {
	weakest, reason := Fsync, ""
	for _, stream := range []jetstream.Stream{s.jobs, s.feed} {
		info, err := stream.Info(ctx)
		if err != nil {
			return Unknown, "", fmt.Errorf("look up stream: %w", err)
		}
		class, why := classify(info, s.conn.ConnectedServerName(), syncs)
		if weaker(class, weakest) || reason == "" {
			weakest, reason = class, info.Config.Name+": "+why
		}
	}
	return weakest, reason, nil
}

// weaker orders the classes.
func weaker(a, b Class) bool {
	order := map[Class]int{Fsync: 0, Replicated: 1, Unknown: 2, Lazy: 3}
	return order[a] > order[b]
}

// classify tells a stream's class from its configuration and where it is.
func classify(info *jetstream.StreamInfo, connected string, syncs map[string]bool) (Class, string) {
	switch config := info.Config; {
	case config.Storage != jetstream.FileStorage:
		return Lazy, "it is kept in memory"
	case config.PersistMode == jetstream.AsyncPersistMode:
		return Lazy, "its persist mode is async"
	}
	unseen, late := "", ""
	for _, name := range homes(info, connected) {
		switch always, seen := syncs[name]; {
		case !seen:
			unseen = name
		case !always:
			late = name
		}
	}
	switch {
	case unseen == "" && late == "":
		return Fsync, "every server that has it syncs before it acknowledges"
	case info.Config.Replicas >= 3:
		return Replicated, fmt.Sprintf("it has %d replicas", info.Config.Replicas)
	case late != "":
		return Lazy, fmt.Sprintf("server %s acknowledges before it syncs; set sync_interval: always there", late)
	}
	return Unknown, fmt.Sprintf("how server %s syncs was not seen", unseen)
}

// homes are the names of the servers that have a stream. A server that is alone
// says nothing of a cluster; it is the one connected to.
func homes(info *jetstream.StreamInfo, connected string) []string {
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return []string{connected}
	}
	names := []string{info.Cluster.Leader}
	for _, replica := range info.Cluster.Replicas {
		names = append(names, replica.Name)
	}
	return names
}
