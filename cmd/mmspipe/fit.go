package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"mmspipe/resize"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
)

type fitCommand struct {
	Profile   string   `placeholder:"NAME" help:"Carrier profile to fit into: see mmspipe profiles. us unless set."`
	MaxBytes  int      `placeholder:"N" help:"Fit into that many bytes, instead of a profile."`
	MaxPixels string   `placeholder:"WxH" help:"Fit into that many pixels, instead of a profile."`
	Output    string   `short:"o" type:"path" placeholder:"DIR" help:"Write into this directory, made if it is not there, under the names of the files. Beside each file as NAME.fit.EXT unless set."`
	Force     bool     `short:"f" help:"Overwrite files that are there."`
	JSON      bool     `name:"json" help:"Print a line of JSON for each file instead of a table."`
	Files     []string `arg:"" name:"file" help:"Pictures to fit; - alone reads standard input and writes the picture to standard output."`
}

// Help is the long form of the subcommand's help.
func (fitCommand) Help() string {
	return `Makes of each picture the best that fits into a carrier's limits: never over them, never enlarged, the right way up, without metadata. JPEG, PNG, GIF, WebP and BMP are read; a result is JPEG, PNG, or a GIF that fitted already, and is named so. The originals are not touched.`
}

// Run fits every file, however many fail, and reports on all. It is an error if
// any was not fitted.
func (cmd fitCommand) Run(ctx context.Context, std stdio) error {
	target, err := cmd.target()
	if err != nil {
		return err
	}
	report := std.out
	if slices.Contains(cmd.Files, "-") {
		if len(cmd.Files) > 1 || cmd.Output != "" {
			return fmt.Errorf("%w: - reads standard input and writes standard output, without other files and -o", errUsage)
		}
		if isTerminal(std.out) {
			return fmt.Errorf("%w: the picture would be written to the terminal: redirect standard output", errUsage)
		}
		report = std.err
	}
	if cmd.Output != "" {
		if err := os.MkdirAll(cmd.Output, 0o777); err != nil {
			return err
		}
	}
	rows := cmd.fitAll(ctx, target, std)
	if cmd.JSON {
		err = writeFitJSON(report, rows)
	} else {
		err = writeFitTable(report, rows)
	}
	if err != nil {
		return err
	}
	failed := 0
	for _, row := range rows {
		if row.err != nil {
			failed++
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d files were not fitted", failed, len(rows))
	}
	return nil
}

// target returns what the flags ask for.
func (cmd fitCommand) target() (resize.Target, error) {
	if cmd.MaxBytes == 0 && cmd.MaxPixels == "" {
		name := cmd.Profile
		if name == "" {
			name = resize.DefaultProfile
		}
		p, err := resize.ProfileNamed(name)
		if err != nil {
			return resize.Target{}, fmt.Errorf("%w: --profile: %w", errUsage, err)
		}
		return p.Target(1), nil
	}
	t := resize.Target{Name: "fit", MaxBytes: cmd.MaxBytes, Types: []string{"image/jpeg", "image/png", "image/gif"}}
	switch {
	case cmd.Profile != "":
		return t, fmt.Errorf("%w: --profile has limits of its own: leave it or --max-bytes and --max-pixels away", errUsage)
	case cmd.MaxBytes < 0:
		return t, fmt.Errorf("%w: --max-bytes: %d is not a number of bytes", errUsage, cmd.MaxBytes)
	case cmd.MaxBytes == 0:
		t.MaxBytes = math.MaxInt
	}
	if cmd.MaxPixels != "" {
		var rest string
		n, _ := fmt.Sscanf(cmd.MaxPixels+" ", "%dx%d%s", &t.MaxWidth, &t.MaxHeight, &rest)
		if n != 2 || t.MaxWidth < 1 || t.MaxHeight < 1 {
			return t, fmt.Errorf("%w: --max-pixels: %q is not width x height, as 1600x1200", errUsage, cmd.MaxPixels)
		}
	}
	return t, nil
}

// fitRow is what became of one file.
type fitRow struct {
	file, output string
	size, fitted int // bytes of the file and of the result
	source       resize.Info
	result       resize.Result
	err          error
}

// fitAll fits the files side by side and returns a row for each, in their order.
func (cmd fitCommand) fitAll(ctx context.Context, target resize.Target, std stdio) []fitRow {
	bar := progressbar.NewOptions(len(cmd.Files), progressbar.OptionSetWriter(std.err),
		progressbar.OptionSetVisibility(len(cmd.Files) > 1 && isTerminal(std.err)),
		progressbar.OptionSetDescription("fitting"), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	fitter := resize.New(resize.Options{})
	out := fitOutput{dir: cmd.Output, force: cmd.Force, taken: map[string]bool{}}
	rows := make([]fitRow, len(cmd.Files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range cmd.Files {
		group.Go(func() error {
			rows[i] = fitFile(ctx, fitter, target, file, &out, std)
			_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
			return nil
		})
	}
	_ = group.Wait() // errors are in the rows
	_ = bar.Finish()
	return rows
}

// fitFile fits one file and writes the result.
func fitFile(ctx context.Context, fitter *resize.Fitter, target resize.Target, file string, out *fitOutput, std stdio) (row fitRow) {
	row.file = file
	var data []byte
	if file == "-" {
		data, row.err = io.ReadAll(std.in)
	} else {
		data, row.err = os.ReadFile(file)
	}
	if row.err != nil {
		return row
	}
	row.size = len(data)
	if row.source, row.err = resize.Inspect(data); row.err != nil {
		return row
	}
	results, err := fitter.Fit(ctx, data, target)
	if err != nil {
		row.err = err
		return row
	}
	row.result, row.fitted = results[0], len(results[0].Data)
	if file == "-" {
		_, row.err = std.out.Write(row.result.Data)
	} else {
		row.output, row.err = out.write(file, row.result.ContentType, row.result.Data)
	}
	row.result.Data = nil // not to be kept until all files are done
	return row
}

// fitOutput is where results are written.
type fitOutput struct {
	dir   string // beside each file if empty
	force bool

	mu    sync.Mutex
	taken map[string]bool // names given to a result of this run
}

// write writes a fitted picture and returns its name. A file that is there is
// an error unless it may be overwritten, and then replaced whole or not at all.
func (o *fitOutput) write(file, contentType string, data []byte) (string, error) {
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
		return "", fmt.Errorf("%s is the result of another file already", name)
	}
	return name, o.writeFile(name, data)
}

// writeFile writes a new file, or a temporary one that replaces what is there.
// What was written in part is removed.
func (o *fitOutput) writeFile(name string, data []byte) (err error) {
	var f *os.File
	if o.force {
		f, err = os.CreateTemp(filepath.Dir(name), ".mmspipe-*")
	} else {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: --force overwrites it", name)
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
