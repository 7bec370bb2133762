package main

import (
	"io"
	stdlog "log"
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

// serverLog takes what net/http has to say of bad connections, which is seldom
// worth more than a look.
func serverLog(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(levelWriter{log}, "", 0)
}

type levelWriter struct{ log zerolog.Logger }

func (w levelWriter) Write(p []byte) (int, error) {
	w.log.Debug().Msg(string(p))
	return len(p), nil
}
