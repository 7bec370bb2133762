package main

import (
	"context"
	"fmt"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/operate"
)

type reindexCommand struct {
	operatorFlags `embed:""`
	DryRun        bool `help:"Say what would be changed, and change nothing."`
}

// Help is the long form of the subcommand's help.
func (reindexCommand) Help() string {
	return "Makes the index by time, number and failure agree with the records of all messages. You need it only after you restored or removed objects by hand. It may run while the service works. If it is interrupted, run it again."
}

// Run rebuilds the index.
func (cmd reindexCommand) Run(ctx context.Context, std stdio) error {
	messages := func(r operate.Reindexed) int { return r.Messages }
	r, err := work(cmd.operatorFlags, std, messages, func(c *operator.Client, seen func(operate.Reindexed)) (operate.Reindexed, error) {
		return c.Reindex(ctx, cmd.DryRun, seen)
	})
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(std.out, r)
	}
	text := "%s: %s added, %d removed\n"
	if r.DryRun {
		text = "%s: %s to be added, %d to be removed; nothing was changed\n"
	}
	_, err = fmt.Fprintf(std.out, text, count(r.Messages, "message"), count(r.Added, "entry"), r.Removed)
	return err
}
