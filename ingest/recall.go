package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// errLate says that media are not there yet that a message is said to have.
var errLate = errors.New("upstream does not list all media of the message yet")

// recall makes the record of a message whose webhook never came, or that was sent
// elsewhere, with the form that its webhook would have had.
func (w *Worker) recall(ctx context.Context, d *stream.Delivery) (store.Message, error) {
	known, err := w.API.Message(ctx, d.Account, d.Message)
	if err != nil {
		return store.Message{}, err
	}
	media, err := w.API.Media(ctx, d.Account, d.Message)
	if err != nil {
		return store.Message{}, err
	}
	if len(media) < known.NumMedia && time.Since(known.Date) < propagation {
		return store.Message{}, errLate
	}
	form := url.Values{
		"AccountSid": {d.Account.String()}, "MessageSid": {d.Message.String()},
		"From": {known.From}, "To": {known.To}, "Body": {known.Body}, "NumMedia": {"0"},
	}
	for _, m := range media {
		w.addMedia(form, d.Account, d.Message, m)
	}
	hook, err := parseWebhook(form)
	if err != nil {
		return store.Message{}, err
	}
	direction, sent := store.Inbound, time.Time{}
	if known.Direction != string(store.Inbound) {
		direction, sent = store.OutboundAPI, known.Date
	}
	zerolog.Ctx(ctx).Warn().Str("direction", known.Direction).Time("date", known.Date).Int("media", len(media)).
		Msg("message is recalled from upstream")
	message, _, err := w.Store.CreateMessage(ctx, store.Message{
		Account: d.Account, SID: d.Message, Direction: direction, Status: known.Status,
		From: known.From, To: known.To, Body: known.Body, NumMedia: len(media),
		Form: form, Fingerprint: hook.fingerprint(), DateCreated: known.Date, DateUpdated: d.Queued, DateSent: sent,
	})
	return message, err
}

// complete adds to a message the media that upstream lists and its webhook did not
// name. A message that is gone there has none.
func (w *Worker) complete(ctx context.Context, message store.Message) (store.Message, error) {
	media, err := w.API.Media(ctx, message.Account, message.SID)
	if trouble, ok := errors.AsType[*upstream.Error](err); ok && trouble.Status == http.StatusNotFound {
		return message, nil
	}
	if err != nil {
		return message, err
	}
	completed, err := w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return errUnchanged
		}
		unchanged := errUnchanged
		for _, medium := range media {
			if m.MediaIndex(medium.SID) >= 0 {
				continue
			}
			unchanged = nil
			n := w.addMedia(m.Form, m.Account, m.SID, medium)
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
	if errors.Is(err, errUnchanged) {
		return message, nil
	}
	if err == nil {
		zerolog.Ctx(ctx).Warn().Int("media", completed.NumMedia-message.NumMedia).Msg("media are added that upstream lists")
	}
	return completed, err
}

// addMedia adds a medium to a form, in the first place that has none, and returns
// that place.
func (w *Worker) addMedia(form url.Values, account store.AccountSID, message store.MessageSID, m upstream.Media) int {
	n := 0
	for form.Get("MediaUrl"+strconv.Itoa(n)) != "" {
		n++
	}
	form.Set("MediaUrl"+strconv.Itoa(n), w.API.MediaURL(account, message, m.SID))
	form.Set("MediaContentType"+strconv.Itoa(n), m.ContentType)
	if declared, err := strconv.Atoi(form.Get("NumMedia")); err != nil || declared <= n {
		form.Set("NumMedia", strconv.Itoa(n+1))
	}
	return n
}

// reportRefusal announces that upstream does not have a message, for good. There is
// no record to keep that in.
func (w *Worker) reportRefusal(ctx context.Context, d *stream.Delivery, why error) error {
	zerolog.Ctx(ctx).Error().Err(why).Msg("message can not be had from upstream")
	_, err := w.Streams.Publish(ctx, refusedEvent(d, why))
	return err
}

// refusedEvent is a failed event of a message that has no record.
func refusedEvent(d *stream.Delivery, why error) stream.Event {
	data := failedData{AccountSID: d.Account, MessageSID: d.Message, Reason: reasonUpstream, Attempts: d.Attempt}
	if trouble, ok := errors.AsType[*upstream.Error](why); ok {
		data.Status, data.Detail = trouble.Status, trouble.Error()
	}
	return stream.Event{
		Type: stream.EventFailed, Account: d.Account, ID: fmt.Sprintf("failed:%s:%s:%d", d.Account, d.Message, d.Sequence),
		Subject: d.Message.String(), Time: d.Queued, Data: data,
	}
}
