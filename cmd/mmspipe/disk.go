package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// diskTick is how often the free space is looked at.
	diskTick = 250 * time.Millisecond

	// floorShare of a file system, within floorLeast and floorMost, is kept free:
	// what jobs in hand may still write until they notice, and what the queue
	// needs to let go of what is done.
	floorShare = 50 // a fiftieth
	floorLeast = 32 << 20
	floorMost  = 512 << 20

	// stuckFor is how long a queue may leave publishes unanswered before its
	// embedded server is taken for one that cannot write any more. It is longer
	// than a webhook waits.
	stuckFor = 4 * time.Second

	// sweepTick is how often jobs that are done and still queued are looked for.
	sweepTick = 30 * time.Second
)

// disk watches the free space of the data directory. Under the floor no webhook
// is taken that would have to be stored there, and no job is begun.
type disk struct {
	dir   string
	floor int64
	log   zerolog.Logger
	low   atomic.Bool
}

func newDisk(dir string, log zerolog.Logger) (*disk, error) {
	_, size, err := space(dir)
	if err != nil {
		return nil, err
	}
	return &disk{dir: dir, floor: min(max(size/floorShare, floorLeast), floorMost), log: log}, nil
}

// look notes whether there is room. Once there is not, it takes half as much
// again as the floor to be enough, so that this does not change with every job.
func (d *disk) look() {
	free, _, err := space(d.dir)
	if err != nil {
		d.log.Error().Err(err).Msg("free space not known")
		return
	}
	was := d.low.Load()
	low := free < d.floor || was && free < d.floor+d.floor/2
	if d.low.Store(low); low != was {
		line := d.log.Info()
		text := "disk has room again"
		if low {
			line, text = d.log.Error(), "disk is full: no webhook is taken and no job begun until there is room again"
		}
		line.Str("dir", d.dir).Int64("free", free).Int64("floor", d.floor).Msg(text)
	}
}

// full tells whether the free space was under the floor when last looked at.
func (d *disk) full() bool { return d.low.Load() }

// check returns an error while the disk is full.
func (d *disk) check() error {
	if !d.full() {
		return nil
	}
	free, _, err := space(d.dir)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s has %d bytes free, and wants %d", d.dir, free, d.floor+d.floor/2)
}

// space returns the bytes that are free in the file system of dir and its size.
func space(dir string) (free, size int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil //nolint:unconvert // the types differ between systems
}

// startWatch looks at the disk, the queue and its connection until the service
// stops.
func (s *service) startWatch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { s.followReconnects(ctx) })
	watching.Go(func() { s.sweepQueue(ctx) })
	watching.Go(func() {
		tick := time.NewTicker(diskTick)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.disk.look()
				s.mendQueue()
			}
		}
	})
	s.onStop("watch", func(context.Context) error { cancel(); watching.Wait(); return nil })
	return nil
}

// mendQueue restarts an embedded server that does not write any more, as soon as
// there is room: nothing that it acknowledged is lost by that.
func (s *service) mendQueue() {
	if s.embedded == nil || s.disk.full() || s.streams.Stuck() < stuckFor {
		return
	}
	s.log.Error().Msg("queue does not answer; restarting the embedded NATS")
	if err := s.embedded.restart(); err != nil {
		s.log.Error().Err(err).Msg("embedded NATS not restarted")
	}
	s.streams.Unstick()
}

// sweepQueue clears up, until ctx ends, after a queue that could not write.
func (s *service) sweepQueue(ctx context.Context) {
	tick := time.NewTicker(sweepTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.streams.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn().Err(err).Msg("queue not swept")
			}
		}
	}
}
