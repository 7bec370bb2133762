package main

import (
	"context"
	"errors"
	"fmt"

	"mmspipe/ingest/upstream"

	"github.com/rs/zerolog"
)

type serveCommand struct {
	settings `embed:""`
}

// Help is the long form of the subcommand's help.
func (serveCommand) Help() string {
	return `Every flag is also an environment variable, named in brackets. With accounts alone the service runs whole on one machine: NATS is embedded and objects are kept in the data directory.`
}

// Run serves until ctx ends.
func (cmd serveCommand) Run(ctx context.Context, std stdio) error {
	config, err := cmd.parse()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	console := config.logFormat == "console" || config.logFormat == "auto" && isTerminal(std.err)
	log := newLogger(std.err, console).Level(config.logLevel)
	return serve(ctx, config, log, func(s *service) {
		if console {
			s.describe(std.err)
		} else {
			s.announce()
		}
	})
}

// serve runs the service until ctx ends, then stops it. It calls ready when
// requests are answered. The error is what kept it from starting or made it
// stop, joined with what went wrong in stopping.
func serve(ctx context.Context, c config, log zerolog.Logger, ready func(*service)) (err error) {
	s := &service{config: c, log: log, twilio: upstream.New(c.upstream, c.accounts)}
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	defer func() { err = errors.Join(err, s.stop()) }()
	// In this order: what is started later uses what was started earlier, and is
	// stopped before it.
	for _, start := range []func(context.Context) error{
		s.openData, s.openBucket, s.openStreams, s.startWatch, s.listen, s.startWorker, s.startRetention, s.startServers,
	} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	ready(s)
	<-ctx.Done()
	log.Info().Msg("stopping")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
