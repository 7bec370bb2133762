// The mmspipe command receives MMS webhooks, keeps their media and serves them.
// See README.md for what it does; its subcommands say what they do with --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"mmspipe/cmd/mmspipe/settings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], settings.NewEnvironment(os.Environ()), stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is what a subcommand reads and writes. Results go to out, everything
// said to a person beside them to err.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// isTerminal tells whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// errUsage says that the program was called wrongly: exit status 2.
var errUsage = errors.New("usage")

// cli is the command line.
type cli struct {
	Serve     serveCommand     `cmd:"" help:"Run the service."`
	Demo      demoCommand      `cmd:"" help:"Run the service beside a simulated Twilio, and watch some messages on their way."`
	Simulate  simulateCommand  `cmd:"" help:"Play Twilio: host media and send signed webhooks to any handler."`
	Failed    failedCommand    `cmd:"" help:"List what was given up."`
	Replay    replayCommand    `cmd:"" help:"Try again what was given up, or verify what is stored."`
	Reconcile reconcileCommand `cmd:"" help:"Find what the provider has and this service does not. With --fix, queue it."`
	Reindex   reindexCommand   `cmd:"" help:"Rebuild the index of messages from their records."`
	Verify    verifyCommand    `cmd:"" help:"Verify everything that is stored, and mend what is damaged."`
	Erase     eraseCommand     `cmd:"" help:"Remove everything that is kept of one phone number."`
	Message   messageCommand   `cmd:"" help:"Print everything that is known of one message."`
	Status    statusCommand    `cmd:"" help:"Print how the running service is doing."`
	Doctor    doctorCommand    `cmd:"" help:"Check your set-up, or find out why the signature of a webhook does not match."`
	Fit       fitCommand       `cmd:"" help:"Fit pictures into a carrier's limits, without any server."`
	Profiles  profilesCommand  `cmd:"" help:"Print the carrier profiles."`
	Version   versionCommand   `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

const description = `mmspipe receives Twilio's MMS webhooks, fetches the media, fits pictures into carrier limits, keeps everything in a directory or in MinIO, and serves it under Twilio's own Media API.

To see it work: mmspipe demo

To run it: MMSPIPE_ACCOUNTS=AC…:TOKEN mmspipe serve`

// run runs the program and returns its exit status: 0; 1 after an error; 2 if it was
// called wrongly; 3 if there was nothing to show or to do. It is 0 too if a command was
// interrupted and stopped cleanly.
func run(ctx context.Context, args []string, env settings.Environment, std stdio) int {
	exited := -1
	parser := kong.Must(&cli{},
		kong.Name("mmspipe"), kong.Description(description),
		kong.Writers(std.out, std.err), kong.Exit(func(code int) { exited = code; panic(exit{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(settings.Help),
		kong.Resolvers(env.Resolver()), kong.Vars{"version": version()},
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std),
	)
	parser.Model.HelpFlag.Help = "Print this help."
	err := func() error {
		defer func() {
			if p := recover(); p != nil && p != any(exit{}) {
				panic(p)
			}
		}()
		command, err := parser.Parse(args)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if err := env.Check(parser, command); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return command.Run()
	}()
	switch {
	case exited >= 0:
		return exited
	case err == nil:
		return 0
	case errors.Is(err, errNothing):
		complain(std.err, err)
		return 3
	case errors.Is(err, errUsage):
		complain(std.err, err)
		fmt.Fprintln(std.err, "mmspipe: see mmspipe --help")
		return 2
	}
	complain(std.err, err)
	return 1
}

// exit unwinds the stack when kong has printed the help and wants to end.
type exit struct{}

// complain prints an error, one line for each of those that it joins.
func complain(w io.Writer, err error) {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), errUsage.Error()+": "), errNothing.Error()+": ")
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintln(w, "mmspipe:", line)
	}
}
