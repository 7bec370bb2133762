package main

import (
	"context"
	"fmt"
	"io"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/settings"

	"github.com/rs/zerolog"
)

type serveCommand struct {
	settings.Settings `embed:""`
}

// Help is the long form of the subcommand's help.
func (serveCommand) Help() string {
	return `Each flag can also be set by the environment variable in brackets. You must set only the accounts: then the whole service runs in this process, with a NATS server inside, and keeps everything in the data directory. Write sizes as 600KB or 32MiB, and durations as 90m, 24h or 90d.`
}

// Run serves until ctx ends.
func (cmd serveCommand) Run(ctx context.Context, std stdio) error {
	config, logging, err := cmd.Parse()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	console := logging.Format == "console" || logging.Format == "auto" && isTerminal(std.err)
	log := newLogger(std.err, console).Level(logging.Level)
	return service.Run(ctx, config, log, func(r service.Running) {
		if console {
			describe(std.err, r, config.MediaAuth)
		} else {
			announce(log, r, config)
		}
	})
}

// announce logs what the service listens on and what it uses.
func announce(log zerolog.Logger, r service.Running, c service.Config) {
	log.Info().Stringer("public", r.Public).Stringer("admin", r.Admin).Str("queue", r.Queue).Str("objects", r.Objects).
		Str("media_auth", c.MediaAuth).Str("webhook", r.Webhook).Bool("relay", c.Relay).Msg("serving")
}

// describe tells the same to a person.
func describe(w io.Writer, r service.Running, mediaAuth string) {
	media := "public: whoever knows a medium's URL can read it; --media-auth=required changes that"
	if mediaAuth == "required" {
		media = "required: content needs credentials or a signed link"
	}
	fmt.Fprintf(w, "mmspipe is serving.\n\n")
	for _, line := range [][2]string{
		{"public", "http://" + r.Public.String()},
		{"admin", "http://" + r.Admin.String()},
		{"queue", r.Queue},
		{"objects", r.Objects},
		{"media", media},
		{"webhook", r.Webhook},
	} {
		fmt.Fprintf(w, "  %-8s %s\n", line[0], line[1])
	}
	fmt.Fprintf(w, "\nGive the webhook URL, with its fragment, to Twilio for incoming messages and status callbacks:\nthe fragment makes Twilio retry what is answered 503. Set a fallback URL too.\n\n")
}
