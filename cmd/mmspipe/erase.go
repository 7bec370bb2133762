package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/operate"
	"mmspipe/store"

	"github.com/dustin/go-humanize"
)

type eraseCommand struct {
	operatorFlags `embed:""`
	Account       string `placeholder:"AC…" help:"Only in this account."`
	Number        string `required:"" placeholder:"+1…" help:"The phone number, WhatsApp address, short code or other sender. Write a phone number in any way. Without a country code it is one of the country in MMSPIPE_REGION of the service."`
	DryRun        bool   `help:"Say what would be removed, and remove nothing."`
}

// Help is the long form of the subcommand's help.
func (eraseCommand) Help() string {
	return "Removes everything that is kept of one phone number: messages from it and to it, their media, their events in the feed, and jobs that still wait. Prints a receipt. SIDs and dates stay, so that nothing comes back. The feed gets an mms.deleted event for each medium, so that its readers can delete their copies. If it is interrupted, run it again. The exit status is 3 if nothing was found."
}

// Run erases a number.
func (cmd eraseCommand) Run(ctx context.Context, std stdio) error {
	account, err := flagValue("account", cmd.Account, store.ParseAccountSID)
	if err != nil {
		return err
	}
	messages := func(r operate.Receipt) int { return r.Messages }
	r, err := work(cmd.operatorFlags, std, messages, func(c *operator.Client, seen func(operate.Receipt)) (operate.Receipt, error) {
		return c.Erase(ctx, account, cmd.Number, cmd.DryRun, seen)
	})
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		err = printReceipt(std.out, r)
	}
	if err == nil && r.Messages+r.Jobs == 0 {
		return fmt.Errorf("%w: nothing is kept of that number", errNothing)
	}
	return err
}

func printReceipt(w io.Writer, r operate.Receipt) error {
	did := "removed"
	if r.DryRun {
		did = "would be removed; nothing was removed"
	}
	_, err := fmt.Fprintf(w, "%s, %s (%s), %s and %s %s\nnumber hash %s, %s searched, finished %s\n",
		count(r.Messages, "message"), count(r.Media, "medium", "media"), humanize.IBytes(uint64(r.Bytes)), count(r.Events, "event"),
		count(r.Jobs, "waiting job"), did, r.NumberHash, count(r.Accounts, "account"), r.Finished.Format(time.RFC3339))
	return err
}
