package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// medium takes the i-th medium of a message to a stored and announced record, or
// to a recorded failure.
func (w *Worker) medium(ctx context.Context, d *stream.Delivery, hook webhook, message store.Message, i int) outcome {
	sid, own := w.Store.Identify(hook.account, hook.message, i, hook.media[i].url, w.Upstream)
	log := zerolog.Ctx(ctx).With().Stringer("mediaSid", sid).Logger()
	ctx = log.WithContext(ctx)

	// What is there already is done, or was deleted while the Job waited.
	record, err := w.Store.Media(ctx, hook.account, hook.message, sid)
	damaged := false
	if err == nil && d.Kind == stream.Replay {
		damaged, err = w.clearDamage(ctx, record)
	}
	switch {
	case err == nil && !damaged:
		return w.judge(ctx, d, w.finish(ctx, d, record))
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return w.judge(ctx, d, err)
	}
	if failure, ok := message.Failures[sid]; ok && failure.Job == d.Sequence {
		return w.judge(ctx, d, w.announceFailure(ctx, message, sid, failure))
	}

	record, err = w.build(ctx, d, hook, i, sid, own)
	switch result := w.judge(ctx, d, err); result.verb {
	case failed:
		return w.judge(ctx, d, w.fail(ctx, d, sid, i, err))
	case retry, handBack:
		line := log.Warn()
		if trouble, ok := errors.AsType[*fetch.Error](err); ok && trouble.Authenticated && trouble.Status == http.StatusUnauthorized {
			// Every medium of the account will fail until somebody mends it.
			line = log.Error().Str("hint", "upstream refuses the account's token: check MMSPIPE_ACCOUNTS; the job waits")
		}
		line.Err(err).Int("index", i).Msg("medium not stored yet")
		return result
	}
	// The record comes last: whoever sees it can read the blobs. Another worker
	// may have been faster, or the medium deleted meanwhile.
	put := w.Store.CreateMedia
	if damaged {
		put = w.replaceMedia
	}
	record, created, err := put(ctx, record)
	if err != nil {
		return w.judge(ctx, d, err)
	}
	if created {
		log.Info().Int64("bytes", record.Size).Str("type", record.ContentType).Str("note", record.Note).
			Int("variants", len(record.Variants)).Int64("ms", record.Milliseconds).Msg("stored")
	}
	return w.judge(ctx, d, w.finish(ctx, d, record))
}

// finish announces a record, or clears up after a medium that was deleted while
// this worker built it.
func (w *Worker) finish(ctx context.Context, d *stream.Delivery, record store.Media) error {
	if w.poison.suspects(d) { // the note of one that was kept as it came
		if err := w.endFit(ctx, &record); err != nil {
			return err
		}
	}
	if !record.Deleted.IsZero() {
		return w.Store.DeleteBlobs(ctx, record.Account, record.Message, record.SID)
	}
	again := record.Announced != 0 && d.Kind == stream.Replay
	record, err := w.announce(ctx, record)
	if err == nil && again { // it was damaged, and is as it was
		err = w.forgetFailure(ctx, record)
	}
	return err
}

// announce publishes the stored event of a record that has none, and notes it in
// the record, be it a tombstone by now.
func (w *Worker) announce(ctx context.Context, record store.Media) (store.Media, error) {
	if record.Announced != 0 {
		return record, nil
	}
	sequence, err := w.Streams.Publish(ctx, storedEvent(record))
	if err != nil {
		return record, err
	}
	late := false // the deletion was announced before this
	record, err = w.Store.UpdateMedia(ctx, record.Account, record.Message, record.SID, func(m *store.Media) error {
		late = m.Removed != 0 && m.Announced != sequence
		m.Announced = sequence
		return nil
	})
	if err == nil && late {
		_, err = w.Streams.RemoveEvent(ctx, sequence, record.Message)
	}
	if err != nil {
		return record, err
	}
	return record, w.forgetFailure(ctx, record)
}

// forgetFailure takes a failure of an earlier Job from the Message record of a
// medium that is stored.
func (w *Worker) forgetFailure(ctx context.Context, record store.Media) error {
	_, err := w.Store.UpdateMessage(ctx, record.Account, record.Message, func(m *store.Message) error {
		over, ok := m.Failures[record.SID]
		if !ok {
			return errUnchanged
		}
		delete(m.Failures, record.SID)
		m.Events = append(m.Events, over.Announced)
		return nil
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return err
}

// errUnchanged ends an update that has nothing to change.
var errUnchanged = errors.New("nothing to change")

// build fetches a medium, makes its variants and stores the blobs. The record it
// returns is not stored yet.
func (w *Worker) build(ctx context.Context, d *stream.Delivery, hook webhook, i int, sid store.MediaSID, own bool) (store.Media, error) {
	start := time.Now()
	record := store.Media{
		Account: hook.account, Message: hook.message, SID: sid, Index: i,
		Attempts: d.Attempt, DateCreated: start.UTC(),
	}
	spool, err := w.newSpool()
	if err != nil {
		return record, err
	}
	defer spool.Close()

	declared, err := w.original(ctx, hook.media[i], &record, spool, func(spool *os.File) (fetch.Response, error) {
		return w.Fetcher.Fetch(ctx, hook.media[i].url, w.credentials(d, own), spool)
	})
	if err != nil {
		return record, err
	}
	if err := w.fit(ctx, d, hook, declared, &record, spool); err != nil {
		return record, err
	}
	record.Milliseconds = time.Since(start).Milliseconds()
	record.DateUpdated = time.Now().UTC()
	return record, nil
}

// newSpool opens a file for a medium in hand. It has no name any more: it stays while
// it is open, and no crash leaves it behind.
func (w *Worker) newSpool() (*os.File, error) {
	spool, err := os.CreateTemp(w.TempDir, "medium-*")
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	_ = os.Remove(spool.Name())
	return spool, nil
}

// original makes sure that the original is stored, and copies it to spool. One
// that is stored already is adopted: what its URL answers now may be something
// else. It returns the type that the medium's host, or else the reference, claims.
func (w *Worker) original(ctx context.Context, ref mediaRef, record *store.Media, spool *os.File, get func(*os.File) (fetch.Response, error)) (declared string, err error) {
	declared = ref.contentType
	adopted, err := w.adopt(ctx, record, spool)
	if adopted || err != nil {
		return declared, err
	}
	start := time.Now()
	response, err := get(spool)
	if err != nil {
		return declared, fmt.Errorf("fetch medium %d: %w", record.Index, err)
	}
	zerolog.Ctx(ctx).Debug().Int64("bytes", response.Size).Bool("cached", response.Cached).Dur("ms", time.Since(start)).Msg("fetched")
	if response.ContentType != "" {
		declared = response.ContentType
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return declared, fmt.Errorf("spool: %w", err)
	}
	record.Blob, adopted, err = w.Store.PutBlob(ctx, record.Account, record.Message, record.SID, store.Original, spool, response.Size)
	if err == nil && adopted {
		_, err = w.adopt(ctx, record, spool) // another worker's original was first
	}
	return declared, err
}

// adopt copies a stored original to spool, if there is one.
func (w *Worker) adopt(ctx context.Context, record *store.Media, spool *os.File) (bool, error) {
	original, size, err := w.Store.OpenBlob(ctx, record.Account, record.Message, record.SID, store.Original)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer original.Close()
	if err := spool.Truncate(0); err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(spool, sum), original)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return false, fmt.Errorf("read original of %s: %w", record.SID, err)
	}
	record.Blob = store.Blob{Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}
	return true, nil
}

// credentials returns those of the account for a medium at its own address
// upstream, and none for any other. While two tokens are valid they take turns.
func (w *Worker) credentials(d *stream.Delivery, own bool) *fetch.Credentials {
	tokens := w.Accounts[d.Account]
	if !own || len(tokens) == 0 {
		return nil
	}
	return &fetch.Credentials{Username: d.Account.String(), Password: tokens[(d.Attempt-1)%len(tokens)]}
}

// fail records that a medium was given up, and announces it.
func (w *Worker) fail(ctx context.Context, d *stream.Delivery, sid store.MediaSID, i int, why error) error {
	failure := store.Failure{Index: i, Detail: why.Error(), Attempts: d.Attempt, Job: d.Sequence, Date: time.Now().UTC()}
	if trouble, ok := errors.AsType[*fetch.Error](why); ok {
		failure.Reason, failure.Status = string(trouble.Reason), trouble.Status
	}
	message, err := w.Store.UpdateMessage(ctx, d.Account, d.Message, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return errDeleted
		}
		if m.Failures == nil {
			m.Failures = map[store.MediaSID]store.Failure{}
		}
		if earlier := m.Failures[sid].Announced; earlier != 0 {
			m.Events = append(m.Events, earlier)
		}
		m.Failures[sid] = failure
		return nil
	})
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Error().Err(why).Str("reason", failure.Reason).Msg("medium failed")
	return w.announceFailure(ctx, message, sid, failure)
}

// announceFailure publishes the failed event of a failure that has none, and
// notes it in the Message record.
func (w *Worker) announceFailure(ctx context.Context, message store.Message, sid store.MediaSID, failure store.Failure) error {
	if failure.Announced != 0 {
		return nil
	}
	sequence, err := w.Streams.Publish(ctx, failedEvent(message, sid, failure))
	if err != nil {
		return err
	}
	message, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		// The medium may have been stored meanwhile, or given up by another Job.
		if now, ok := m.Failures[sid]; !ok || now.Job != failure.Job {
			m.Events = append(m.Events, sequence)
			return nil
		}
		failure.Announced = sequence
		m.Failures[sid] = failure
		return nil
	})
	if err != nil {
		return err
	}
	return w.withdraw(ctx, message, sequence)
}
