package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mmspipe/cmd/mmspipe/doctor"
	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/settings"

	"github.com/dustin/go-humanize/english"
)

type doctorCommand struct {
	settings.Settings `embed:""`
	reachFlags        `embed:""`
	JSON              bool   `help:"Print JSON."`
	File              string `arg:"" optional:"" help:"A webhook that you saved: the raw HTTP request, with its headers and its body."`
}

// Help is the long form of the subcommand's help.
func (doctorCommand) Help() string {
	return "Run it with the settings of mmspipe serve. Without a file it checks your set-up: each line says what is right, or what is wrong and what to do. With a saved webhook it finds the URL and the token that the webhook was signed with, and prints the setting to change. The exit status is 1 if anything is wrong."
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
		if err == nil {
			fmt.Fprintln(std.out, text)
		}
		return err
	}
	wrong := 0
	for f := range doctor.Check(ctx, c, func() (*operator.Client, error) { return cmd.client(cmd.Data) }) {
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
