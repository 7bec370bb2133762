package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mmspipe/ingest"
)

const (
	// recheckGrace is how long before the last sign of life of a process that did
	// not stop cleanly its work is looked at again: file systems write their
	// journals every five seconds (ext4(5), commit), so that what is older has
	// reached the disk.
	recheckGrace = 2 * time.Minute

	// lifeTick is how often a sign of life is written.
	lifeTick = 10 * time.Second
)

// running is a file in the data directory that is there while a worker runs. It
// holds the time from which on nobody has made sure yet that what was stored is
// still there. A clean stop removes it; a start that finds it makes sure.
type running struct{ path string }

// since is the time in the file, zero without one. A file that a power cut left
// empty says nothing of its time: a day is looked at.
func (r running) since() (time.Time, error) {
	text, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	if since, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text))); err == nil {
		return since, nil
	}
	return time.Now().Add(-24 * time.Hour), nil
}

func (r running) write(since time.Time) error {
	return writeDurably(r.path, since.UTC().Format(time.RFC3339))
}

// startRecheck looks, after an unclean stop, at what was stored shortly before it,
// beside the work. Until that is done, the file keeps its time.
func (s *service) startRecheck(worker *ingest.Worker) error {
	file := running{filepath.Join(s.data, "running")}
	since, err := file.since()
	if err != nil {
		return err
	}
	if since.IsZero() {
		if err := file.write(time.Now().Add(-recheckGrace)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var living sync.WaitGroup
	living.Go(func() {
		checked := since.IsZero() || s.recheck(ctx, worker, since)
		s.live(ctx, file, checked)
	})
	s.onStop("recheck", func(context.Context) error { cancel(); living.Wait(); return nil })
	return nil
}

// recheck tells whether all was looked at.
func (s *service) recheck(ctx context.Context, worker *ingest.Worker, since time.Time) bool {
	s.log.Warn().Time("since", since).Msg("last stop was not clean; making sure of what was stored")
	found, err := worker.Recheck(ctx, since)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error().Err(err).Msg("not all was looked at; the next start tries again")
		}
		return false
	}
	s.log.Info().Int("events", found.Events).Int("damaged", found.Damaged).Int("queued", found.Queued).Msg("what was stored is accounted for")
	return true
}

// live writes a sign of life until ctx ends, and then that the stop was clean.
// Where not all was looked at the file stays as it is.
func (s *service) live(ctx context.Context, file running, checked bool) {
	tick := time.NewTicker(lifeTick)
	defer tick.Stop()
	for checked {
		if err := file.write(time.Now().Add(-recheckGrace)); err != nil {
			s.log.Error().Err(err).Msg("sign of life not written")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := os.Remove(file.path); err != nil {
				s.log.Error().Err(err).Msg("clean stop not noted")
			}
			return
		}
	}
}
