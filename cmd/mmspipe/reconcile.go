package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/operate"
)

type reconcileCommand struct {
	operatorFlags  `embed:""`
	rangeFlags     `embed:""`
	Fix            bool `help:"Queue what is missing."`
	DeleteUpstream bool `help:"Delete the provider's copies of media that are stored here and older than a day. With MMSPIPE_DELETE_UPSTREAM the service does that by itself."`
	DryRun         bool `help:"Say what would be done, and do nothing. Without --fix nothing is done anyway."`
}

// Help is the long form of the subcommand's help.
func (reconcileCommand) Help() string {
	return `Asks the provider for all messages with media since a time, compares them with what is stored, and lists what is missing here. That finds webhooks that never came, too. What was deleted here is not missing. If it is interrupted, run it again: it queues nothing twice. It prints how far it came; with --until it goes on from there. The exit status is 0 if something is missing or was done, and 3 if not.`
}

// Run compares with the provider, or deletes the provider's copies.
func (cmd reconcileCommand) Run(ctx context.Context, std stdio) error {
	q, err := cmd.query()
	if err != nil {
		return err
	}
	if cmd.DeleteUpstream {
		if cmd.Fix || cmd.rangeFlags != (rangeFlags{}) {
			return fmt.Errorf("%w: --delete-upstream is for all accounts and times, and takes no other flag than --dry-run", errUsage)
		}
		return cmd.deleteUpstream(ctx, std)
	}
	if cmd.Since == "" {
		return fmt.Errorf("%w: --since is missing", errUsage)
	}
	position := ""
	messages := func(r operate.Reconciled) int { return r.Messages }
	r, err := work(cmd.operatorFlags, std, messages, func(c *operator.Client, seen func(operate.Reconciled)) (operate.Reconciled, error) {
		o := operate.ReconcileOptions{Account: q.Account, Since: q.Since, Until: q.Until, Fix: cmd.Fix && !cmd.DryRun}
		return c.Reconcile(ctx, o, func(r operate.Reconciled) {
			position = r.Position.Format(time.RFC3339)
			seen(r)
		})
	})
	if err != nil && position != "" {
		return fmt.Errorf("it came down to %s (continue with --until=%s): %w", position, position, err)
	}
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		err = printReconciled(std.out, r)
	}
	if err == nil && r.Missing == 0 {
		return fmt.Errorf("%w: nothing is missing", errNothing)
	}
	return err
}

func printReconciled(w io.Writer, r operate.Reconciled) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.List) > 0 {
		fmt.Fprintln(table, "DATE\tMESSAGE\tMEDIA\tWHY")
	}
	for _, m := range r.List {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", m.Date.Local().Format(time.DateTime), m.Message, m.Media, m.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "provider: %s with media\nincomplete here: %s (%s); gone at both: %s\n%s queued, %d already in the queue\n",
		count(r.Messages, "message"), count(r.Missing, "message"), count(r.MissingMedia, "medium", "media"),
		count(r.GoneMedia, "medium", "media"), count(r.Queued, "message"), r.AlreadyQueued)
	return err
}

func (cmd reconcileCommand) deleteUpstream(ctx context.Context, std stdio) error {
	messages := func(r operate.DeletedUpstream) int { return r.Messages }
	r, err := work(cmd.operatorFlags, std, messages, func(c *operator.Client, seen func(operate.DeletedUpstream)) (operate.DeletedUpstream, error) {
		return c.DeleteUpstream(ctx, cmd.DryRun, seen)
	})
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		did := "deleted at the provider"
		if r.DryRun {
			did = "would be deleted at the provider; nothing was deleted"
		}
		_, err = fmt.Fprintf(std.out, "%s of %s %s\n%d of them already gone, %d kept because they are damaged here, %d not ready\n",
			count(r.Media, "medium", "media"), count(r.Messages, "message"), did, r.Gone, r.Damaged, r.Left)
	}
	if err == nil && r.Media+r.Damaged == 0 {
		return fmt.Errorf("%w: there is nothing to delete", errNothing)
	}
	if err == nil && r.Damaged > 0 {
		return errors.New("damaged media are kept at the provider: mmspipe failed lists them, mmspipe replay repairs them")
	}
	return err
}
