// Package media takes a medium from its URL to stored blobs: it fetches it, tells its
// type, fits it if it is a picture, stores it, and has the feed told.
//
// # What is done already
//
// Everything that a try has stored is adopted by the next one and never replaced: a
// record with its blobs is done, and an original without a record is what the record is
// made from, whatever its URL answers by then.
//
// # What fails
//
// The media of a message do not hold each other back. One that cannot be downloaded for
// good is a failure in the message's record and in the feed; the message's Job is tried
// again for the others. Those that a webhook counts without a URL are one failure
// together.
package media

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"
)

// sideBySide is how many media of one message are worked on at once: as many as a
// message of Twilio's has at most.
const sideBySide = 10

// Options are what a [Pipeline] works with. All up to GiveUp are required.
type Options struct {
	Store    *store.Store
	Feed     *feed.Feed
	Fetcher  *fetch.Fetcher
	Fitter   *resize.Fitter
	Profile  resize.Profile // that incoming pictures are fitted to
	Accounts ingest.Accounts
	GiveUp   time.Duration // age of a Job at which a medium is given up that may still be downloaded one day

	TempDir string // where media are spooled; the system's if empty
	// FitCache keeps what was made of pictures, so that the same picture is fitted once
	// for many messages; nothing is kept if it is nil.
	FitCache *fetch.Cache
}

// Pipeline stores media. It may be used from many goroutines.
type Pipeline struct {
	Options

	// pictures bounds how many pictures are in memory at once, whatever the number of
	// Jobs: fitting is bound by processors, fetching is not.
	pictures chan struct{}
	fits     singleflight.Group // by fitName
	suspects suspects
}

// New returns a Pipeline.
func New(o Options) *Pipeline {
	return &Pipeline{Options: o, pictures: make(chan struct{}, runtime.GOMAXPROCS(0)), suspects: newSuspects()}
}

// Try is the try of a Job in which media are worked on.
type Try struct {
	Job       uint64 // sequence in the queue
	Attempt   int    // 1 at the first
	Queued    time.Time
	Verify    bool // what is stored is read again, and made again where it is damaged
	Abandoned bool // the process that had the Job before may have died of it
}

// TryOf is the try that a delivery stands for. That of a Replay verifies.
func TryOf(d *stream.Delivery) Try {
	return Try{Job: d.Sequence, Attempt: d.Attempt, Queued: d.Queued, Verify: d.Kind == stream.Replay, Abandoned: d.Abandoned}
}

// StoreAll takes all media of an incoming message to stored and announced records, or to
// recorded and announced failures. An error means that some are to be tried again.
func (p *Pipeline) StoreAll(ctx context.Context, try Try, m store.Message) error {
	refs := p.Store.MediaOf(m)
	targets := []resize.Target{p.Profile.Target(pictures(refs)), resize.Thumb}
	failures, errs := make([]*store.Failure, len(refs)), make([]error, len(refs))
	slots := make(chan struct{}, sideBySide)
	var all sync.WaitGroup
	for i, ref := range refs {
		if failure, ok := m.Failures[ref.Media]; ok && failure.Job == try.Job {
			continue // it was given up by an earlier try
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			failures[i], errs[i] = p.one(ctx, try, ref, targets)
		})
	}
	all.Wait()
	if first, n := p.Store.WithoutURL(m); n > 0 && m.Failures[first.Media].Job != try.Job {
		refs, failures = append(refs, first), append(failures, withoutURL(ctx, try, first, n))
	}
	return errors.Join(append(errs, p.giveUp(ctx, m, refs, failures))...)
}

// withoutURL is the failure of all media together that a webhook only counts.
func withoutURL(ctx context.Context, try Try, first store.MediaRef, n int) *store.Failure {
	failure := failureOf(try, first, fmt.Errorf("%d media have no URL, the first is medium %d", n, first.Index))
	failure.Reason = store.ReasonNoURL
	zerolog.Ctx(ctx).Error().Str("reason", failure.Reason).Str("detail", failure.Detail).Msg("media failed")
	return failure
}

// one takes one medium of an incoming message to its record, or returns why it is given
// up.
func (p *Pipeline) one(ctx context.Context, try Try, ref store.MediaRef, targets []resize.Target) (*store.Failure, error) {
	log := zerolog.Ctx(ctx).With().Stringer("mediaSid", ref.Media).Int("index", ref.Index).Logger()
	ctx = log.WithContext(ctx)

	// What is stored already is done, or was deleted while the Job waited.
	m, err := p.Open(ctx, try, ref)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if m.Stored {
		return nil, m.Finish(ctx)
	}
	err = p.build(ctx, m, targets)
	switch {
	case err == nil:
		return nil, m.Put(ctx)
	case p.permanent(ctx, try, err):
		log.Error().Err(err).Msg("medium failed")
		return failureOf(try, ref, err), nil
	}
	line := log.Warn()
	if trouble, ok := errors.AsType[*fetch.Error](err); ok && trouble.Authenticated && trouble.Status == http.StatusUnauthorized {
		// Every medium of the account will fail until somebody mends it.
		line = log.Error().Str("hint", "the provider refuses the account's token: check MMSPIPE_ACCOUNTS; the job waits")
	}
	line.Err(err).Msg("medium not stored yet")
	return nil, err
}

// permanent tells whether a medium is given up for an error.
func (p *Pipeline) permanent(ctx context.Context, try Try, err error) bool {
	age := time.Since(try.Queued)
	return ingest.Permanent(ctx, err, age, p.GiveUp) || errors.Is(err, ErrEmpty) && age >= p.GiveUp
}

// build fetches a medium, makes its variants and stores the blobs.
func (p *Pipeline) build(ctx context.Context, m *Medium, targets []resize.Target) error {
	err := m.Original(ctx, func(spool *os.File) (fetch.Response, error) {
		return p.Fetcher.Fetch(ctx, m.URL, p.Credentials(m.Try, m.MediaRef), spool)
	})
	if err != nil {
		return err
	}
	if !m.Picture {
		m.Record.Note = asItCame(m.Record, p.Profile)
		return nil
	}
	fit, err := m.Fit(ctx, targets)
	m.Record.Width, m.Record.Height = fit.Width, fit.Height
	if unfit, ok := errors.AsType[*resize.UnfitError](err); ok {
		m.Record.Note = unfit.Error() // it is kept as it came
		return nil
	}
	if err != nil {
		return err
	}
	return m.PutVariants(ctx, fit)
}

// pictures counts the pictures among the media of an incoming message by what its
// webhook says of them, so that each one's share of the limit is known before any is
// fetched.
func pictures(refs []store.MediaRef) int {
	n := 0
	for _, ref := range refs {
		if strings.HasPrefix(strings.ToLower(ref.ContentType), "image/") {
			n++
		}
	}
	return max(n, 1)
}

// Credentials returns those of the account for a medium that they may be sent to, and
// nil for any other. While two tokens are valid they take turns.
func (p *Pipeline) Credentials(try Try, ref store.MediaRef) *fetch.Credentials {
	tokens := p.Accounts[ref.Account]
	if !ref.Credentials || len(tokens) == 0 {
		return nil
	}
	return &fetch.Credentials{Username: ref.Account.String(), Password: tokens[(try.Attempt-1)%len(tokens)]}
}

// failureOf is the failure of a medium that was not downloaded.
func failureOf(try Try, ref store.MediaRef, why error) *store.Failure {
	failure := store.Failure{Index: ref.Index, Detail: why.Error(), Attempts: try.Attempt, Job: try.Job, Date: time.Now().UTC()}
	if trouble, ok := errors.AsType[*fetch.Error](why); ok {
		failure.Reason, failure.Status = string(trouble.Reason), trouble.Status
	}
	if errors.Is(why, ErrEmpty) {
		failure.Reason = store.ReasonEmpty
	}
	return &failure
}

// giveUp records the failures of a try together, and makes sure that those that the
// record has are announced.
func (p *Pipeline) giveUp(ctx context.Context, m store.Message, refs []store.MediaRef, failures []*store.Failure) error {
	failed := map[store.MediaSID]store.Failure{}
	for i, failure := range failures {
		if failure != nil {
			failed[refs[i].Media] = *failure
		}
	}
	if len(failed) > 0 {
		var err error
		if m, err = p.Store.AddFailures(ctx, m.Account, m.SID, failed); err != nil {
			return err
		}
	}
	_, err := p.Feed.Announce(ctx, m)
	return err
}
