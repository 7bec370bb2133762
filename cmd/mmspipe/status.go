package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mmspipe/cmd/mmspipe/operator"

	"github.com/dustin/go-humanize"
)

type statusCommand struct {
	operatorFlags `embed:""`
}

// Help is the long form of the subcommand's help.
func (statusCommand) Help() string {
	return "Prints what the queue holds and what it survives, how much of the disk is free, what happened in the last hour, and who reads the feed."
}

// Run prints how the service is doing.
func (cmd statusCommand) Run(ctx context.Context, std stdio) error {
	c, err := cmd.client()
	if err != nil {
		return err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return advise(err)
	}
	if cmd.JSON {
		return printJSON(std.out, s)
	}
	return printStatus(std.out, s)
}

func printStatus(w io.Writer, s operator.Status) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	oldest := "none"
	if !s.OldestJob.IsZero() {
		oldest = (time.Duration(s.OldestSeconds) * time.Second).String() + " old"
	}
	fmt.Fprintf(table, "queue\t%s: %d not begun, %d in hand or delayed; oldest: %s\n", count(int(s.Jobs), "job"), s.Waiting, s.InHand, oldest)
	fmt.Fprintf(table, "durability\t%s: %s\n", s.Durability.Class, s.Durability.Reason)
	fmt.Fprintf(table, "workers\t%s at once\n", count(s.Workers, "message"))
	fmt.Fprintf(table, "disk\t%s free\n", humanize.IBytes(uint64(max(s.FreeDisk, 0))))
	fmt.Fprintf(table, "last hour\t%s\n", counts(s.LastHour))
	fmt.Fprintf(table, "failures\t%s\n", counts(s.Failures))
	fmt.Fprintf(table, "feed\t%s, the last is event %d\n", count(int(s.Events), "event"), s.LastEvent)
	if s.Foreign.Messages > 0 {
		fmt.Fprintf(table, "  foreign\t%s that mmspipe did not publish, the last is message %d; they are passed over\n", count(int(s.Foreign.Messages), "message"), s.Foreign.Last)
	}
	for _, r := range s.Readers {
		fmt.Fprintf(table, "  reader %s\tat event %d, %s to come\n", r.Name, r.Delivered, count(int(r.Pending), "event"))
	}
	return table.Flush()
}

// counts lists the largest count first.
func counts(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(m[b]-m[a], strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", m[name], name)
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}
