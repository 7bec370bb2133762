package stream

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// batchMessages and batchBytes bound one atomic batch. A server takes 1,000
	// messages unless it is configured otherwise (nats-server 2.15.2,
	// JetStreamLimits.MaxBatchSize).
	batchMessages = 500
	batchBytes    = 1 << 20

	// commitTimeout is how long the publishes that share a commit wait for the
	// server together.
	commitTimeout = 5 * time.Second
)

// BatchFrom is the number of waiting Jobs from which one atomic batch is faster
// than one publish each, on a server that takes syncTime to sync a file before
// it acknowledges: a publish costs one sync, a batch about six and three
// milliseconds, whatever its size (measured on nats-server 2.15.2).
func BatchFrom(syncTime time.Duration) int {
	return 7 + int(3*time.Millisecond/max(syncTime, 10*time.Microsecond))
}

// SyncTime is how long it takes to append to a file in dir and sync it: the
// median of some twenty times. It leaves nothing behind.
func SyncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return 0, fmt.Errorf("time a sync: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	times := make([]time.Duration, 21)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(make([]byte, 1500)); err != nil {
			return 0, fmt.Errorf("time a sync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("time a sync: %w", err)
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// committer publishes to the Jobs so that callers share the syncs of the server.
// Whoever finds it idle publishes at once, by itself. Those who come meanwhile
// wait for that and are then committed together; there is no timer, the commit
// under way makes the next one large.
type committer struct {
	js        jetstream.JetStream
	batchFrom int // 0: never an atomic batch

	mu      sync.Mutex
	busy    bool
	waiting []*pending
}

// pending is a message that waits for its commit.
type pending struct {
	ctx  context.Context // of the caller; who has given up is not published
	msg  *nats.Msg
	done chan result // has room for the one result
}

type result struct {
	ack *jetstream.PubAck
	err error
}

// publish returns when the server has acknowledged msg, or ctx has ended; then
// msg may be published or not.
func (c *committer) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if c.batchFrom == 0 {
		return c.js.PublishMsg(ctx, msg)
	}
	c.mu.Lock()
	if !c.busy {
		c.busy = true
		c.mu.Unlock()
		ack, err := c.js.PublishMsg(ctx, msg)
		c.next()
		return ack, err
	}
	p := &pending{ctx, msg, make(chan result, 1)}
	c.waiting = append(c.waiting, p)
	c.mu.Unlock()
	select {
	case r := <-p.done:
		return r.ack, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// next hands on to those who wait, if any. The caller was busy.
func (c *committer) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = len(c.waiting) > 0
	if c.busy {
		go c.drain()
	}
}

// drain commits until nobody waits.
func (c *committer) drain() {
	for group := c.take(); len(group) > 0; group = c.take() {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		c.commit(ctx, group)
		cancel()
	}
}

// take removes the next group from those who wait: as many as one batch may
// hold, each id once, for a server refuses a batch that repeats one. Without any
// left the committer is idle.
func (c *committer) take() []*pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	var group, rest []*pending
	ids := map[string]bool{}
	size := 0
	for _, p := range c.waiting {
		id := p.msg.Header.Get(nats.MsgIdHdr)
		switch {
		case p.ctx.Err() != nil:
		case ids[id] || len(group) == batchMessages || len(group) > 0 && size+len(p.msg.Data) > batchBytes:
			rest = append(rest, p)
		default:
			ids[id] = true
			size += len(p.msg.Data)
			group = append(group, p)
		}
	}
	c.waiting = rest
	c.busy = len(group) > 0
	return group
}

// commit publishes a group, as one batch if that is faster. A batch is refused
// whole when the stream knows one of its ids, and after trouble nobody knows
// what became of it: then each message is published by itself, and those that
// are there already are known by their ids.
func (c *committer) commit(ctx context.Context, group []*pending) {
	if len(group) >= c.batchFrom && c.batch(ctx, group) == nil {
		return
	}
	futures := make([]jetstream.PubAckFuture, len(group))
	for i, p := range group {
		var err error
		if futures[i], err = c.js.PublishMsgAsync(p.msg); err != nil {
			p.done <- result{err: err}
		}
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		p := group[i]
		select {
		case ack := <-future.Ok():
			p.done <- result{ack: ack}
		case err := <-future.Err():
			p.done <- result{err: err}
		case <-ctx.Done():
			p.done <- result{err: ctx.Err()}
		}
	}
}

// batch publishes a group atomically. After an error nobody has been answered.
func (c *committer) batch(ctx context.Context, group []*pending) error {
	messages := make([]*nats.Msg, len(group))
	for i, p := range group {
		messages[i] = copyMessage(p.msg) // the batch adds headers
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, c.js, messages, jetstreamext.BatchFlowControl{})
	if err != nil {
		return fmt.Errorf("publish batch: %w", err)
	}
	for _, p := range group {
		p.done <- result{ack: &jetstream.PubAck{Stream: ack.Stream, Sequence: ack.Sequence}}
	}
	return nil
}

func copyMessage(m *nats.Msg) *nats.Msg {
	c := nats.NewMsg(m.Subject)
	c.Data = m.Data
	maps.Copy(c.Header, m.Header)
	return c
}
