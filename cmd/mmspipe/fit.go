package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"mmspipe/cmd/mmspipe/fit"
	"mmspipe/cmd/mmspipe/settings"
	"mmspipe/resize"

	"github.com/schollz/progressbar/v3"
)

type fitCommand struct {
	Profile   string   `placeholder:"NAME" help:"Carrier profile to fit into; mmspipe profiles lists them. us unless set."`
	MaxBytes  string   `placeholder:"BYTES" help:"Fit into this many bytes, such as 600000 or 600KB, instead of a profile."`
	MaxPixels string   `placeholder:"WxH" help:"Fit into this many pixels, instead of a profile."`
	Output    string   `short:"o" type:"path" placeholder:"DIR" help:"Write the results into this directory, under the names of the files. It is made if it is not there. Unless set, each result is beside its file, as NAME.fit.EXT."`
	Force     bool     `short:"f" help:"Overwrite files that are there."`
	Sheet     string   `type:"path" placeholder:"FILE" help:"Write an HTML page that shows all pictures before and after. The pictures are in it."`
	JSON      bool     `name:"json" help:"Print a line of JSON for each file instead of a table."`
	Files     []string `arg:"" name:"file" help:"Pictures to fit. - alone reads a picture from standard input and writes it to standard output."`
}

// Help is the long form of the subcommand's help.
func (fitCommand) Help() string {
	return `Makes the best picture of each file that fits into a carrier's limits: never over the limits, never enlarged, the right way up, without metadata. It reads JPEG, PNG, GIF, WebP, BMP, HEIC and AVIF. A result is JPEG, PNG or GIF, and has that extension; animated GIF and WebP keep moving. The originals are not touched.`
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
		if cmd.Sheet != "" {
			return fmt.Errorf("%w: --sheet shows files, not standard input", errUsage)
		}
	}
	if cmd.Output != "" {
		if err := os.MkdirAll(cmd.Output, 0o777); err != nil {
			return err
		}
	}
	bar := progressbar.NewOptions(len(cmd.Files), progressbar.OptionSetWriter(std.err),
		progressbar.OptionSetVisibility(len(cmd.Files) > 1 && isTerminal(std.err)),
		progressbar.OptionSetDescription("fitting"), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	rows := fit.Files(ctx, target, cmd.Files, fit.Options{
		Dir: cmd.Output, Force: cmd.Force, In: std.in, Out: std.out,
		Done: func() { _ = bar.Add(1) }, // a bar that cannot be drawn is no reason to stop
	})
	_ = bar.Finish()
	if cmd.JSON {
		err = fit.WriteJSON(report, rows)
	} else {
		err = fit.WriteTable(report, rows)
	}
	if err != nil {
		return err
	}
	if cmd.Sheet != "" {
		if err := fit.WriteSheet(cmd.Sheet, target.Name, rows); err != nil {
			return err
		}
	}
	failed := 0
	for _, row := range rows {
		if row.Err != nil {
			failed++
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s not fitted", failed, count(len(rows), "file"))
	}
	return nil
}

// target returns what the flags ask for.
func (cmd fitCommand) target() (resize.Target, error) {
	if cmd.MaxBytes == "" && cmd.MaxPixels == "" {
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
	t := resize.Target{Name: "fit", MaxBytes: math.MaxInt, Types: []string{"image/jpeg", "image/png", "image/gif"}}
	if cmd.Profile != "" {
		return t, fmt.Errorf("%w: --profile has limits of its own: leave out either it or --max-bytes and --max-pixels", errUsage)
	}
	if cmd.MaxBytes != "" {
		n, err := settings.ParseBytes(cmd.MaxBytes)
		if err != nil {
			return t, fmt.Errorf("%w: --max-bytes: %w", errUsage, err)
		}
		t.MaxBytes = int(n)
	}
	if cmd.MaxPixels != "" {
		var rest string
		n, _ := fmt.Sscanf(cmd.MaxPixels+" ", "%dx%d%s", &t.MaxWidth, &t.MaxHeight, &rest)
		if n != 2 || t.MaxWidth < 1 || t.MaxHeight < 1 {
			return t, fmt.Errorf("%w: --max-pixels: %q is not width x height, such as 1600x1200", errUsage, cmd.MaxPixels)
		}
	}
	return t, nil
}
