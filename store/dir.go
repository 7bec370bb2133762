package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Dir is a [Bucket] in a directory of one process, which must hold whatever
// lock the directory has. A key is the path of a file below objects/, so people
// can look at what is stored with the tools they have.
//
// What Put has stored survives power loss: the file is synced before it gets its
// name, then its directory, and the parent of each directory that Put made or
// does not know to be durable. Readers see an object only after that, too.
//
// Directories are not removed when they become empty. Two keys that differ only
// in case need a file system that tells them apart.
type Dir struct {
	objects string // the files that keys name
	temp    string // what is being written; of no worth after a crash

	locks [256]sync.RWMutex // one for each key, shared by hash
	seed  maphash.Seed

	mu     sync.Mutex
	synced map[string]bool // directories whose entry in their parent is durable
	clock  time.Time       // modification time of the last object written
}

// maxSynced bounds the memory of Dir.synced to some 20 MB. Forgetting it costs
// one sync for each directory that is used again.
const maxSynced = 100_000

// OpenDir opens the directory path and makes it if it is absent. It removes
// what a crash left half written, makes durable what it left unsynced, and
// fails where the file system cannot tell two writes apart by their time.
func OpenDir(path string) (*Dir, error) {
	d := &Dir{
		objects: filepath.Join(path, "objects"),
		temp:    filepath.Join(path, "temp"),
		seed:    maphash.MakeSeed(),
		synced:  make(map[string]bool),
	}
	if err := d.open(path); err != nil {
		return nil, fmt.Errorf("open directory bucket: %w", err)
	}
	return d, nil
}

func (d *Dir) open(path string) error {
	if err := os.RemoveAll(d.temp); err != nil {
		return err
	}
	for _, dir := range []string{d.objects, d.temp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := syncFileSystem(path); err != nil {
		return err
	}
	name, _, err := d.write(strings.NewReader(""))
	if err != nil {
		return err
	}
	defer os.Remove(name)
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.ModTime().Equal(d.clock) {
		return fmt.Errorf("%s: the file system keeps no microseconds in modification times, which ETags are made of", path)
	}
	return nil
}

// Put is [Bucket]'s. It writes to a temporary file without holding a lock.
func (d *Dir) Put(ctx context.Context, key string, r io.Reader, size int64, cond Condition) (Object, error) {
	o, err := d.put(ctx, key, r, size, cond)
	if err != nil {
		return Object{}, fmt.Errorf("put %s: %w", key, err)
	}
	return o, nil
}

func (d *Dir) put(ctx context.Context, key string, r io.Reader, size int64, cond Condition) (Object, error) {
	if err := checkPut(key, size); err != nil {
		return Object{}, err
	}
	temp, info, err := d.write(&exactly{ctx: ctx, r: r, left: size})
	if err != nil {
		return Object{}, err
	}
	defer os.Remove(temp)
	path := d.path(key)
	if err := d.makeDir(filepath.Dir(path)); err != nil {
		return Object{}, err
	}

	lock := d.lock(key)
	lock.Lock()
	defer lock.Unlock()
	if err := ctx.Err(); err != nil {
		return Object{}, err
	}
	if err := publish(temp, path, cond); err != nil {
		return Object{}, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return Object{}, err
	}
	return object(key, info), nil
}

// write makes a synced temporary file of r. Its modification time, from which
// the object's ETag is made, is later than that of any object written before.
func (d *Dir) write(r io.Reader) (name string, info fs.FileInfo, err error) {
	f, err := os.CreateTemp(d.temp, "put-")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return "", nil, err
	}
	now := d.tick()
	if err := os.Chtimes(f.Name(), now, now); err != nil {
		return "", nil, err
	}
	if err := f.Sync(); err != nil {
		return "", nil, err
	}
	info, err = f.Stat()
	return f.Name(), info, err
}

// tick returns the present time in whole microseconds, or the next microsecond
// that was not returned yet. File systems keep the time of a write only to the
// timer tick of the kernel, which is too coarse.
func (d *Dir) tick() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(d.clock) {
		now = d.clock.Add(time.Microsecond)
	}
	d.clock = now
	return now
}

// publish gives the file temp the name path if cond holds for what has it now.
func publish(temp, path string, cond Condition) error {
	if cond.ifAbsent {
		err := os.Link(temp, path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return errors.New("key is a folder of other keys")
		}
		return ErrPrecondition
	}
	if cond.ifMatch != "" {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && object("", info).ETag != cond.ifMatch {
			return ErrPrecondition
		}
		if err != nil {
			return err
		}
	}
	return os.Rename(temp, path)
}

// Get is [Bucket]'s. The reader keeps what was stored when it was opened.
func (d *Dir) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, Object, error) {
	f, info, err := d.openFile(ctx, key)
	if err != nil {
		return nil, Object{}, fmt.Errorf("get %s: %w", key, err)
	}
	if left := max(info.Size()-offset, 0); length < 0 || length > left {
		length = left
	}
	return &fileReader{ctx: ctx, Reader: io.NewSectionReader(f, offset, length), Closer: f}, object(key, info), nil
}

// fileReader reads a part of a file until its context ends.
type fileReader struct {
	ctx context.Context // of the Get
	io.Reader
	io.Closer
}

func (r *fileReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Stat is [Bucket]'s.
func (d *Dir) Stat(ctx context.Context, key string) (Object, error) {
	f, info, err := d.openFile(ctx, key)
	if err != nil {
		return Object{}, fmt.Errorf("stat %s: %w", key, err)
	}
	f.Close()
	return object(key, info), nil
}

// openFile opens what is stored under key. It waits for a write of key that is
// under way: who acts on what it reads must not see it vanish in a power cut.
func (d *Dir) openFile(ctx context.Context, key string) (*os.File, fs.FileInfo, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return nil, nil, err
	}
	lock := d.lock(key)
	lock.RLock()
	defer lock.RUnlock()
	f, err := os.Open(d.path(key))
	if err != nil {
		return nil, nil, absence(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = ErrNotFound
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Delete is [Bucket]'s.
func (d *Dir) Delete(ctx context.Context, key string) error {
	if err := d.remove(ctx, key); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

func (d *Dir) remove(ctx context.Context, key string) error {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return err
	}
	lock := d.lock(key)
	lock.Lock()
	defer lock.Unlock()
	path := d.path(key)
	info, err := os.Lstat(path)
	if err != nil {
		return absence(err)
	}
	if info.IsDir() {
		return ErrNotFound
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// List is [Bucket]'s. It reads the names in the directories that can hold such
// keys and no others; a page costs what those directories hold.
func (d *Dir) List(ctx context.Context, prefix, after string, limit int) ([]Object, error) {
	l := listing{ctx: ctx, dir: d, prefix: prefix, after: after, limit: limit}
	err := checkPrefix(prefix)
	if err == nil {
		err = l.add(prefix[:strings.LastIndexByte(prefix, '/')+1])
	}
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	return l.objects, nil
}

// listing is one page in the making.
type listing struct {
	ctx           context.Context
	dir           *Dir
	prefix, after string
	limit         int
	objects       []Object
}

// add appends the objects below folder, which is empty or ends in a slash.
func (l *listing) add(folder string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.dir.path(folder))
	if folder != "" && errors.Is(absence(err), ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		name := folder + e.Name()
		if e.IsDir() {
			name += "/" // as in the keys below it, so that it sorts like them
		}
		if l.wants(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(l.objects) >= l.limit {
			break
		}
		if err := l.addName(name); err != nil {
			return err
		}
	}
	return nil
}

// addName appends the object name, or those below it if it is a folder.
func (l *listing) addName(name string) error {
	if strings.HasSuffix(name, "/") {
		return l.add(name)
	}
	info, err := os.Stat(l.dir.path(name))
	switch {
	case errors.Is(absence(err), ErrNotFound): // deleted since its folder was read
	case err != nil:
		return err
	default:
		l.objects = append(l.objects, object(name, info))
	}
	return nil
}

// wants says whether name is, or is the beginning of, a key to be listed.
func (l *listing) wants(name string) bool {
	if strings.HasSuffix(name, "/") {
		inside := strings.HasPrefix(name, l.prefix) || strings.HasPrefix(l.prefix, name)
		return inside && (name > l.after || strings.HasPrefix(l.after, name))
	}
	return strings.HasPrefix(name, l.prefix) && name > l.after
}

// makeDir makes the directory dir, of which nobody knows whether it exists and
// whether a power cut would take it away, and makes sure of both.
func (d *Dir) makeDir(dir string) error {
	if dir == d.objects || d.isSynced(dir) {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := d.makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.synced) >= maxSynced {
		clear(d.synced)
	}
	d.synced[dir] = true
	return nil
}

// isSynced is true for a directory that makeDir made sure of and that nobody
// has removed by hand since.
func (d *Dir) isSynced(dir string) bool {
	d.mu.Lock()
	known := d.synced[dir]
	d.mu.Unlock()
	if !known {
		return false
	}
	_, err := os.Stat(dir)
	return err == nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// absence turns the errors of a path that leads nowhere into [ErrNotFound].
func absence(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return ErrNotFound
	}
	return err
}

func (d *Dir) path(key string) string { return filepath.Join(d.objects, filepath.FromSlash(key)) }

func (d *Dir) lock(key string) *sync.RWMutex {
	return &d.locks[maphash.String(d.seed, key)%uint64(len(d.locks))]
}

// object describes a file. Its size is in the ETag for the case that the clock
// is set back between two runs of the program.
func object(key string, info fs.FileInfo) Object {
	etag := strconv.FormatInt(info.ModTime().UnixMicro(), 36) + "-" + strconv.FormatInt(info.Size(), 36)
	return Object{Key: key, Size: info.Size(), ETag: etag, Modified: info.ModTime()}
}
