package verify

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"mmspipe/ingest/inbound"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"
)

// undelivered is Twilio's code for a message of which nobody knows what became
// (https://www.twilio.com/docs/api/errors/30008).
const undelivered = 30008

// mendMessages makes the records of messages anew.
func (a *accountRun) mendMessages(ctx context.Context) error {
	var sids []store.MessageSID
	for sid, l := range a.messages {
		if l.record != nil {
			sids = append(sids, sid)
		}
	}
	if len(sids) == 0 {
		return nil
	}
	slices.SortFunc(sids, func(a, b store.MessageSID) int { return strings.Compare(a.String(), b.String()) })
	traces, err := a.Store.Traces(ctx, a.account, sids)
	if err != nil {
		return err
	}
	for _, sid := range sids {
		l := a.messages[sid]
		f := Finding{Message: sid, What: "record", Why: l.record.Error()}
		if a.Fix {
			if f.Done, err = a.mendMessage(ctx, sid, l, traces[sid]); err != nil {
				return err
			}
		}
		a.tell(f)
	}
	return nil
}

// mendMessage makes the record of one message anew and tells what became of it. It is left
// alone while the provider cannot be asked.
func (a *accountRun) mendMessage(ctx context.Context, sid store.MessageSID, l *lost, trace store.Trace) (string, error) {
	told, err := feed.MessageFrom(a.account, sid, l.events)
	if err != nil {
		return "", err
	}
	media, err := a.mediaOf(ctx, sid)
	if err != nil {
		return "", err
	}
	if l.wasDeleted(told, media, trace) {
		_, err := a.Store.RebuildMessage(ctx, store.Message{
			Account: a.account, SID: sid, DateCreated: cmp.Or(told.DateCreated, a.at), DateUpdated: a.at, Deleted: a.at,
			Announced: told.Announced, Events: told.OtherEvents(), Erased: told.Announced == 0, // else it was deleted, and the feed may keep that it came
		}, a.at)
		return Mended, err
	}
	m, whole, err := a.recall(ctx, told, media)
	if err != nil {
		a.Log.Error().Err(err).Stringer("messageSid", sid).Msg("the provider cannot be asked for a message whose record is lost; it is left")
		return Left, ctx.Err()
	}
	if m.DateCreated = cmp.Or(trace.Created, m.DateCreated); m.DateCreated.IsZero() {
		m.DateCreated = oldest(media, a.at)
	}
	m.DateUpdated = cmp.Or(m.DateUpdated, m.DateCreated)
	if !whole {
		m.FromHash, m.ToHash = cmp.Or(trace.FromHash, m.FromHash), cmp.Or(trace.ToHash, m.ToHash)
	}
	m.NumMedia = max(m.NumMedia, len(media.live))
	if m, err = a.Store.RebuildMessage(ctx, m, a.at); err != nil {
		return "", err
	}
	if _, err := a.Feed.Announce(ctx, m); err != nil && !errors.Is(err, store.ErrDeleted) {
		return "", err
	}
	if whole {
		return Mended, nil
	}
	return Quarantined, nil
}

// wasDeleted tells whether a lost record was a tombstone, as far as there are signs: a
// message that is visible has entries in the index, or media. Of one whose record is not
// there at all the index may be lost too, and what the feed tells of it counts.
func (l *lost) wasDeleted(told store.Message, media mediaHere, trace store.Trace) bool {
	if !trace.Created.IsZero() || len(media.live) > 0 {
		return false
	}
	deleted := slices.ContainsFunc(l.events, func(e stream.Entry) bool { return e.Type == stream.EventDeleted })
	return !l.missing || deleted || told.Announced == 0
}

// mediaHere is what there is of a message's media.
type mediaHere struct {
	live    []store.MediaKey // but for tombstones
	records []store.Media    // that can be read; no tombstones
}

func (a *accountRun) mediaOf(ctx context.Context, sid store.MessageSID) (mediaHere, error) {
	var here mediaHere
	for key, err := range a.Store.MediaKeys(ctx, a.account, sid, store.MediaKey{}) {
		if err != nil {
			return here, err
		}
		record, err := a.Store.Media(ctx, key)
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

// oldest is when the first of some media came, or a time before which they must have.
func oldest(media mediaHere, before time.Time) time.Time {
	for _, record := range media.records {
		if record.DateCreated.Before(before) {
			before = record.DateCreated
		}
	}
	return before
}

// recall adds to what the feed tells of a message what the provider knows of it. It is
// whole if that is all that the record said.
func (a *accountRun) recall(ctx context.Context, told store.Message, media mediaHere) (m store.Message, whole bool, err error) {
	if told.Outgoing != nil {
		return a.recallOutgoing(ctx, told)
	}
	if a.API == nil {
		return told, false, nil
	}
	m, err = inbound.Recalled(ctx, a.API, a.account, told.SID, a.providers(media))
	switch {
	case isUnknown(err) && told.Direction == store.Inbound:
		return told, false, nil
	case isUnknown(err): // it was posted here, and has another SID there
		told.Outgoing = &store.Outgoing{}
		return a.recallOutgoing(ctx, told)
	case err != nil:
		return told, false, err
	}
	m.DateCreated = cmp.Or(told.DateCreated, m.DateCreated)
	m.Announced, m.Events, m.Failures = told.Announced, told.Events, told.Failures
	m.Advance(told.Status)
	return m, true, nil
}

// providers are the media that are stored under the provider's own SIDs, by their place.
func (a *accountRun) providers(media mediaHere) map[int]upstream.Media {
	kept := map[int]upstream.Media{}
	for _, record := range media.records {
		if derived, _ := a.Store.Identify(record.Account, record.Message, record.Index, ""); derived != record.SID {
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

// recallOutgoing does that for a message that a client posted. What its client gave is
// lost but for what the provider has got. One that may not have left fails: nothing tells
// what to send, or whether it was sent.
func (a *accountRun) recallOutgoing(ctx context.Context, told store.Message) (store.Message, bool, error) {
	out := told.Outgoing
	if out.Upstream.IsZero() {
		if !told.Final() {
			out.Failure = &store.Failure{
				Reason: store.ReasonDamaged, Detail: "the record was damaged, and nobody knows whether the message was sent",
				Attempts: 1, Job: uint64(a.at.UnixNano()), Date: a.at,
			}
			told.Status, told.ErrorCode, told.ErrorMessage = "failed", undelivered, "Unknown error"
		}
		// It can never be sent again as it was. Its ready event goes with the message.
		told.Events, out.Ready = append(told.Events, out.Ready), 0
		return told, false, nil
	}
	if a.API == nil {
		return told, false, nil
	}
	known, err := a.API.Message(ctx, a.account, out.Upstream)
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

// sorted yields the messages that have lost something, in an order.
func (a *accountRun) sorted() []store.MessageSID {
	return slices.SortedFunc(maps.Keys(a.messages), func(a, b store.MessageSID) int { return strings.Compare(a.String(), b.String()) })
}
