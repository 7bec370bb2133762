package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mmspipe/cmd/mmspipe/doctor"
	"mmspipe/cmd/mmspipe/settings"

	"github.com/dustin/go-humanize/english"
)

type doctorCommand struct {
	settings.Settings `embed:""`
	JSON              bool   `help:"Print JSON."`
	File              string `arg:"" optional:"" help:"A captured webhook: the raw HTTP request, with its headers and its body."`
}

// Help is the long form of the subcommand's help.
func (doctorCommand) Help() string {
	return "Run it with the settings of mmspipe serve. With a captured webhook it tells which form of the URL and which token its signature was made with, so that nobody has to turn the check off. Without one it checks the set-up: each line says what is wrong and what to do. The exit status is 1 if anything is wrong."
}

// Run examines a captured webhook or the set-up.
func (cmd doctorCommand) Run(ctx context.Context, std stdio) error {
	c, _, err := cmd.Parse()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if cmd.File != "" {
		hook, err := doctor.ReadWebhook(cmd.File)
		if err != nil {
			return err
		}
		text, err := doctor.Diagnose(hook, c)
		if err != nil {
			return err
		}
		fmt.Fprintln(std.out, text)
		return nil
	}
	wrong := 0
	for f := range doctor.Check(ctx, c) {
		if !f.OK {
			wrong++
		}
		if err := printFinding(std.out, f, cmd.JSON); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return errors.New(english.Plural(wrong, "check", "") + " failed")
	}
	return nil
}

func printFinding(w io.Writer, f doctor.Finding, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(f)
	}
	mark := "ok  "
	if !f.OK {
		mark = "FAIL"
	}
	_, err := fmt.Fprintf(w, "%s  %-12s %s\n", mark, f.Check, f.Detail)
	return err
}
