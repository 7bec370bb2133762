package verify

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"mmspipe/ingest/inbound"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// undelivered is Twilio's code for a message whose fate nobody knows
// (https://www.twilio.com/docs/api/errors/30008).
const undelivered = 30008

// message makes the record of a message again, and returns what became of it. It leaves
// the record alone while the provider cannot be asked.
func (r *repairer) message(ctx context.Context, sid store.MessageSID, l *lost, trace store.Trace) (string, error) {
	told, err := feed.MessageFrom(r.account, sid, l.events)
	if err != nil {
		return "", err
	}
	media, err := r.mediaOf(ctx, sid)
	if err != nil {
		return "", err
	}
	if l.wasDeleted(told, media, trace) {
		_, err := r.Store.RebuildMessage(ctx, store.Message{
			Account: r.account, SID: sid, DateCreated: cmp.Or(told.DateCreated, r.at), DateUpdated: r.at, Deleted: r.at,
			Announced: told.Announced, Events: told.OtherEvents(), Erased: told.Announced == 0, // else it was deleted, and the feed may keep that it came
		}, r.at)
		return Mended, err
	}
	m, whole, err := r.fromProvider(ctx, told, media)
	if err != nil {
		r.Log.Error().Err(err).Stringer("messageSid", sid).Msg("the provider cannot be asked for a message whose record is lost; it is left")
		return Left, ctx.Err()
	}
	if m.DateCreated = cmp.Or(trace.Created, m.DateCreated); m.DateCreated.IsZero() {
		m.DateCreated = oldest(media, r.at)
	}
	m.DateUpdated = cmp.Or(m.DateUpdated, m.DateCreated)
	if !whole {
		m.FromHash, m.ToHash = cmp.Or(trace.FromHash, m.FromHash), cmp.Or(trace.ToHash, m.ToHash)
	}
	m.NumMedia = max(m.NumMedia, len(media.live))
	if m, err = r.Store.RebuildMessage(ctx, m, r.at); err != nil {
		return "", err
	}
	if _, err := r.Feed.Announce(ctx, m); err != nil && !errors.Is(err, store.ErrDeleted) {
		return "", err
	}
	if whole {
		return Mended, nil
	}
	return Quarantined, nil
}

// wasDeleted tells whether a lost record was a tombstone, as far as there are signs. A
// message that is visible has entries in the index, or media. If the record is not there
// at all, the index may be lost too, and then the feed decides.
func (l *lost) wasDeleted(told store.Message, media storedMedia, trace store.Trace) bool {
	if !trace.Created.IsZero() || len(media.live) > 0 {
		return false
	}
	deleted := slices.ContainsFunc(l.events, func(e stream.Entry) bool { return e.Type == stream.EventDeleted })
	return !l.missing || deleted || told.Announced == 0
}

// storedMedia is what the bucket has of a message's media.
type storedMedia struct {
	live    []store.MediaKey // all but tombstones
	records []store.Media    // those of them that can be read
}

func (r *repairer) mediaOf(ctx context.Context, sid store.MessageSID) (storedMedia, error) {
	var here storedMedia
	for key, err := range r.Store.MediaKeys(ctx, r.account, sid, store.MediaKey{}) {
		if err != nil {
			return here, err
		}
		record, err := r.Store.Media(ctx, key)
		switch {
		case err == nil && !record.Deleted.IsZero():
			continue
		case err == nil:
			here.records = append(here.records, record)
		case !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotFound):
			return here, err
		}
		here.live = append(here.live, key)
	}
	return here, nil
}

// oldest returns when the first of some media came, or before if none came earlier.
func oldest(media storedMedia, before time.Time) time.Time {
	for _, record := range media.records {
		if record.DateCreated.Before(before) {
			before = record.DateCreated
		}
	}
	return before
}

// fromProvider adds what the provider knows of a message to what the feed says of it. The
// message is whole if that is all that the record said.
func (r *repairer) fromProvider(ctx context.Context, told store.Message, media storedMedia) (m store.Message, whole bool, err error) {
	if told.Outgoing != nil {
		return r.outgoingFromProvider(ctx, told)
	}
	if r.API == nil {
		return told, false, nil
	}
	m, err = inbound.Recalled(ctx, r.API, r.account, told.SID, r.providerMedia(media))
	switch {
	case isUnknown(err) && told.Direction == store.Inbound:
		return told, false, nil
	case isUnknown(err): // it was posted here, and has another SID there
		told.Outgoing = &store.Outgoing{}
		return r.outgoingFromProvider(ctx, told)
	case err != nil:
		return told, false, err
	}
	m.DateCreated = cmp.Or(told.DateCreated, m.DateCreated)
	m.Announced, m.Events, m.Failures = told.Announced, told.Events, told.Failures
	m.Advance(told.Status)
	return m, true, nil
}

// providerMedia returns the media that are stored under the provider's own SIDs, by their place.
func (r *repairer) providerMedia(media storedMedia) map[int]upstream.Media {
	kept := map[int]upstream.Media{}
	for _, record := range media.records {
		if derived, _ := r.Store.Identify(record.Account, record.Message, record.Index, ""); derived != record.SID {
			kept[record.Index] = upstream.Media{SID: record.SID, ContentType: record.ContentType}
		}
	}
	return kept
}

// isUnknown tells whether the provider does not have a message.
func isUnknown(err error) bool {
	trouble, ok := errors.AsType[*upstream.Error](err)
	return ok && trouble.Status == http.StatusNotFound
}

// outgoingFromProvider does the same for a message that a client posted. Only what the
// provider was given is left of it. If the provider may not have the message, it fails:
// nobody knows what to send, or whether it was sent.
func (r *repairer) outgoingFromProvider(ctx context.Context, told store.Message) (store.Message, bool, error) {
	out := told.Outgoing
	if out.Upstream.IsZero() {
		if !told.Final() {
			out.Failure = &store.Failure{
				Reason: store.ReasonDamaged, Detail: "the record was damaged, and nobody knows whether the message was sent",
				Attempts: 1, Job: uint64(r.at.UnixNano()), Date: r.at,
			}
			told.Status, told.ErrorCode, told.ErrorMessage = "failed", undelivered, "Unknown error"
		}
		// It can never be sent again as it was. Its ready event goes with the message.
		told.Events, out.Ready = append(told.Events, out.Ready), 0
		return told, false, nil
	}
	if r.API == nil {
		return told, false, nil
	}
	known, err := r.API.Message(ctx, r.account, out.Upstream)
	if isUnknown(err) {
		return told, false, nil
	}
	if err != nil {
		return told, false, err
	}
	told.From, told.To, told.Body, told.FromHash, told.ToHash = known.From, known.To, known.Body, "", ""
	told.DateSent = known.Date
	told.Advance(known.Status)
	told.Form = map[string][]string{"From": {known.From}, "To": {known.To}, "Body": {known.Body}}
	return told, false, nil
}
