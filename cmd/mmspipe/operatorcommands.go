package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mmspipe/ingest/operate"
	"mmspipe/store"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
)

// rangeFlags say which messages are meant.
type rangeFlags struct {
	Account string `placeholder:"AC…" help:"Of this account only."`
	Since   string `placeholder:"TIME" help:"Received at or after it: 2026-11-23, 2026-11-23T15:04:05Z, or a time ago such as 36h."`
	Until   string `placeholder:"TIME" help:"Received before it."`
}

func (f rangeFlags) values() (url.Values, error) {
	values := url.Values{}
	for name, text := range map[string]string{"since": f.Since, "until": f.Until} {
		if text == "" {
			continue
		}
		at, err := parseTime(text, time.Now())
		if err != nil {
			return nil, fmt.Errorf("%w: --%s: %w", errUsage, name, err)
		}
		values.Set(name, at.Format(time.RFC3339))
	}
	if f.Account != "" {
		values.Set("account", f.Account)
	}
	return values, nil
}

// parseTime reads a moment, a day in UTC, or a time ago.
func parseTime(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-11-23, 2026-11-23T15:04:05Z or 36h", text)
}

type failedCommand struct {
	operatorFlags `embed:""`
	rangeFlags    `embed:""`
	Message       string `placeholder:"MM…" help:"Of this message only."`
	Reason        string `placeholder:"WORD" help:"With this reason only, such as status or timeout."`
}

// Help is the long form of the subcommand's help.
func (failedCommand) Help() string {
	return "One line for each medium, each webhook to be posted on and each outgoing message that was given up, those of the newest message first: a table in a terminal, else a JSON object on each line. mmspipe replay tries them again. The exit status is 0 if there are any and 3 if there are none."
}

// Run lists failures.
func (cmd failedCommand) Run(ctx context.Context, std stdio) error {
	values, err := cmd.values()
	if err != nil {
		return err
	}
	setIf(values, "message", cmd.Message)
	setIf(values, "reason", cmd.Reason)
	body, err := cmd.call(ctx, http.MethodGet, "failed", values)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	asJSON := cmd.JSON || !isTerminal(std.out)
	if !asJSON {
		fmt.Fprintln(table, "GIVEN UP\tMESSAGE\tWHAT\tREASON\tSTATUS\tTRIES")
	}
	n := 0
	err = read(body, false, func(l line[operate.Failure]) error {
		n++
		f := l.Result
		if asJSON {
			return json.NewEncoder(std.out).Encode(f)
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", f.Date.Local().Format(time.DateTime), f.Message, f.Of(), f.Reason, dashIfZero(f.Status), f.Attempts)
		return err
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: nothing has failed", errNothing)
	}
	return table.Flush()
}

func setIf(values url.Values, name, value string) {
	if value != "" {
		values.Set(name, value)
	}
}

func dashIfZero(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

type replayCommand struct {
	operatorFlags `embed:""`
	rangeFlags    `embed:""`
	Message       string `placeholder:"MM…" help:"This message only."`
	Media         string `placeholder:"ME…" help:"The message of this medium only, if that failed."`
	Reason        string `placeholder:"WORD" help:"Only messages with a failure for this reason."`
	All           bool   `help:"Also messages without failures: what is stored of them is verified, and mended where it is not what it was."`
	DryRun        bool   `help:"Say what would be done, and do nothing."`
}

// Help is the long form of the subcommand's help.
func (replayCommand) Help() string {
	return "Queues the work of messages again, from their records: media that failed are fetched again, what is stored is verified, webhooks that your application did not take are posted again, and an outgoing message that failed is sent again, unless --all is given. Without flags these are all messages with failures. Interrupted, the same command goes on: within an hour it queues no message twice. The exit status is 0 if any message was meant and 3 if there was none."
}

// Run queues messages.
func (cmd replayCommand) Run(ctx context.Context, std stdio) error {
	values, err := cmd.values()
	if err != nil {
		return err
	}
	if cmd.All && cmd.Message == "" && cmd.Since == "" {
		return fmt.Errorf("%w: --all wants --message or --since", errUsage)
	}
	setIf(values, "message", cmd.Message)
	setIf(values, "media", cmd.Media)
	setIf(values, "reason", cmd.Reason)
	// Runs that ask for the same within an hour are one.
	values.Set("run", time.Now().UTC().Truncate(time.Hour).Format("2006010215"))
	values.Set("all", fmt.Sprint(cmd.All))
	values.Set("dryRun", fmt.Sprint(cmd.DryRun))
	result, err := post(ctx, cmd.operatorFlags, std, "replay", values, "messages", func(r operate.Replayed) int { return r.Messages })
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = json.NewEncoder(std.out).Encode(result)
	} else {
		_, err = fmt.Fprintln(std.out, describeReplay(result))
	}
	if err == nil && result.Messages == 0 {
		return fmt.Errorf("%w: no message is meant", errNothing)
	}
	return err
}

func describeReplay(r operate.Replayed) string {
	if r.DryRun {
		return fmt.Sprintf("%d messages would be queued; nothing was done", r.Messages)
	}
	return fmt.Sprintf("%d messages queued, %d were queued before", r.Queued, r.Messages-r.Queued)
}

type eraseCommand struct {
	operatorFlags `embed:""`
	Account       string `placeholder:"AC…" help:"In this account only."`
	Number        string `required:"" placeholder:"+1…" help:"The phone number, as Twilio writes it."`
	DryRun        bool   `help:"Say what would be removed, and remove nothing."`
}

// Help is the long form of the subcommand's help.
func (eraseCommand) Help() string {
	return "Removes everything that is kept of one phone number: messages from and to it, their media, their events in the feed, and jobs that still wait, and prints a receipt. What stays are SIDs and dates, and an mms.deleted event for each medium, so that readers of the feed drop theirs. Interrupted, the same command goes on. The exit status is 3 if nothing was found."
}

// Run erases a number.
func (cmd eraseCommand) Run(ctx context.Context, std stdio) error {
	values := url.Values{"number": {cmd.Number}, "dryRun": {fmt.Sprint(cmd.DryRun)}}
	setIf(values, "account", cmd.Account)
	r, err := post(ctx, cmd.operatorFlags, std, "erase", values, "messages", func(r operate.Receipt) int { return r.Messages })
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = printJSON(std.out, r)
	} else {
		did := "removed"
		if r.DryRun {
			did = "would be removed; nothing was"
		}
		_, err = fmt.Fprintf(std.out, "%d messages, %d media (%s), %d events and %d waiting jobs %s\nnumber hash %s, %d accounts searched, finished %s\n",
			r.Messages, r.Media, humanize.IBytes(uint64(r.Bytes)), r.Events, r.Jobs, did, r.NumberHash, r.Accounts, r.Finished.Format(time.RFC3339))
	}
	if err == nil && r.Messages+r.Jobs == 0 {
		return fmt.Errorf("%w: nothing is kept of that number", errNothing)
	}
	return err
}

type messageCommand struct {
	operatorFlags `embed:""`
	Private       bool   `help:"Also the text, the numbers and the webhook as it came."`
	SID           string `arg:"" name:"MM…" help:"The message."`
}

// Help is the long form of the subcommand's help.
func (messageCommand) Help() string {
	return "Prints everything known of one message: its record, what is stored of its media, what failed, and its events. The exit status is 3 if it is not known."
}

// Run prints what is known of a message.
func (cmd messageCommand) Run(ctx context.Context, std stdio) error {
	known, err := get[operate.Known](ctx, cmd.operatorFlags, "messages/"+url.PathEscape(cmd.SID), url.Values{"private": {fmt.Sprint(cmd.Private)}})
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(std.out, known)
	}
	m := known.Message
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "message\t%s\n", m.SID)
	fmt.Fprintf(table, "account\t%s\n", m.Account)
	fmt.Fprintf(table, "received\t%s, %s, %s\n", m.DateCreated.Local().Format(time.DateTime), m.Direction, m.Status)
	if !m.Deleted.IsZero() {
		fmt.Fprintf(table, "deleted\t%s\n", m.Deleted.Local().Format(time.DateTime))
	}
	if cmd.Private {
		fmt.Fprintf(table, "from\t%s\nto\t%s\ntext\t%q\n", m.From, m.To, m.Body)
	}
	fmt.Fprintf(table, "media\t%d in the webhook, %d stored, %d failed\n", m.NumMedia, len(known.Media), len(m.Failures))
	for _, medium := range known.Media {
		fmt.Fprintf(table, "  %s\t%s, %s, after %d tries\n", medium.SID, medium.ContentType, humanize.Bytes(uint64(medium.Size)), medium.Attempts)
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
	printWayOut(table, m)
	for _, raw := range known.Events {
		var e struct{ Sequence, Type, Time, Subject string }
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		fmt.Fprintf(table, "event %s\t%s %s %s\n", e.Sequence, e.Time, e.Type, strings.TrimPrefix(e.Subject, m.SID.String()+"/"))
	}
	return table.Flush()
}

// printWayOut prints how far an outgoing message is, and what became of the webhooks
// that were to be posted on.
func printWayOut(table io.Writer, m store.Message) {
	if out := m.Outgoing; out != nil {
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
	if m.ErrorCode != 0 {
		fmt.Fprintf(table, "error\t%d %s\n", m.ErrorCode, m.ErrorMessage)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Forwards)) {
		f := m.Forwards[name]
		what := "under way"
		switch {
		case f.Failure != nil:
			what = "failed: " + f.Failure.Detail
		case f.Status >= 200 && f.Status < 300:
			what = fmt.Sprintf("taken with %d", f.Status)
		}
		fmt.Fprintf(table, "forward %s\t%s, after %d tries, %s\n", name, what, f.Attempts, f.Date.Local().Format(time.DateTime))
	}
}

// eventOr names an event by its sequence in the feed, if it has one.
func eventOr(sequence uint64, none string) string {
	if sequence == 0 {
		return none
	}
	return fmt.Sprintf("event %d", sequence)
}

type statusCommand struct {
	operatorFlags `embed:""`
}

// Run prints how the service is doing.
func (cmd statusCommand) Run(ctx context.Context, std stdio) error {
	s, err := get[serviceStatus](ctx, cmd.operatorFlags, "status", nil)
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(std.out, s)
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	oldest := "none"
	if !s.OldestJob.IsZero() {
		oldest = (time.Duration(s.OldestSeconds) * time.Second).String()
	}
	fmt.Fprintf(table, "queue\t%d jobs, %d not begun, %d in hand or delayed; oldest: %s\n", s.Jobs, s.Waiting, s.InHand, oldest)
	fmt.Fprintf(table, "durability\t%s: %s\n", s.Durability.Class, s.Durability.Reason)
	fmt.Fprintf(table, "workers\t%d\n", s.Workers)
	fmt.Fprintf(table, "disk\t%s free\n", humanize.IBytes(uint64(max(s.FreeDisk, 0))))
	fmt.Fprintf(table, "last hour\t%s\n", counts(s.LastHour))
	fmt.Fprintf(table, "failures\t%s\n", counts(s.Failures))
	fmt.Fprintf(table, "feed\t%d events, the last is %d\n", s.Events, s.LastEvent)
	for _, r := range s.Readers {
		fmt.Fprintf(table, "  reader %s\tat %d, %d to come\n", r.Name, r.Delivered, r.Pending)
	}
	return table.Flush()
}

// counts lists what there is most of first.
func counts(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(m[b]-m[a], strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", m[name], name)
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// progress is a count that goes up in a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w io.Writer, what string) progress {
	if !isTerminal(w) {
		return progress{}
	}
	return progress{progressbar.NewOptions(-1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish())}
}

func (p progress) set(n int) {
	if p.bar != nil {
		_ = p.bar.Set(n) // what cannot be shown cannot be told either
	}
}

func (p progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
