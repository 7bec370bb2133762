package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mmspipe/ingest/operate"
	"mmspipe/store"

	"github.com/dustin/go-humanize"
)

type messageCommand struct {
	operatorFlags `embed:""`
	Private       bool   `help:"Print also the text, the numbers, the links and the webhook as it came."`
	SID           string `arg:"" name:"MM…" help:"The message."`
}

// Help is the long form of the subcommand's help.
func (messageCommand) Help() string {
	return "Prints everything that is known of one message: its record, its stored media, what failed, and its events. The text, the numbers and the links are left out unless you give --private. The exit status is 3 if the message is not known."
}

// Run prints what is known of a message.
func (cmd messageCommand) Run(ctx context.Context, std stdio) error {
	c, err := cmd.client()
	if err != nil {
		return err
	}
	text, err := c.Message(ctx, cmd.SID, cmd.Private)
	if err != nil {
		return advise(err)
	}
	if cmd.JSON {
		return printJSON(std.out, text)
	}
	var known operate.Known
	if err := json.Unmarshal(text, &known); err != nil {
		return err
	}
	return printMessage(std.out, known, cmd.Private)
}

func printMessage(w io.Writer, known operate.Known, private bool) error {
	m := known.Message
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "message\t%s\n", m.SID)
	fmt.Fprintf(table, "account\t%s\n", m.Account)
	fmt.Fprintf(table, "received\t%s, %s, %s\n", m.DateCreated.Local().Format(time.DateTime), m.Direction, m.Status)
	if !m.Deleted.IsZero() {
		fmt.Fprintf(table, "deleted\t%s\n", m.Deleted.Local().Format(time.DateTime))
	}
	if private {
		fmt.Fprintf(table, "from\t%s\nto\t%s\ntext\t%q\n", m.From, m.To, m.Body)
	}
	fmt.Fprintf(table, "media\t%d in the webhook, %d stored, %d failed\n", m.NumMedia, len(known.Media), len(m.Failures))
	for _, medium := range known.Media {
		fmt.Fprintf(table, "  %s\t%s, %s, after %s\n", medium.SID, medium.ContentType, humanize.Bytes(uint64(medium.Size)), count(medium.Attempts, "try"))
		for _, v := range medium.Variants {
			fmt.Fprintf(table, "    %s\t%s, %s, %d×%d\n", v.Name, v.ContentType, humanize.Bytes(uint64(v.Size)), v.Width, v.Height)
		}
		if medium.Note != "" {
			fmt.Fprintf(table, "    note\t%s\n", medium.Note)
		}
	}
	for sid, f := range m.Failures {
		fmt.Fprintf(table, "  %s\tfailed: %s\n", sid, f.Detail)
	}
	if m.Outgoing != nil {
		printOutgoing(table, *m.Outgoing)
	}
	if m.ErrorCode != 0 {
		fmt.Fprintf(table, "error\t%d %s\n", m.ErrorCode, m.ErrorMessage)
	}
	printForwards(table, m.Forwards)
	for _, raw := range known.Events {
		var e struct{ Sequence, Type, Time, Subject string }
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		fmt.Fprintf(table, "event %s\t%s %s %s\n", e.Sequence, e.Time, e.Type, strings.TrimPrefix(e.Subject, m.SID.String()+"/"))
	}
	return table.Flush()
}

// printOutgoing prints how far an outgoing message is.
func printOutgoing(table io.Writer, out store.Outgoing) {
	fmt.Fprintf(table, "profile\t%s\n", cmp.Or(out.Profile, "not chosen yet"))
	fmt.Fprintf(table, "ready\t%s\n", eventOr(out.Ready, "not yet"))
	fmt.Fprintf(table, "sent\t%s\n", eventOr(out.Sent, "not yet"))
	if out.Upstream != (store.MessageSID{}) {
		fmt.Fprintf(table, "upstream\t%s\n", out.Upstream)
	}
	if out.Failure != nil {
		fmt.Fprintf(table, "failed\t%s: %s\n", out.Failure.Reason, out.Failure.Detail)
	}
}

// printForwards prints what became of the webhooks that are forwarded to the
// application.
func printForwards(table io.Writer, forwards map[string]store.Forward) {
	for _, name := range slices.Sorted(maps.Keys(forwards)) {
		f := forwards[name]
		what := "under way"
		switch {
		case f.Failure != nil:
			what = "failed: " + f.Failure.Detail
		case f.Status >= 200 && f.Status < 300:
			what = fmt.Sprintf("taken with %d", f.Status)
		}
		fmt.Fprintf(table, "forward %s\t%s, after %s, %s\n", name, what, count(f.Attempts, "try"), f.Date.Local().Format(time.DateTime))
	}
}

// eventOr names an event by its sequence in the feed, if it has one.
func eventOr(sequence uint64, none string) string {
	if sequence == 0 {
		return none
	}
	return fmt.Sprintf("event %d", sequence)
}
