package main

import (
	"context"

	"mmspipe/cmd/mmspipe/demo"

	"github.com/rs/zerolog"
)

type demoCommand struct {
	Once   bool     `help:"Exit when the last message is done. The exit status is 0 if all are stored, and 1 if one is not."`
	Data   string   `type:"path" placeholder:"DIR" help:"Data directory. It is kept. Unless set, a temporary one is used and removed."`
	Listen string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Public listener. Port 0 is any free port."`
	Files  []string `arg:"" optional:"" type:"existingfile" help:"Pictures or other media. Each is sent in a message of its own. Without any, three pictures are drawn and sent."`
}

// Help is the long form of the subcommand's help.
func (demoCommand) Help() string {
	return `The whole service starts, with its own NATS and a data directory. Beside it a simulated Twilio hosts the media and sends signed webhooks. You see what the feed says of each message as it happens. You can open the URLs until Ctrl-C.`
}

// Run runs the service beside a simulated Twilio.
func (cmd demoCommand) Run(ctx context.Context, std stdio) error {
	return demo.Run(ctx, demo.Options{
		Files: cmd.Files, Once: cmd.Once, Data: cmd.Data, Listen: cmd.Listen,
		Log: newLogger(std.err, true).Level(zerolog.WarnLevel),
	}, std.out)
}
