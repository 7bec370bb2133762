package main

import (
	"io"
	"time"

	"github.com/rs/zerolog"
)

// newLogger logs to w: lines for people on a console, JSON elsewhere.
func newLogger(w io.Writer, console bool) zerolog.Logger {
	if console {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	}
	return zerolog.New(w).With().Timestamp().Logger()
}
