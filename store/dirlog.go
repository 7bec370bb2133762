package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The keys of the log, each of which begins with one of these bytes.
const (
	objectSpace  = 'o' // and a key: its value
	fileSpace    = 'f' // and the name of a file that an object has
	folderSpace  = 'p' // and a folder of keys
	deadSpace    = 'd' // and the name of a file that no object has any more
	clockEntry   = "c" // when the last object was written
	countEntry   = "n" // how many commits there were
	importedMark = "i" // there if nothing is to be imported any more
)

// What an object's value in the log is: one byte that says where its content is,
// when it was put in microseconds, its size, and the content or the file's name.
const (
	inLog      = 0
	inFile     = 1
	headerSize = 1 + 8 + 8
)

// inlineMax is the size of the largest object in the log. Up to it the shared
// sync saves more than it costs that the log writes a value again for each level
// it passes (BenchmarkDirPut).
const inlineMax = 32 << 10

type value []byte

// newValue is a value of which the header is not complete.
func newValue(kind byte, payload []byte) value {
	v := make(value, headerSize, headerSize+len(payload))
	v[0] = kind
	return append(v, payload...)
}

func (v value) date(modified time.Time, size int64) {
	binary.BigEndian.PutUint64(v[1:], uint64(modified.UnixMicro()))
	binary.BigEndian.PutUint64(v[9:], uint64(size))
}

func (v value) kind() byte      { return v[0] }
func (v value) payload() []byte { return v[headerSize:] }
func (v value) size() int64     { return int64(binary.BigEndian.Uint64(v[9:])) }

// object describes v. The time in its ETag is another for every object that was
// ever put into the bucket.
func (v value) object(key string) Object {
	modified := int64(binary.BigEndian.Uint64(v[1:]))
	etag := strconv.FormatInt(modified, 36) + "-" + strconv.FormatInt(v.size(), 36)
	return Object{Key: key, Size: v.size(), ETag: etag, Modified: time.UnixMicro(modified)}
}

func (v value) check() error {
	if len(v) < headerSize || v.kind() > inFile || v.kind() == inLog && int64(len(v.payload())) != v.size() {
		return errors.New("damaged: not a value of this bucket")
	}
	return nil
}

func logKey(space byte, name string) []byte { return append([]byte{space}, name...) }

// read returns what r has under key.
func read(r pebble.Reader, key string) (value, error) {
	data, closer, err := r.Get(logKey(objectSpace, key))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	}
	v := value(bytes.Clone(data))
	return v, errors.Join(v.check(), closer.Close())
}

// openLog opens the log, or makes it if there has never been one, and checks that
// it has all that the marker says. Its memory is some 30 MB: two tables of what is
// not sorted yet, and a cache.
func (d *Dir) openLog() error {
	noted, exists, err := d.readMarker()
	if err != nil {
		return err
	}
	files := &patientFS{FS: vfs.Default}
	options := &pebble.Options{
		FS:                 vfs.OnDiskFull(files, d.room.await),
		FormatMajorVersion: pebble.FormatWALSyncChunks, // tells damage from a torn end
		ErrorIfNotExists:   exists,
		Merger:             sum,
		MemTableSize:       8 << 20,
		CacheSize:          8 << 20,
		MaxOpenFiles:       256,
		Logger:             fatal{},
		EventListener:      &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}, // the reader is told
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most reads before a put find nothing
	}
	if d.log, err = pebble.Open(d.logDir(), options); err != nil {
		return fmt.Errorf("%s: %w", d.logDir(), err)
	}
	micros, clockErr := d.number(clockEntry)
	commits, countErr := d.number(countEntry)
	if err := errors.Join(clockErr, countErr); err != nil {
		return err
	}
	if commits < noted {
		return fmt.Errorf("%s: damaged: it has %d of at least %d commits; no file was removed", d.logDir(), commits, noted)
	}
	d.clock, d.commits = time.UnixMicro(int64(micros)), commits
	return files.check()
}

// number returns the number under an entry, 0 if there is none.
func (d *Dir) number(entry string) (uint64, error) {
	data, closer, err := d.log.Get([]byte(entry))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(data) != 8 {
		return 0, fmt.Errorf("%s: damaged: entry %s has %d bytes", d.logDir(), entry, len(data))
	}
	return binary.BigEndian.Uint64(data), nil
}

// seal adds to a batch the clock, and 1 to the number of commits.
func (d *Dir) seal(batch *pebble.Batch) error {
	clock, one := binary.BigEndian.AppendUint64(nil, uint64(d.clock.UnixMicro())), binary.BigEndian.AppendUint64(nil, 1)
	return errors.Join(batch.Set([]byte(clockEntry), clock, nil), batch.Merge([]byte(countEntry), one, nil))
}

// sum adds up what the log's parts have under [countEntry]. A part that is
// missing takes its share away.
var sum = &pebble.Merger{
	Name: "mmspipe.sum",
	Merge: func(_, data []byte) (pebble.ValueMerger, error) {
		t := new(total)
		return t, t.MergeNewer(data)
	},
}

type total uint64

func (t *total) MergeNewer(data []byte) error {
	if len(data) != 8 {
		return fmt.Errorf("damaged: a number of %d bytes", len(data))
	}
	*t += total(binary.BigEndian.Uint64(data))
	return nil
}

func (t *total) MergeOlder(data []byte) error { return t.MergeNewer(data) }

func (t *total) Finish(bool) ([]byte, io.Closer, error) {
	return binary.BigEndian.AppendUint64(nil, uint64(*t)), nil, nil
}

// patientFS removes no part of the log before that is checked: what a damaged log
// does not know may be what somebody wants to mend it with.
type patientFS struct {
	vfs.FS

	mu      sync.Mutex
	checked bool
	held    []string // what is to be removed then
}

func (p *patientFS) Remove(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	base := filepath.Base(name)
	part := strings.HasSuffix(base, ".sst") || strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-")
	if part && !p.checked {
		p.held = append(p.held, name)
		return nil
	}
	return p.FS.Remove(name)
}

// check says that the log is whole.
func (p *patientFS) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checked = true
	for _, name := range p.held {
		if err := p.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// The marker is a file in the place of the older layout's folder, so that older
// versions do not start: to them the bucket would look empty. It ends with the
// number of commits that are durable, by which a log is known that has lost its
// end or some of its tables, which it would not know itself.
const (
	markerText  = "The objects are in log and blobs. This file keeps versions that do not know these from starting.\n"
	markerCount = "%020d\n"
)

// readMarker returns the number in the marker, and whether there is a marker.
func (d *Dir) readMarker() (noted uint64, exists bool, err error) {
	info, err := os.Lstat(d.markerFile())
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	data, err := os.ReadFile(d.markerFile())
	if err != nil {
		return 0, false, err
	}
	if _, err := fmt.Sscanf(strings.TrimPrefix(string(data), markerText), markerCount, &noted); err != nil {
		return 0, false, fmt.Errorf("%s: damaged: %w", d.markerFile(), err)
	}
	return noted, true, nil
}

// writeMarker makes the marker.
func (d *Dir) writeMarker() error {
	f, err := os.OpenFile(d.markerFile()+"-new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, markerText+markerCount, d.commits)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.markerFile()); err != nil {
		return err
	}
	return syncDir(d.path)
}

// note counts a commit that is durable, and writes the number into the marker. This
// is not synced: a smaller one is as true.
func (d *Dir) note() {
	d.commits++
	_, _ = fmt.Fprintf(io.NewOffsetWriter(d.marker, int64(len(markerText))), markerCount, d.commits)
}

// fatal is the logger of the log. It says nothing, and ends the process where a
// write has failed and nobody can know what is on the disk.
type fatal struct{}

func (fatal) Infof(string, ...any)  {}
func (fatal) Errorf(string, ...any) {}
func (fatal) Fatalf(format string, args ...any) {
	panic("directory bucket: " + fmt.Sprintf(format, args...))
}

// tick is the present time, or the next microsecond that no object has.
func (d *Dir) tick() time.Time {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(d.clock) {
		now = d.clock.Add(time.Microsecond)
	}
	d.clock = now
	return now
}

// sweep removes the files that no object has: those of puts that were not
// committed, and those of objects that are gone. It moves the others to where
// they stay.
func (d *Dir) sweep() error {
	files, err := os.ReadDir(d.incoming())
	if err != nil {
		return err
	}
	for _, f := range files {
		_, closer, err := d.log.Get(logKey(fileSpace, f.Name()))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
			err = os.Remove(filepath.Join(d.incoming(), f.Name()))
		case err == nil:
			err = errors.Join(closer.Close(), d.settleFile(f.Name()))
		}
		if err != nil {
			return err
		}
	}
	return d.sweepDead()
}

func (d *Dir) sweepDead() (err error) {
	dead, err := d.log.NewIter(&pebble.IterOptions{LowerBound: []byte{deadSpace}, UpperBound: []byte{deadSpace + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dead.Close()) }()
	done := d.log.NewBatch()
	defer func() { _ = done.Close() }() // gives its memory back
	for more := dead.First(); more; more = dead.Next() {
		if err := d.removeFile(string(dead.Key()[1:])); err != nil {
			return err
		}
		if err := done.Delete(dead.Key(), nil); err != nil {
			return err
		}
	}
	if err := dead.Error(); err != nil || done.Empty() {
		return err
	}
	if err := syncFileSystem(d.path); err != nil { // before it is forgotten that they are to go
		return err
	}
	return done.Commit(pebble.Sync)
}
