// Package fit fits picture files into a carrier's limits, without any server.
package fit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"mmspipe/resize"

	"golang.org/x/sync/errgroup"
)

// Row is what became of one file.
type Row struct {
	File, Output string
	Size, Fitted int           // bytes of the file and of the result
	Source       resize.Info   // zero if the file could not be read
	Result       resize.Result // without its data
	Err          error         // nil if the file was fitted
}

// Options say where results go.
type Options struct {
	Dir   string // beside each file if empty
	Force bool   // overwrite files that exist

	In  io.Reader // is read for the file "-"
	Out io.Writer // takes the result of that

	Done func() // called after each file, from many goroutines
}

// Files fits files side by side and returns a row for each, in their order. A file
// that cannot be fitted does not keep the others from it.
func Files(ctx context.Context, target resize.Target, files []string, o Options) []Row {
	fitter := resize.New(resize.Options{})
	out := output{dir: o.Dir, force: o.Force, taken: map[string]bool{}}
	rows := make([]Row, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		group.Go(func() error {
			rows[i] = one(ctx, fitter, target, file, &out, o)
			o.Done()
			return nil
		})
	}
	_ = group.Wait() // errors are in the rows
	return rows
}

// one fits one file and writes the result.
func one(ctx context.Context, fitter *resize.Fitter, target resize.Target, file string, out *output, o Options) (row Row) {
	row.File = file
	var data []byte
	if file == "-" {
		data, row.Err = io.ReadAll(o.In)
	} else {
		data, row.Err = os.ReadFile(file)
	}
	if row.Err != nil {
		return row
	}
	row.Size = len(data)
	if row.Source, row.Err = resize.Inspect(data); row.Err != nil {
		return row
	}
	results, err := fitter.Fit(ctx, data, target)
	if err != nil {
		row.Err = err
		return row
	}
	row.Result, row.Fitted = results[0], len(results[0].Data)
	if file == "-" {
		_, row.Err = o.Out.Write(row.Result.Data)
	} else {
		row.Output, row.Err = out.write(file, row.Result.ContentType, row.Result.Data)
	}
	row.Result.Data = nil // it need not be kept until all files are done
	return row
}

// output is where results are written.
type output struct {
	dir   string // beside each file if empty
	force bool

	mu    sync.Mutex
	taken map[string]bool // names given to a result of this run
}

// write writes a fitted picture and returns its name. A file that exists is an error,
// unless it may be overwritten; then it is replaced whole or not at all.
func (o *output) write(file, contentType string, data []byte) (string, error) {
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	name := filepath.Join(o.dir, base)
	if o.dir == "" {
		name = filepath.Join(filepath.Dir(file), base+".fit")
	}
	name += map[string]string{"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}[contentType]

	o.mu.Lock()
	taken := o.taken[name]
	o.taken[name] = true
	o.mu.Unlock()
	if taken {
		return "", fmt.Errorf("%s is already the result of another file", name)
	}
	return name, o.writeFile(name, data)
}

// writeFile writes a new file, or a temporary one that replaces the old one.
// A part that was written before an error is removed.
func (o *output) writeFile(name string, data []byte) (err error) {
	var f *os.File
	if o.force {
		f, err = os.CreateTemp(filepath.Dir(name), ".mmspipe-*")
	} else {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: --force overwrites it", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if o.force {
		err = errors.Join(err, f.Chmod(0o644))
	}
	if err = errors.Join(err, f.Close()); err == nil && o.force {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
