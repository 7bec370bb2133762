package main

import (
	"context"

	"mmspipe/cmd/mmspipe/demo"

	"github.com/rs/zerolog"
)

type demoCommand struct {
	Once   bool     `help:"Exit when the last message is stored: 0 if all are, 1 if any is not."`
	Data   string   `type:"path" placeholder:"DIR" help:"Data directory, which is kept. A temporary one is used and removed unless set."`
	Listen string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Public listener. A free port unless set."`
	Files  []string `arg:"" optional:"" type:"existingfile" help:"Pictures or other media to send, a message each. testdata/images unless given."`
}

// Help is the long form of the subcommand's help.
func (demoCommand) Help() string {
	return `The whole service starts with an embedded NATS and a directory store. Beside it a simulated Twilio hosts the media and sends signed webhooks. What the feed says of each message is shown as it happens; the URLs can be opened until Ctrl-C.`
}

// Run runs the service beside a simulated Twilio.
func (cmd demoCommand) Run(ctx context.Context, std stdio) error {
	return demo.Run(ctx, demo.Options{
		Files: cmd.Files, Once: cmd.Once, Data: cmd.Data, Listen: cmd.Listen,
		Log: newLogger(std.err, true).Level(zerolog.WarnLevel),
	}, std.out)
}
