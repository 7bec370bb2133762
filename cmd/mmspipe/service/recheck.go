package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

const (
	// recheckGrace is how long before the last sign of life what was stored is
	// checked. File systems write their journals every five seconds (ext4(5),
	// commit), so that what is older has reached the disk.
	recheckGrace = 2 * time.Minute

	// lifeTick is the time between two signs of life.
	lifeTick = 10 * time.Second
)

// lifeSign is a file in the data directory that is there while a worker runs. It
// holds the time since when nobody has checked that what was stored is still
// there. A clean stop removes it; a start that finds it checks.
type lifeSign struct {
	path  string
	since time.Time // in the file that was found; zero if there was none
}

// findLifeSign reads the file, or writes one where there is none. A file that a
// power cut left empty does not say since when: a day is checked.
func findLifeSign(path string) (*lifeSign, error) {
	sign := &lifeSign{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sign, sign.write()
	}
	if err != nil {
		return nil, err
	}
	if sign.since, err = time.Parse(time.RFC3339, strings.TrimSpace(string(text))); err != nil {
		sign.since = time.Now().Add(-24 * time.Hour)
	}
	return sign, nil
}

// unclean tells whether the last stop was not clean, and since when what was stored
// is to be checked.
func (l *lifeSign) unclean() (since time.Time, unclean bool) { return l.since, !l.since.IsZero() }

func (l *lifeSign) write() error {
	return writeDurably(l.path, time.Now().Add(-recheckGrace).UTC().Format(time.RFC3339))
}

// keep writes a sign of life again and again until ctx ends, and then removes it:
// the stop is clean.
func (l *lifeSign) keep(ctx context.Context, log zerolog.Logger) {
	every(ctx, lifeTick, func(context.Context) {
		if err := l.write(); err != nil {
			log.Error().Err(err).Msg("sign of life not written")
		}
	})
	if err := os.Remove(l.path); err != nil {
		log.Error().Err(err).Msg("clean stop not noted")
	}
}

// recheck checks, after a stop that was not clean, the media and events that were
// stored shortly before it, while the worker works. Then it keeps the sign of life
// until ctx ends.
func (s *service) recheck(ctx context.Context, sign *lifeSign) {
	if since, unclean := sign.unclean(); unclean {
		s.log.Warn().Time("since", since).Msg("last stop was not clean; checking what was stored shortly before")
		found, err := s.operations().Rechecker.Recheck(ctx, since)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error().Err(err).Msg("not all of it was checked; the next start tries again")
			}
			return // the sign keeps its time
		}
		s.log.Info().Int("events", found.Events).Int("damaged", found.Damaged).Int("queued", found.Queued).Msg("what was stored is accounted for")
	}
	sign.keep(ctx, s.log)
}
