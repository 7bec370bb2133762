package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"mmspipe/store"
)

type failedCommand struct {
	operatorFlags `embed:""`
	rangeFlags    `embed:""`
	Message       string `placeholder:"MM…" help:"Only this message."`
	Reason        string `placeholder:"WORD" help:"Only failures for this reason, such as status or timeout."`
}

// Help is the long form of the subcommand's help.
func (failedCommand) Help() string {
	return "Lists the media, forwarded webhooks and outgoing messages that were given up, those of the newest message first. In a terminal it prints a table, elsewhere a JSON object on each line. mmspipe replay tries them again. The exit status is 0 if there are any and 3 if there are none."
}

// Run lists failures.
func (cmd failedCommand) Run(ctx context.Context, std stdio) error {
	q, err := cmd.query()
	if err != nil {
		return err
	}
	if q.Message, err = flagValue("message", cmd.Message, store.ParseMessageSID); err != nil {
		return err
	}
	q.Reason = cmd.Reason
	c, err := cmd.client()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	asJSON := cmd.JSON || !isTerminal(std.out)
	if !asJSON {
		fmt.Fprintln(table, "GIVEN UP\tMESSAGE\tWHAT\tREASON\tSTATUS\tTRIES")
	}
	n := 0
	for f, err := range c.Failed(ctx, q) {
		if err != nil {
			return advise(err)
		}
		n++
		if asJSON {
			if err := json.NewEncoder(std.out).Encode(f); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", f.Date.Local().Format(time.DateTime), f.Message, f.Of(), f.Reason, dashIfZero(f.Status), f.Attempts)
	}
	if n == 0 {
		return fmt.Errorf("%w: nothing has failed", errNothing)
	}
	return table.Flush()
}

func dashIfZero(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
