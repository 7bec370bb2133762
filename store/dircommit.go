package store

import (
	"context"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// groupMax bounds the bytes that are committed at once.
const groupMax = 1 << 20

// write is a put or a delete on its way to the disk.
type write struct {
	ctx  context.Context
	key  string
	cond Condition

	value value  // what to store; nil deletes
	size  int64  // of the object
	file  string // the file that it has, if it is large

	replaced string // the file that the object before it had
	err      error  // valid when the group is done
	group    chan *group
}

// group is some writes that are committed together.
type group struct {
	writes []*write
	keys   map[string]bool
	done   chan struct{} // closed when all are durable or refused
}

// within tells whether one of the group's keys begins with prefix and is greater
// than after.
func (g *group) within(prefix, after string) bool {
	for key := range g.keys {
		if key > after && strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// submit gives w to the committer and returns when it is durable or refused. An
// error of the context, or of a disk that is full, leaves open which; the
// committer clears up behind w in any case.
func (d *Dir) submit(w *write) error {
	w.group = make(chan *group, 1)
	select {
	case d.writes <- w:
	case <-w.ctx.Done():
		d.drop(w)
		return w.ctx.Err()
	case <-d.room.lack():
		d.drop(w)
		return d.room.err()
	}
	var g *group
	select {
	case g = <-w.group:
	case <-w.ctx.Done():
		return w.ctx.Err()
	case <-d.room.lack():
		return d.room.err()
	}
	if err := d.await(w.ctx, g); err != nil {
		return err
	}
	return w.err
}

// await returns when g is done.
func (d *Dir) await(ctx context.Context, g *group) error {
	select {
	case <-g.done:
		return nil
	default:
	}
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.room.lack():
		return d.room.err()
	}
}

// settled returns when the group that is being committed is durable, if it
// concerns the caller, who has read before.
func (d *Dir) settled(ctx context.Context, concerns func(*group) bool) error {
	if g := d.committing.Load(); g != nil && concerns(g) {
		return d.await(ctx, g)
	}
	return nil
}

// commitAll commits what is submitted until the bucket is closed.
func (d *Dir) commitAll() {
	defer close(d.stopped)
	for w := range d.writes {
		d.commit(d.gather(w))
	}
}

// gather makes a group of w and all that waits.
func (d *Dir) gather(w *write) *group {
	g := &group{keys: make(map[string]bool), done: make(chan struct{})}
	for size := 0; ; {
		g.writes = append(g.writes, w)
		g.keys[w.key] = true
		w.group <- g
		if size += len(w.value); size > groupMax {
			return g
		}
		var ok bool
		select {
		case w, ok = <-d.writes:
		default:
		}
		if !ok {
			return g
		}
	}
}

// commit makes g durable, or says why not, and clears up behind it.
func (d *Dir) commit(g *group) {
	defer close(g.done)
	batch := d.log.NewIndexedBatch()     // so that each write meets those before it
	defer func() { _ = batch.Close() }() // gives its memory back
	free, err := d.room.free()
	for _, w := range g.writes {
		if w.err = err; err == nil {
			w.err = d.stage(batch, w, free)
		}
	}
	if err := d.flush(g, batch); err != nil {
		for _, w := range g.writes {
			if w.err == nil {
				w.err = err
			}
		}
	}
	for _, w := range g.writes {
		switch {
		case w.err != nil:
			d.drop(w)
		case w.file != "":
			_ = d.settleFile(w.file) // done at the next open, else
		}
		if w.err == nil && w.replaced != "" {
			_ = d.removeFile(w.replaced) // likewise
		}
	}
}

// drop removes the file of a write that was not committed.
func (d *Dir) drop(w *write) {
	if w.file != "" {
		_ = d.removeFile(w.file) // done at the next open, else
	}
}

// flush makes batch durable. Nobody reads what it writes before that is done.
func (d *Dir) flush(g *group, batch *pebble.Batch) error {
	if batch.Empty() {
		return nil
	}
	for _, w := range g.writes {
		if w.err == nil && w.file != "" {
			if err := syncDir(d.incoming()); err != nil {
				return err
			}
			break
		}
	}
	if err := d.seal(batch); err != nil {
		return err
	}
	d.committing.Store(g)
	defer d.committing.Store(nil)
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	d.note()
	return nil
}

// stage adds w to batch if its condition holds there.
func (d *Dir) stage(batch *pebble.Batch, w *write, free uint64) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.value == nil && free < roomToDelete || w.value != nil && free < roomToPut {
		return d.room.err()
	}
	old, err := read(batch, w.key)
	absent := errors.Is(err, ErrNotFound)
	switch {
	case absent && w.value == nil:
		return nil
	case absent && w.cond.ifMatch != "", !absent && w.cond.ifAbsent:
		return ErrPrecondition
	case absent:
		err = checkFolders(batch, w.key)
	case err == nil && w.cond.ifMatch != "" && w.cond.ifMatch != old.object("").ETag:
		return ErrPrecondition
	}
	if err != nil {
		return err
	}
	if old != nil && old.kind() == inFile {
		w.replaced = string(old.payload())
		err = errors.Join(batch.Delete(logKey(fileSpace, w.replaced), nil), batch.Set(logKey(deadSpace, w.replaced), nil, nil))
	}
	if w.value == nil {
		return errors.Join(err, batch.Delete(logKey(objectSpace, w.key), nil))
	}
	w.value.date(d.tick(), w.size)
	if w.file != "" {
		err = errors.Join(err, batch.Set(logKey(fileSpace, w.file), nil, nil))
	}
	return errors.Join(err, batch.Set(logKey(objectSpace, w.key), w.value, nil))
}

// checkFolders holds the rule that no key is a folder of another for a key that
// is to be new, and notes its folders. Notes stay when a folder becomes empty. They
// are there because to look for keys below another reads a block of each level.
func checkFolders(batch *pebble.Batch, key string) error {
	if is, err := has(batch, folderSpace, key); err != nil || is {
		return errors.Join(err, errors.New("key is a folder of other keys"))
	}
	for i := strings.LastIndexByte(key, '/'); i > 0; i = strings.LastIndexByte(key[:i], '/') {
		folder := key[:i]
		if is, err := has(batch, folderSpace, folder); err != nil || is {
			return err // and so are those that it is in
		}
		if is, err := has(batch, objectSpace, folder); err != nil || is {
			return errors.Join(err, errors.New("another key, "+folder+", would be a folder of it"))
		}
		if err := batch.Set(logKey(folderSpace, folder), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// has tells whether there is an entry.
func has(r pebble.Reader, space byte, name string) (bool, error) {
	_, closer, err := r.Get(logKey(space, name))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}
