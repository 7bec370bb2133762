package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/verify"

	"github.com/dustin/go-humanize"
)

type verifyCommand struct {
	operatorFlags `embed:""`
	Fix           bool `help:"Mend what is damaged, or put it into quarantine."`
}

// Help is the long form of the subcommand's help.
func (verifyCommand) Help() string {
	return "Reads everything that is stored: all records, all blobs, the index and the feed. It lists what is damaged or missing. With --fix records are made again from the provider's API or from the feed, and workers download or fit damaged media again. What cannot be made again is moved to quarantine/ in the bucket, where people can look at it; so are the damaged bytes of everything that is replaced. It may run while the service works, and may be interrupted and run again. The exit status is 1 if something stays damaged."
}

// Run verifies what is stored.
func (cmd verifyCommand) Run(ctx context.Context, std stdio) error {
	read := func(r verify.Verified) int { return r.Messages + r.Media }
	r, err := work(cmd.operatorFlags, std, read, func(c *operator.Client, seen func(verify.Verified)) (verify.Verified, error) {
		return c.Verify(ctx, cmd.Fix, seen)
	})
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		err = printVerified(std.out, r)
	}
	switch {
	case err != nil || r.Left == 0:
		return err
	case r.Fix:
		return fmt.Errorf("%s could not be mended; run mmspipe verify --fix again when the provider's API answers", count(r.Left, "thing"))
	}
	return fmt.Errorf("%s damaged or missing; mmspipe verify --fix mends what it can and puts the rest into quarantine", are(r.Left, "thing"))
}

func printVerified(w io.Writer, r verify.Verified) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.List) > 0 {
		fmt.Fprintln(table, "MESSAGE\tMEDIUM\tWHAT\tDONE\tWHY")
	}
	for _, f := range r.List {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(f.Message.String(), "-"), cmp.Or(f.Media.String(), "-"), f.What, f.Done, f.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s, %s (%s) and %s verified\n",
		count(r.Messages, "message"), count(r.Media, "medium", "media"), humanize.IBytes(uint64(r.Bytes)), count(r.Events, "event"))
	switch {
	case err != nil:
		return err
	case r.Damaged == 0:
		_, err = fmt.Fprintln(w, "nothing is damaged")
	case !r.Fix:
		_, err = fmt.Fprintf(w, "%s damaged or missing; nothing was changed\n", are(r.Damaged, "thing"))
	default:
		_, err = fmt.Fprintf(w, "%s damaged or missing: %d mended, %d queued to be made again, %d in quarantine, %d left\n",
			were(r.Damaged, "thing"), r.Mended, r.Queued, r.Quarantined, r.Left)
	}
	return err
}

// are and were are counts with their verb.

func are(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " is"
	}
	return count(n, noun) + " are"
}

func were(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " was"
	}
	return count(n, noun) + " were"
}
