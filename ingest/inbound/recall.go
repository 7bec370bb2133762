package inbound

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/media"
	"mmspipe/ingest/upstream"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// errLate says that media are not there yet that a message is said to have.
var errLate = errors.New("the provider does not list all media of the message yet")

// hasLeft are the statuses of a message whose media the provider lists, because it has
// read them.
var hasLeft = []string{"sent", "delivered", "undelivered", "read"}

// Elsewhere takes a status callback of a message that no client posted to this API: it
// was sent through the provider itself. M is its record, if it has one. Once the message
// has left, its record is made and its media are stored; before that the provider lists
// none.
func (h *Handler) Elsewhere(ctx context.Context, d *stream.Delivery, hook webhook.Webhook, m store.Message) error {
	// 1. The record, from what the provider knows of the message.
	unknown := m.SID.IsZero()
	if unknown && (h.API == nil || !slices.Contains(hasLeft, hook.Status)) {
		return h.announceStatus(ctx, d, hook)
	}
	if unknown {
		var err error
		if m, err = h.recall(ctx, d); err != nil {
			if refused := h.refused(ctx, d, err); refused != nil {
				return refused
			}
			return h.announceStatus(ctx, d, hook) // it is gone there
		}
	}
	m, err := h.Feed.Announce(ctx, m)
	if err != nil {
		return err
	}
	// 2. Its media, unless all are stored or given up.
	settled, err := h.settled(ctx, m)
	if err == nil && !settled {
		err = h.Media.StoreAll(ctx, media.TryOf(d), m)
	}
	if err != nil {
		return err
	}
	// 3. The status itself.
	return h.Status.Record(ctx, m, hook, d.Queued)
}

// announceStatus announces a status of a message without a record.
func (h *Handler) announceStatus(ctx context.Context, d *stream.Delivery, hook webhook.Webhook) error {
	m := store.Message{Account: hook.Account, SID: hook.Message}
	_, err := h.Feed.Announce(ctx, m, feed.Status(m, hook.Status, hook.Form.Get("ErrorCode"), d.Queued))
	return err
}

// settled tells whether all media of a message that have a URL are stored and announced,
// deleted, or given up.
func (h *Handler) settled(ctx context.Context, m store.Message) (bool, error) {
	records, err := h.Store.ListMediaRecords(ctx, m.Account, m.SID)
	if err != nil {
		return false, err
	}
	done := 0
	for _, record := range records {
		if record.Announced != 0 || !record.Deleted.IsZero() {
			done++
		}
	}
	refs := h.Store.MediaOf(m)
	for _, ref := range refs {
		if _, failed := m.Failures[ref.Media]; failed {
			done++
		}
	}
	return done >= len(refs), nil
}

// recall makes the record of a message whose webhook never came, or that was sent
// elsewhere, with the form that its webhook would have had.
func (h *Handler) recall(ctx context.Context, d *stream.Delivery) (store.Message, error) {
	m, err := Recalled(ctx, h.API, d.Account, d.Message, nil)
	if err != nil {
		return m, err
	}
	m.DateUpdated = d.Queued
	zerolog.Ctx(ctx).Warn().Str("direction", string(m.Direction)).Time("date", m.DateCreated).Int("media", m.NumMedia).
		Msg("message is recorded from what the provider knows of it")
	m, _, err = h.Store.CreateMessage(ctx, m)
	return m, err
}

// Recalled is the record of a message as the provider knows it, with the form that its
// webhook would have had. Kept are media that are stored here, by their place among the
// message's: the provider may not have them any more. A message that it does not have is
// an [*upstream.Error] of status 404.
func Recalled(ctx context.Context, api *upstream.Client, account store.AccountSID, message store.MessageSID, kept map[int]upstream.Media) (store.Message, error) {
	known, err := api.Message(ctx, account, message)
	if err != nil {
		return store.Message{}, err
	}
	listed, err := api.Media(ctx, account, message)
	if err != nil {
		return store.Message{}, err
	}
	if len(listed) < known.NumMedia-len(kept) && time.Since(known.Date) < ingest.Propagation {
		return store.Message{}, errLate
	}
	form := url.Values{
		"AccountSid": {account.String()}, "MessageSid": {message.String()},
		"From": {known.From}, "To": {known.To}, "Body": {known.Body}, "NumMedia": {"0"},
	}
	for n, medium := range kept {
		putMedium(form, n, api.MediaURL(account, message, medium.SID), medium.ContentType)
		listed = slices.DeleteFunc(listed, func(other upstream.Media) bool { return other.SID == medium.SID })
	}
	for _, medium := range listed {
		addMedium(form, api.MediaURL(account, message, medium.SID), medium.ContentType)
	}
	hook, err := webhook.Parse(form)
	if err != nil {
		return store.Message{}, err
	}
	m := hook.Record(known.Date)
	m.Status = known.Status
	if known.Direction != string(store.Inbound) {
		m.Direction, m.DateSent = store.OutboundAPI, known.Date
	}
	return m, nil
}

// complete adds to a message the media that the provider lists and its webhook did not
// name. A message that is gone there has none.
func (h *Handler) complete(ctx context.Context, m store.Message) (store.Message, error) {
	listed, err := h.API.Media(ctx, m.Account, m.SID)
	if trouble, ok := errors.AsType[*upstream.Error](err); ok && trouble.Status == http.StatusNotFound {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	completed, err := h.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return store.ErrUnchanged
		}
		unchanged := store.ErrUnchanged
		for _, medium := range listed {
			if m.MediaIndex(medium.SID) >= 0 {
				continue
			}
			unchanged = nil
			n := addMedium(m.Form, h.API.MediaURL(m.Account, m.SID, medium.SID), medium.ContentType)
			m.NumMedia = max(m.NumMedia, n+1)
			for sid, failure := range m.Failures {
				if failure.Index == n { // for want of an address
					delete(m.Failures, sid)
					m.Events = append(m.Events, failure.Announced)
				}
			}
		}
		return unchanged
	})
	if err == nil && completed.NumMedia > m.NumMedia {
		zerolog.Ctx(ctx).Warn().Int("media", completed.NumMedia-m.NumMedia).Msg("media are added that the provider lists")
	}
	return completed, err
}

// addMedium adds a medium to a form, in the first place that has none, and returns
// that place.
func addMedium(form url.Values, address, contentType string) int {
	n := 0
	for form.Get("MediaUrl"+strconv.Itoa(n)) != "" {
		n++
	}
	putMedium(form, n, address, contentType)
	return n
}

// putMedium adds a medium to a form in a place.
func putMedium(form url.Values, n int, address, contentType string) {
	form.Set("MediaUrl"+strconv.Itoa(n), address)
	form.Set("MediaContentType"+strconv.Itoa(n), contentType)
	if declared, err := strconv.Atoi(form.Get("NumMedia")); err != nil || declared <= n {
		form.Set("NumMedia", strconv.Itoa(n+1))
	}
}

// refused announces that the provider does not have a message, if why says so for good.
// Everything else it returns: the Job is tried again.
func (h *Handler) refused(ctx context.Context, d *stream.Delivery, why error) error {
	trouble, ok := errors.AsType[*upstream.Error](why)
	if !ok || !ingest.Permanent(ctx, why, time.Since(d.Queued), h.GiveUp) {
		return why
	}
	zerolog.Ctx(ctx).Error().Err(why).Msg("the provider does not have the message")
	m := store.Message{Account: d.Account, SID: d.Message}
	_, err := h.Feed.Announce(ctx, m, feed.Failed(m, store.Failure{
		Reason: store.ReasonUpstream, Status: trouble.Status, Detail: trouble.Error(), Attempts: d.Attempt, Job: d.Sequence, Date: d.Queued,
	}))
	return err
}
