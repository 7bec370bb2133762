package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"mmspipe/ingest/operate"
)

// reconcile is POST /operator/reconcile.
func reconcile(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	q, err := parseQuery(r.Form)
	if err != nil {
		return err
	}
	fix, _ := strconv.ParseBool(r.Form.Get("fix"))
	return work(w, func(seen func(operate.Reconciled)) (operate.Reconciled, error) {
		return o.Reconcile(r.Context(), operate.ReconcileOptions{Account: q.Account, Since: q.Since, Until: q.Until, Fix: fix}, func(p operate.Progress) {
			seen(operate.Reconciled{Progress: p})
		})
	})
}

// deleteCopies is POST /operator/delete-upstream.
func deleteCopies(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	dryRun, _ := strconv.ParseBool(r.Form.Get("dryRun"))
	return work(w, func(seen func(operate.DeletedUpstream)) (operate.DeletedUpstream, error) {
		return o.DeleteUpstream(r.Context(), time.Now().Add(-upstreamGrace), dryRun, func(messages int) {
			seen(operate.DeletedUpstream{Messages: messages, DryRun: dryRun})
		})
	})
}

// reindex is POST /operator/reindex.
func reindex(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	dryRun, _ := strconv.ParseBool(r.Form.Get("dryRun"))
	return work(w, func(seen func(operate.Reindexed)) (operate.Reindexed, error) {
		return o.Reindex(r.Context(), dryRun, seen)
	})
}

type reconcileCommand struct {
	operatorFlags  `embed:""`
	rangeFlags     `embed:""`
	Fix            bool `help:"Queue what is missing, to be fetched."`
	DeleteUpstream bool `help:"Delete the provider's copies of what is stored here and older than a day, as MMSPIPE_DELETE_UPSTREAM does by itself."`
	DryRun         bool `help:"Say what would be done, and do nothing. Without --fix nothing is done anyway."`
}

// Help is the long form of the subcommand's help.
func (reconcileCommand) Help() string {
	return `Asks the provider for all messages with media since a time, compares them with what is stored, and lists what is missing here: so webhooks that never came are found too. What was deleted here is not missing. Interrupted, the same command goes on without queueing anything twice; --until continues from the position that it told last. The exit status is 0 if something is missing, or was done, and 3 if there is nothing.`
}

// Run compares with the provider, or deletes its copies.
func (cmd reconcileCommand) Run(ctx context.Context, std stdio) error {
	values, err := cmd.values()
	if err != nil {
		return err
	}
	if cmd.DeleteUpstream {
		return cmd.deleteUpstream(ctx, std)
	}
	if cmd.Since == "" {
		return fmt.Errorf("%w: --since is wanted", errUsage)
	}
	values.Set("fix", fmt.Sprint(cmd.Fix && !cmd.DryRun))
	position := ""
	r, err := post(ctx, cmd.operatorFlags, std, "reconcile", values, "messages", func(r operate.Reconciled) int {
		position = r.Position.Format(time.RFC3339)
		return r.Messages
	})
	if err != nil && position != "" {
		return fmt.Errorf("it came down to %s (--until goes on from there): %w", position, err)
	}
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		err = cmd.print(std, r)
	}
	if err == nil && r.Missing == 0 {
		return fmt.Errorf("%w: nothing is missing", errNothing)
	}
	return err
}

func (cmd reconcileCommand) print(std stdio, r operate.Reconciled) error {
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	if len(r.List) > 0 {
		fmt.Fprintln(table, "DATE\tMESSAGE\tMEDIA\tWHY")
	}
	for _, m := range r.List {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", m.Date.Local().Format(time.DateTime), m.Message, m.Media, m.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.out, "%d messages with media at the provider, %d lack something here (%d media), %d media are gone at both; %d queued, %d were queued before\n",
		r.Messages, r.Missing, r.MissingMedia, r.GoneMedia, r.Queued, r.AlreadyQueued)
	return err
}

func (cmd reconcileCommand) deleteUpstream(ctx context.Context, std stdio) error {
	r, err := post(ctx, cmd.operatorFlags, std, "delete-upstream", url.Values{"dryRun": {fmt.Sprint(cmd.DryRun)}}, "messages", func(r operate.DeletedUpstream) int { return r.Messages })
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		did := "deleted at the provider"
		if r.DryRun {
			did = "would be deleted at the provider; nothing was"
		}
		_, err = fmt.Fprintf(std.out, "%d media of %d messages %s, %d of them were gone; %d kept because they are damaged here, %d not ready\n",
			r.Media, r.Messages, did, r.Gone, r.Damaged, r.Left)
	}
	if err == nil && r.Media+r.Damaged == 0 {
		return fmt.Errorf("%w: nothing is to be deleted", errNothing)
	}
	if err == nil && r.Damaged > 0 {
		return errors.New("damaged media are kept at the provider: mmspipe failed lists them, mmspipe replay mends them")
	}
	return err
}

type reindexCommand struct {
	operatorFlags `embed:""`
	DryRun        bool `help:"Say what would be changed, and change nothing."`
}

// Help is the long form of the subcommand's help.
func (reindexCommand) Help() string {
	return "Makes the index by time, number and failure agree with the records of all messages. It is wanted only after objects were restored or removed by hand. It may run beside everything else, be interrupted, and begin again."
}

// Run rebuilds the index.
func (cmd reindexCommand) Run(ctx context.Context, std stdio) error {
	r, err := post(ctx, cmd.operatorFlags, std, "reindex", url.Values{"dryRun": {fmt.Sprint(cmd.DryRun)}}, "messages", func(r operate.Reindexed) int { return r.Messages })
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(std.out, r)
	}
	text := "%d messages: %d entries added, %d removed\n"
	if r.DryRun {
		text = "%d messages: %d entries to be added, %d to be removed; nothing was changed\n"
	}
	_, err = fmt.Fprintf(std.out, text, r.Messages, r.Added, r.Removed)
	return err
}
