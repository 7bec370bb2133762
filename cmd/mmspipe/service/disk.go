package service

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// diskTick is how often the free space is looked at.
	diskTick = 250 * time.Millisecond

	// floorShare of a file system, within floorLeast and floorMost, is kept free:
	// jobs in hand may still write until they notice, and the queue needs room to
	// remove jobs that are done.
	floorShare = 50 // a fiftieth
	floorLeast = 32 << 20
	floorMost  = 512 << 20

	// LowSpace is how many free bytes are enough everywhere. With less, a service may
	// soon answer webhooks with 503.
	LowSpace = floorMost + floorMost/2
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
	_, size, err := Space(dir)
	if err != nil {
		return nil, err
	}
	return &disk{dir: dir, floor: min(max(size/floorShare, floorLeast), floorMost), log: log}, nil
}

// look notes whether there is room. Once there is not, half as much again as the
// floor must be free, so that this does not change with every job.
func (d *disk) look() {
	free, _, err := Space(d.dir)
	if err != nil {
		d.log.Error().Err(err).Msg("free space is not known")
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
	free, _, err := Space(d.dir)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s has %s free and needs %s", d.dir, humanize.IBytes(uint64(max(free, 0))), humanize.IBytes(uint64(d.floor+d.floor/2)))
}

// Space returns the bytes that are free in the file system of dir and its size.
func Space(dir string) (free, size int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil //nolint:unconvert // the types differ between systems
}
