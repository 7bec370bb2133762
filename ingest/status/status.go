// Package status notes what a status callback says of a message.
//
// A status never moves backwards in the record. In the feed and at the application each
// status is told once, in the order in which the callbacks come, be it a late one: so
// does the provider.
package status

import (
	"context"
	"strconv"
	"time"

	"mmspipe/ingest/forward"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// Recorder notes statuses. Its fields are required.
type Recorder struct {
	Store        *store.Store
	Feed         *feed.Feed
	Streams      *stream.Streams
	Applications forward.Applications
}

// Record notes a status of a message since a time: in its record, in the feed, and in a
// Job that tells whoever posted the message. The callback has the message's own SID.
// Doing it again is harmless.
func (r *Recorder) Record(ctx context.Context, m store.Message, hook webhook.Webhook, at time.Time) error {
	m, err := r.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() || !m.Advance(hook.Status) {
			return store.ErrUnchanged
		}
		m.DateUpdated = at
		m.ErrorCode, _ = strconv.Atoi(hook.Form.Get("ErrorCode"))
		m.ErrorMessage = hook.Form.Get("ErrorMessage")
		if hook.Status != "failed" && m.DateSent.IsZero() && (m.Final() || hook.Status == "sent") {
			m.DateSent = at
		}
		return nil
	})
	if err != nil {
		return err
	}
	m, err = r.Feed.Announce(ctx, m, feed.Status(m, hook.Status, hook.Form.Get("ErrorCode"), at))
	if err != nil || m.Outgoing == nil { // the receiver has queued what is posted on of another message
		return err
	}
	if _, told := m.Forwards[hook.Status]; told || r.Applications.Of(m) == nil {
		return nil
	}
	_, err = r.Streams.PublishJob(ctx, forward.Job(r.Store, hook, false))
	return err
}
