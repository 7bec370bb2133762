// Package store keeps the records of messages and media and their blobs in a
// bucket: a directory or an S3 service.
//
// # The invariant
//
// A visible Media record implies its blobs: they are there, and have the size
// and the SHA-256 that the record says. Who stores a medium keeps to this
// order, and may be stopped at any point and begin again:
//
//  1. [Store.CreateMessage]
//  2. [Store.PutBlob] for the original, then for each variant. A blob that is
//     there already is never replaced but adopted: the record must be made from
//     what PutBlob returns, and variants from the stored original.
//  3. [Store.CreateMedia].
//  4. After the event is published: [Store.UpdateMedia], which sets Announced.
//
// Whoever finds a tombstone, in step 3 or when a job is done again, calls
// [Store.DeleteBlobs] and announces nothing: blobs may have been put after the
// deletion was through.
//
// Who deletes a medium first turns its record into a tombstone (sets Deleted,
// by UpdateMedia, or by CreateMedia where there is no record yet) and then calls
// DeleteBlobs. Tombstones stay: a late worker finds them.
//
// # Concurrency
//
// Records are written only if they are absent or unchanged since they were
// read, so any number of workers may do the same job at once. Nothing here
// waits for a lock of another process.
//
// # Errors
//
// Reads of what is not there wrap [ErrNotFound], and reads of a record that is not
// the one of its key wrap [ErrDamaged]: walks go on after it, and only a deletion
// writes over it. Every other error is the bucket's: nothing is known of whether a
// write took effect, and doing it again is always right.
package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"mmspipe/store/number"
)

// Store keeps records and blobs in a [Bucket]. Its methods may be called at
// once from many goroutines.
type Store struct {
	// Upstream is the origin of the provider's API, by which [Store.Identify] knows
	// the provider's own addresses of media. Set it before use; if it is nil, no
	// address is the provider's.
	Upstream *url.URL

	// Region is where numbers without a country code are. Set it before the Store is
	// used. Another one later leaves messages under such numbers in their old places in
	// the index, until they are indexed again.
	Region number.Region

	bucket Bucket
	secret []byte
}

// New returns a Store over b. The secret derives the SIDs of media that come
// without one of the provider's (see [Store.Identify]): with another secret,
// messages that are received again get other keys.
func New(b Bucket, secret []byte) *Store {
	return &Store{bucket: b, secret: bytes.Clone(secret)}
}

// Ping returns nil if the bucket answers. It costs one call and reads nothing
// that is stored.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := s.bucket.List(ctx, pingKey, "", 1); err != nil {
		return fmt.Errorf("ping bucket: %w", err)
	}
	return nil
}

// CreateMedia stores m if there is no record of that medium yet and returns it
// and true. Otherwise it returns the stored record, which may be a tombstone
// (Deleted is set), and false. The blobs of m must have been stored.
func (s *Store) CreateMedia(ctx context.Context, m Media) (stored Media, created bool, err error) {
	stored, err = s.putMedia(ctx, m, IfAbsent())
	if errors.Is(err, ErrPrecondition) {
		stored, err = s.Media(ctx, m.Key())
		return stored, false, err
	}
	return stored, err == nil, err
}

// Media returns the record of a medium, which may be a tombstone, or
// [ErrNotFound]. With [ErrDamaged] comes a Media of which only the key is known.
func (s *Store) Media(ctx context.Context, medium MediaKey) (Media, error) {
	m, etag, err := load(ctx, s.bucket, medium.record(), func(m Media) bool { return m.Key() == medium })
	if errors.Is(err, ErrDamaged) {
		m.Account, m.Message, m.SID = medium.Account, medium.Message, medium.Media
	}
	m.etag = etag
	return m, err
}

// UpdateMedia is to a Media record what [Store.UpdateMessage] is to a Message.
func (s *Store) UpdateMedia(ctx context.Context, medium MediaKey, change func(*Media) error) (Media, error) {
	for {
		m, err := s.Media(ctx, medium)
		if err != nil {
			return Media{}, err
		}
		was := m
		if err := change(&m); errors.Is(err, ErrUnchanged) {
			return was, nil
		} else if err != nil {
			return Media{}, err
		}
		m.Account, m.Message, m.SID = medium.Account, medium.Message, medium.Media
		stored, err := s.putMedia(ctx, m, IfMatch(m.etag))
		if !errors.Is(err, ErrPrecondition) {
			return stored, err
		}
	}
}

// DeleteMedia makes the record of a medium a tombstone of the time at, which must not be
// zero, unless it is one. It returns the tombstone; that of a damaged record has
// EventsUnknown set. An absent record is [ErrNotFound]. The blobs stay; see
// [Store.DeleteBlobs].
func (s *Store) DeleteMedia(ctx context.Context, medium MediaKey, at time.Time) (Media, error) {
	m, err := s.UpdateMedia(ctx, medium, func(m *Media) error {
		if !m.Deleted.IsZero() {
			return ErrUnchanged
		}
		m.Deleted = at
		return nil
	})
	if !errors.Is(err, ErrDamaged) {
		return m, err
	}
	damaged, err := s.Media(ctx, medium)
	if !errors.Is(err, ErrDamaged) { // it was mended or removed meanwhile
		return damaged, errors.Join(err, ErrPrecondition)
	}
	return s.putMedia(ctx, Media{
		Account: medium.Account, Message: medium.Message, SID: medium.Media, DateCreated: at, DateUpdated: at, Deleted: at, EventsUnknown: true,
	}, IfMatch(damaged.etag))
}

func (s *Store) putMedia(ctx context.Context, m Media, cond Condition) (_ Media, err error) {
	m.Revision = rand.Text()
	m.etag, err = save(ctx, s.bucket, m.Key().record(), m, cond)
	if err != nil {
		return Media{}, err
	}
	return m, nil
}

// ListMedia returns the records of a message's media by SID, tombstones left
// out. A message without media, or that is not known, has none. With an [ErrDamaged]
// come all records that can be read.
func (s *Store) ListMedia(ctx context.Context, account AccountSID, message MessageSID) ([]Media, error) {
	list, err := s.ListMediaRecords(ctx, account, message)
	list = slices.DeleteFunc(list, func(m Media) bool { return !m.Deleted.IsZero() })
	return slices.Clip(list), err
}

// ListMediaRecords is [Store.ListMedia] with the tombstones.
func (s *Store) ListMediaRecords(ctx context.Context, account AccountSID, message MessageSID) ([]Media, error) {
	var list []Media
	var damaged error
	for o, err := range walk(ctx, s.bucket, mediaFolder(account, message), "", maxPage) {
		if err != nil {
			return nil, err
		}
		key, name, ok := ParseMediaKey(o.Key)
		if !ok || name != "" {
			continue
		}
		m, err := s.Media(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound): // removed since it was listed
		case errors.Is(err, ErrDamaged):
			damaged = errors.Join(damaged, err)
		case err != nil:
			return nil, err
		default:
			list = append(list, m)
		}
	}
	return list, damaged
}

// load reads the record under key, for which belongs must be true. Otherwise, or if it
// cannot be read, it is [ErrDamaged], and comes with its ETag alone.
func load[T any](ctx context.Context, b Bucket, key string, belongs func(T) bool) (record T, etag string, err error) {
	r, o, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		return record, "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return record, "", fmt.Errorf("read record %s: %w", key, err)
	}
	err = json.Unmarshal(data, &record)
	if err == nil && !belongs(record) {
		err = errors.New("it belongs elsewhere")
	}
	if err != nil {
		return *new(T), o.ETag, fmt.Errorf("record %s is %w: %w", key, ErrDamaged, err)
	}
	return record, o.ETag, nil
}

// save writes a record under key if cond holds.
func save(ctx context.Context, b Bucket, key string, record any, cond Condition) (etag string, err error) {
	data, err := json.Marshal(record)
	if err != nil {
		return "", fmt.Errorf("write record %s: %w", key, err)
	}
	o, err := b.Put(ctx, key, bytes.NewReader(data), int64(len(data)), cond)
	return o.ETag, err
}
