package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// newFile returns a name for a file. It has no meaning.
func newFile() string {
	var name [16]byte
	_, _ = rand.Read(name[:]) // never fails
	return hex.EncodeToString(name[:])
}

// settledPath is where the file of a stored object is: in one of 256 folders,
// because some tools are slow in large ones.
func (d *Dir) settledPath(name string) string {
	return filepath.Join(d.blobs(), name[:2], name)
}

// writeFile makes a synced file of r below incoming/. Its entry there is not
// durable yet.
func (d *Dir) writeFile(r io.Reader) (name string, err error) {
	name = newFile()
	path := filepath.Join(d.incoming(), name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
		return "", err
	}
	return name, nil
}

// settleFile moves a file whose object is committed to where it stays. This need
// not be durable: who opens it looks in both places, and so does sweep.
func (d *Dir) settleFile(name string) error {
	from, to := filepath.Join(d.incoming(), name), d.settledPath(name)
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(from, to))
	}
	return err
}

// openFile opens the file of an object, which may just be settling.
func (d *Dir) openFile(name string) (*os.File, error) {
	f, err := os.Open(d.settledPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(d.incoming(), name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(d.settledPath(name))
	}
	return f, err
}

// removeFile removes a file wherever it is.
func (d *Dir) removeFile(name string) error {
	for _, path := range []string{d.settledPath(name), filepath.Join(d.incoming(), name)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

const (
	// roomToPut is what must be free for a put: enough for one commit, and for
	// the tables that the log is writing behind it, so that these seldom wait. It
	// is below the floor at which serve stops its intake.
	roomToPut = 16 << 20

	// roomToDelete is what must be free for a delete, which makes room.
	roomToDelete = 1 << 20

	// roomToGoOn is what must be free for the log to go on after a write that found no
	// room. It takes no second refusal, so that is more than one write needs. It is less
	// than what puts leave free, so that a disk that others filled is no trap when they
	// take theirs away.
	roomToGoOn = 4 << 20

	// roomTick is how often a log that waits for room looks for it.
	roomTick = 100 * time.Millisecond
)

// room is what is free in the file system of path.
type room struct {
	path string

	mu      sync.Mutex
	lacking chan struct{} // closed while the log waits for room
}

// lack returns a channel that is closed while the log waits for room.
func (r *room) lack() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lacking
}

// await returns when a write that found no room may be tried again.
func (r *room) await() {
	close(r.lacking)
	tick := time.NewTicker(roomTick)
	defer tick.Stop()
	for range tick.C {
		if free, err := r.free(); err == nil && free >= roomToGoOn {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lacking = make(chan struct{})
}

func (r *room) free() (uint64, error) {
	usage, err := vfs.Default.GetDiskUsage(r.path)
	return usage.AvailBytes, err
}

// err is the error of who finds too little room.
func (r *room) err() error {
	return fmt.Errorf("%s needs %d MiB of free disk: %w", r.path, roomToPut>>20, syscall.ENOSPC)
}
