package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/operate"
	"mmspipe/store"
)

type replayCommand struct {
	operatorFlags `embed:""`
	rangeFlags    `embed:""`
	Message       string `placeholder:"MM…" help:"Only this message."`
	Media         string `placeholder:"ME…" help:"Only the message of this medium, if the medium failed."`
	Reason        string `placeholder:"WORD" help:"Only messages with a failure for this reason."`
	All           bool   `help:"Take messages without failures too: verify what is stored, and repair what is damaged. Needs --message or --since."`
	DryRun        bool   `help:"Say what would be done, and do nothing."`
}

// Help is the long form of the subcommand's help.
func (replayCommand) Help() string {
	return "Queues messages again, to try what failed. Media that failed are downloaded again, and webhooks that your application did not take are forwarded again. An outgoing message that failed is sent again. Without flags it takes every message that has a failure. With --all it takes the others too, verifies what is stored, repairs what is damaged, and sends no message again; --all needs --message or --since. If it is interrupted, run it again: within an hour it queues no message twice. The exit status is 0 if it found a message and 3 if there was none."
}

// Run queues messages.
func (cmd replayCommand) Run(ctx context.Context, std stdio) error {
	q, err := cmd.query()
	if err != nil {
		return err
	}
	if cmd.All && cmd.Message == "" && cmd.Since == "" {
		return fmt.Errorf("%w: --all needs --message or --since", errUsage)
	}
	var mistakes [2]error
	q.Message, mistakes[0] = flagValue("message", cmd.Message, store.ParseMessageSID)
	q.Media, mistakes[1] = flagValue("media", cmd.Media, store.ParseMediaSID)
	if err := errors.Join(mistakes[:]...); err != nil {
		return err
	}
	q.Reason = cmd.Reason
	// Runs that ask for the same within an hour are one.
	run := time.Now().UTC().Truncate(time.Hour).Format("2006010215")
	messages := func(r operate.Replayed) int { return r.Messages }
	r, err := work(cmd.operatorFlags, std, messages, func(c *operator.Client, seen func(operate.Replayed)) (operate.Replayed, error) {
		return c.Replay(ctx, q, cmd.All, cmd.DryRun, run, seen)
	})
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = json.NewEncoder(std.out).Encode(r)
	} else {
		_, err = fmt.Fprintln(std.out, describeReplay(r))
	}
	if err == nil && r.Messages == 0 {
		return fmt.Errorf("%w: there is no message to replay", errNothing)
	}
	return err
}

func describeReplay(r operate.Replayed) string {
	if r.DryRun {
		return count(r.Messages, "message") + " would be queued; nothing was done"
	}
	return fmt.Sprintf("%s queued, %d already in the queue", count(r.Queued, "message"), r.Messages-r.Queued)
}
