package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
)

// importMax is how many bytes of small objects are imported in one commit.
const importMax = 4 << 20

// importOlder imports the files of the layout in which each object was a file of
// its own. They are removed after all have been imported: until then it may be
// stopped and begin again at any point.
func (d *Dir) importOlder() error {
	if err := d.takeOver(); err != nil {
		return err
	}
	if _, err := os.Stat(d.older()); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	_, closer, err := d.log.Get([]byte(importedMark))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		err = d.importAll()
	case err == nil:
		err = closer.Close()
	}
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return os.RemoveAll(d.older())
}

// takeOver renames the folder of the older layout and puts the marker in its
// place.
func (d *Dir) takeOver() error {
	marker, err := os.Lstat(d.markerFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil && marker.IsDir():
		err = d.takeFolder()
	case err == nil:
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(d.path, "temp")); err != nil { // the older layout's
		return err
	}
	if err := syncDir(d.path); err != nil { // the log is there before the file says so
		return err
	}
	return d.writeMarker()
}

// takeFolder renames the folder of the older layout. If one was renamed before, an
// older version has been started since, and must have stored nothing.
func (d *Dir) takeFolder() error {
	_, err := os.Lstat(d.older())
	if err == nil {
		return os.Remove(d.markerFile())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.log.Delete([]byte(importedMark), pebble.Sync); err != nil {
		return err
	}
	return os.Rename(d.markerFile(), d.older())
}

// imported is one commit of an import.
type imported struct {
	batch *pebble.Batch
	files []string // of large objects, still in incoming
}

func (d *Dir) importAll() error {
	i := &imported{batch: d.log.NewIndexedBatch()}
	err := filepath.WalkDir(d.older(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		key, err := filepath.Rel(d.older(), path)
		if err == nil {
			err = d.importFile(i, path, filepath.ToSlash(key))
		}
		if err != nil || i.batch.Len() < importMax && i.batch.Count() < 10_000 {
			return err
		}
		defer func() { i = &imported{batch: d.log.NewIndexedBatch()} }()
		return d.commitImport(i)
	})
	if err == nil {
		err = i.batch.Set([]byte(importedMark), nil, nil)
	}
	if err != nil {
		return errors.Join(err, i.batch.Close())
	}
	return d.commitImport(i)
}

// importFile adds the object key, which is the file path, unless an import that
// was stopped has done so. It keeps its time and so its ETag.
func (d *Dir) importFile(i *imported, path, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	v := newValue(inLog, nil)
	v.date(info.ModTime(), info.Size())
	if before, err := read(d.log, key); !errors.Is(err, ErrNotFound) {
		if err == nil && before.object("").ETag != v.object("").ETag {
			err = fmt.Errorf("%s was stored in another version meanwhile; move one of them away", path)
		}
		return err
	}
	if info.Size() > inlineMax {
		name := newFile()
		if err := os.Link(path, filepath.Join(d.incoming(), name)); err != nil {
			return err
		}
		i.files = append(i.files, name)
		v = newValue(inFile, []byte(name))
		err = i.batch.Set(logKey(fileSpace, name), nil, nil)
	} else {
		var data []byte
		data, err = os.ReadFile(path)
		v = newValue(inLog, data)
	}
	if err != nil {
		return err
	}
	v.date(info.ModTime(), info.Size())
	if err := checkFolders(i.batch, key); err != nil {
		return err
	}
	if info.ModTime().After(d.clock) {
		d.clock = info.ModTime()
	}
	return i.batch.Set(logKey(objectSpace, key), v, nil)
}

func (d *Dir) commitImport(i *imported) (err error) {
	defer func() { err = errors.Join(err, i.batch.Close()) }()
	if len(i.files) > 0 {
		if err := syncDir(d.incoming()); err != nil {
			return err
		}
	}
	if err := errors.Join(d.seal(i.batch), i.batch.Commit(pebble.Sync)); err != nil {
		return err
	}
	d.commits++
	for _, name := range i.files {
		if err := d.settleFile(name); err != nil {
			return err
		}
	}
	return nil
}
