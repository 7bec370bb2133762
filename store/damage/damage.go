// Package damage is what is done about a medium whose stored bytes are not what its record
// says, whoever finds that: it is recorded as a failure of reason [store.ReasonDamaged],
// the feed tells it, and a Job is queued that makes the medium again.
//
// Nothing damaged is removed here. The Job moves a damaged original into quarantine before
// it is downloaded again, and only if the provider still has it.
package damage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// Reporter reports damage. Its fields are required. It may be used from many goroutines.
type Reporter struct {
	Store   *store.Store
	Feed    *feed.Feed
	Streams *stream.Streams
}

// Report notes that the named blobs of a medium are damaged, and queues a Job that makes
// the medium again, unless it is queued already, its last try failed for another reason,
// or nobody else has the original any more. It tells whether one is queued.
func (r *Reporter) Report(ctx context.Context, record store.Media, names ...string) (queued bool, err error) {
	failure, err := r.Note(ctx, record, names...)
	if err != nil || failure.Reason != store.ReasonDamaged || lost(record, names) {
		return false, err
	}
	run := "damaged:" + record.SID.String() + ":" + record.Revision
	_, err = r.Streams.PublishJob(ctx, stream.NewReplay(record.Account, record.Message, run))
	return err == nil, err
}

// Note records that the named blobs of a medium are damaged as a failure and has the feed
// tell it, unless a failure of the medium stands. It returns the one that stands then. A
// message that was deleted has none, and one without a record is [store.ErrNotFound].
func (r *Reporter) Note(ctx context.Context, record store.Media, names ...string) (store.Failure, error) {
	m, err := r.Store.Message(ctx, record.Account, record.Message)
	if err != nil {
		return store.Failure{}, fmt.Errorf("note damage: %w", err)
	}
	if _, failed := m.Failures[record.SID]; !failed {
		slices.Sort(names)
		m, err = r.Store.AddFailures(ctx, record.Account, record.Message, map[store.MediaSID]store.Failure{record.SID: {
			Index: record.Index, Reason: store.ReasonDamaged, Detail: describe(record, names), Attempts: 1, Date: time.Now().UTC(),
		}})
	}
	if err == nil {
		m, err = r.Feed.Announce(ctx, m)
	}
	if errors.Is(err, store.ErrDeleted) {
		return store.Failure{}, nil
	}
	return m.Failures[record.SID], err
}

// lost tells whether nobody else has what is damaged.
func lost(record store.Media, names []string) bool {
	return slices.Contains(names, store.Original) && !record.UpstreamDeleted.IsZero()
}

func describe(record store.Media, names []string) string {
	text := strings.Join(names, ", ") + ": not what the record says"
	switch {
	case lost(record, names):
		return text + "; the provider's copy is deleted"
	case slices.Contains(names, store.Original):
		return text + "; the provider's copy is kept"
	}
	return text
}
