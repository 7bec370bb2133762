package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/resize"
	"mmspipe/store"

	"github.com/rs/zerolog"
)

// Medium is a medium in hand. It is for one goroutine, which closes it.
type Medium struct {
	store.MediaRef
	Try     Try
	Record  store.Media // what is known of it so far, or what is stored
	Stored  bool        // the record and its blobs are there: there is nothing to make
	Picture bool        // it can be decoded; known once its original is there

	pipeline *Pipeline
	damaged  bool // the record is stored, and its blobs are to be made again
	lost     bool // the record is stored, its original is damaged, and nobody has another
	spool    *os.File
	start    time.Time
}

// Open finds out what there is of a medium, and makes room for it on disk if there is
// anything to make.
func (p *Pipeline) Open(ctx context.Context, try Try, ref store.MediaRef) (*Medium, error) {
	m := &Medium{MediaRef: ref, Try: try, pipeline: p, start: time.Now()}
	record, err := p.Store.Media(ctx, ref.MediaKey)
	m.Stored = err == nil
	if m.Stored && try.Verify {
		err = m.clearDamage(ctx, record)
		m.Stored = !m.damaged
	}
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	case m.Stored:
		m.Record = record
		return m, nil
	}
	m.Record = store.Media{
		Account: ref.Account, Message: ref.Message, SID: ref.Media, Index: ref.Index, Attempts: try.Attempt, DateCreated: m.start.UTC(),
	}
	// The file has no name any more: it stays while it is open, and no crash leaves
	// it behind.
	if m.spool, err = os.CreateTemp(p.TempDir, "medium-*"); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	_ = os.Remove(m.spool.Name())
	return m, nil
}

// Close frees the room on disk.
func (m *Medium) Close() {
	if m.spool != nil {
		m.spool.Close()
	}
}

// clearDamage removes the blobs of a record that are not what it says, so that
// they can be made again. Without its original a medium is fetched anew: the damaged one
// goes into quarantine, because the host may not have it any more.
func (m *Medium) clearDamage(ctx context.Context, record store.Media) error {
	if !record.Deleted.IsZero() {
		return nil
	}
	names, err := m.pipeline.Store.Damaged(ctx, record)
	if err != nil || len(names) == 0 {
		return err
	}
	log := zerolog.Ctx(ctx).Error().Strs("blobs", names)
	if slices.Contains(names, store.Original) && !record.UpstreamDeleted.IsZero() {
		// Nobody has another copy: what is left of it is better than nothing.
		log.Msg("medium is damaged and the provider's copy is deleted; it stays as it is")
		m.lost = true
		return nil
	}
	log.Msg("medium is damaged; it is made again")
	m.damaged = true
	if slices.Contains(names, store.Original) {
		return m.pipeline.Store.QuarantineBlobs(ctx, record.Key(), time.Now())
	}
	for _, name := range names {
		if err := m.pipeline.Store.DeleteBlob(ctx, record.Key(), name); err != nil {
			return err
		}
	}
	return nil
}

// ErrEmpty is the error of a medium without a byte, which is never stored. A host may
// have more of it later.
var ErrEmpty = errors.New("it has no bytes")

// Original makes sure that the original is stored, has it at hand, and tells its type.
// One that is stored already is adopted: what its URL answers now may be something else.
// Otherwise get writes it to a file. One without a byte is [ErrEmpty].
func (m *Medium) Original(ctx context.Context, get func(*os.File) (fetch.Response, error)) error {
	declared := []string{m.ContentType}
	adopted, err := m.adopt(ctx)
	if err != nil {
		return err
	}
	if !adopted {
		start := time.Now()
		response, err := get(m.spool)
		if err != nil {
			return fmt.Errorf("fetch medium %d: %w", m.Index, err)
		}
		zerolog.Ctx(ctx).Debug().Int64("bytes", response.Size).Bool("cached", response.Cached).Dur("ms", time.Since(start)).Msg("fetched")
		if response.Size == 0 {
			return fmt.Errorf("medium %d: %w", m.Index, ErrEmpty)
		}
		declared = []string{response.ContentType, m.ContentType}
		if err := m.putOriginal(ctx, response.Size); err != nil {
			return err
		}
	}
	head, err := m.Head()
	if err != nil {
		return err
	}
	m.Record.ContentType = ContentType(head, declared...)
	m.Picture = resize.Sniff(head) != ""
	return nil
}

// putOriginal stores what was fetched. Another worker may be first: its original is
// adopted.
func (m *Medium) putOriginal(ctx context.Context, size int64) error {
	if _, err := m.spool.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	blob, adopted, err := m.pipeline.Store.PutBlob(ctx, m.MediaKey, store.Original, m.spool, size)
	if err != nil {
		return err
	}
	if m.Record.Blob = blob; adopted {
		_, err = m.adopt(ctx)
	}
	return err
}

// adopt copies a stored original to the spool, if there is one.
func (m *Medium) adopt(ctx context.Context) (bool, error) {
	original, size, err := m.pipeline.Store.OpenBlob(ctx, m.MediaKey, store.Original)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer original.Close()
	if err := m.spool.Truncate(0); err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	if _, err := m.spool.Seek(0, io.SeekStart); err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(m.spool, sum), original)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return false, fmt.Errorf("read original of %s: %w", m.Media, err)
	}
	m.Record.Blob = store.Blob{Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}
	return true, nil
}

// Head reads as much of the original as its type is told from.
func (m *Medium) Head() ([]byte, error) {
	head := make([]byte, sniffLength)
	n, err := m.spool.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return head[:n], nil
}

// Put stores the record and announces it. The record comes last: whoever sees it can
// read the blobs. Another worker may have been faster, or the medium deleted meanwhile:
// then the stored record stays.
func (m *Medium) Put(ctx context.Context) error {
	m.Record.Milliseconds, m.Record.DateUpdated = time.Since(m.start).Milliseconds(), time.Now().UTC()
	put := m.pipeline.Store.CreateMedia
	if m.damaged {
		put = m.pipeline.replace
	}
	record, made, err := put(ctx, m.Record)
	if err != nil {
		return err
	}
	m.Record = record
	if made {
		zerolog.Ctx(ctx).Info().Stringer("mediaSid", record.SID).Int64("bytes", record.Size).Str("type", record.ContentType).
			Str("note", record.Note).Int("variants", len(record.Variants)).Int64("ms", record.Milliseconds).Msg("stored")
	}
	return m.Finish(ctx)
}

// replace stores what was made again in place of a damaged record. It is announced again
// only if it is not what was announced.
func (p *Pipeline) replace(ctx context.Context, again store.Media) (stored store.Media, changed bool, err error) {
	stored, err = p.Store.UpdateMedia(ctx, again.Key(), func(m *store.Media) error {
		if changed = m.Deleted.IsZero(); !changed {
			return store.ErrUnchanged
		}
		if m.SHA256 != again.SHA256 {
			m.Announced = 0
		}
		m.ContentType, m.Blob, m.Width, m.Height, m.Variants, m.Note = again.ContentType, again.Blob, again.Width, again.Height, again.Variants, again.Note
		m.DateUpdated = again.DateUpdated
		return nil
	})
	return stored, changed, err
}

// Finish announces the record, and takes an earlier failure of the medium from its
// message. Of a medium that was deleted meanwhile it removes what this worker stored.
func (m *Medium) Finish(ctx context.Context) error {
	if m.Try.Abandoned { // the note of a picture that was kept as it came
		if err := m.endFit(ctx); err != nil {
			return err
		}
	}
	if !m.Record.Deleted.IsZero() {
		return m.pipeline.Store.DeleteBlobs(ctx, m.MediaKey)
	}
	announced := m.Record.Announced != 0
	record, err := m.pipeline.Feed.AnnounceMedia(ctx, m.Record)
	if err != nil {
		return err
	}
	m.Record = record
	if m.lost || announced && !m.Try.Verify { // what is lost stays a failure
		return nil
	}
	return m.pipeline.Store.RemoveFailure(ctx, m.MediaKey)
}
