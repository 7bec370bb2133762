package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/upstream"
	"mmspipe/ingest/webhook"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	// settleTime is how long an intent is left alone before the provider is asked
	// what became of it. A status callback that names the message tells it exactly.
	// All other messages have their answers by then that were posted while the
	// provider's date of one is near enough to be this one's: a call and twice the
	// clocks' difference after the intent, and their own call.
	settleTime = 2*upstream.SendTimeout + 2*clockSkew

	// clockSkew is how far the provider's clock may be from this one's.
	clockSkew = 10 * time.Second

	// noteTimeout bounds the noting of what became of a call, which is done even when
	// the worker stops.
	noteTimeout = 10 * time.Second
)

// Sender hands messages to the provider so that each leaves at most once.
//
// An intent in the message's record comes before the call. It is taken back where the
// call certainly did not arrive, and replaced by the provider's SID where it was
// answered. Whoever finds an intent that another try has left does not know: it never
// posts again, but looks for the message at the provider.
//
// All fields up to GiveUp are required.
type Sender struct {
	Store     *store.Store
	Feed      *feed.Feed
	API       *upstream.Client
	Links     Links
	PublicURL *url.URL // where the provider's status callbacks come to
	GiveUp    time.Duration

	Settle time.Duration // settleTime if 0
}

// errClaimed says that a message of the provider's was taken for another one here,
// which was like it and whose outcome was unknown.
var errClaimed = errors.New("the provider's message belongs to another one")

// errSettling says that it is too early to ask what became of a message.
var errSettling = errors.New("waiting to learn whether the provider has the message")

// Send hands a message that is ready to the provider. What keeps it from leaving is an
// *[unsendable].
func (s *Sender) Send(ctx context.Context, d *stream.Delivery, m store.Message) error {
	switch {
	case !m.Outgoing.Upstream.IsZero():
		return nil
	case !m.Outgoing.Intent.IsZero():
		return s.resolve(ctx, d, m)
	case !time.Now().Before(validUntil(d, m)):
		return unsendableFor(codeExpired, store.ReasonExpired, "the validity period ended before the message was sent")
	}
	form, err := s.form(ctx, d, m)
	if err != nil {
		return err
	}
	if err := s.API.Turn(ctx); err != nil { // first, so that an intent is young when the call begins
		return err
	}
	if m, err = s.intend(ctx, m); err != nil {
		return err
	}
	sent, err := s.API.Create(ctx, m.Account, form)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err == nil {
		return noteSent(ctx, s.Store, s.Feed, m, sent.SID, sent.Status)
	}
	return s.unanswered(ctx, d, m, err)
}

// validUntil is when a message's validity period ends, counted from when it was posted
// here or was to be sent, or from when somebody wanted it sent again.
func validUntil(d *stream.Delivery, m store.Message) time.Time {
	if d.Kind == stream.Replay {
		return d.Queued.Add(validityOf(m))
	}
	return m.Due().Add(validityOf(m))
}

// form is what the provider is posted: all that the client posted, but for the
// media, which are those stored here, and the status callbacks, which come here.
func (s *Sender) form(ctx context.Context, d *stream.Delivery, m store.Message) (url.Values, error) {
	form := url.Values{}
	for name, values := range m.Form {
		form[name] = slices.Clone(values)
	}
	form.Del("AccountSid") // it is in the path
	form.Del("SendAt")     // that is now
	form.Del("ScheduleType")
	media, err := s.Links.Of(ctx, m)
	if err != nil {
		return nil, err
	}
	form.Del("MediaUrl")
	for _, medium := range media {
		form.Add("MediaUrl", medium.URL)
	}
	form.Set("StatusCallback", webhook.CallbackURL(s.PublicURL, s.Store, m.Account, m.SID))
	if form.Get("ValidityPeriod") != "" {
		left := max(time.Until(validUntil(d, m)), time.Second)
		form.Set("ValidityPeriod", strconv.Itoa(int(left.Seconds())))
	}
	return form, nil
}

// intend notes that the provider is about to get a message. Another worker's intent is
// errSettling: of two at the same Job only one posts it.
func (s *Sender) intend(ctx context.Context, m store.Message) (store.Message, error) {
	now := time.Now().UTC()
	return s.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		switch {
		case !m.Deleted.IsZero():
			return store.ErrDeleted
		case m.Final() || !m.Outgoing.Upstream.IsZero():
			return errOvertaken
		case !m.Outgoing.Intent.IsZero():
			return &ingest.Later{Delay: s.settle(), Err: errSettling}
		}
		m.Outgoing.Intent = now
		return nil
	})
}

// unanswered deals with a call that did not bring the provider's SID.
func (s *Sender) unanswered(ctx context.Context, d *stream.Delivery, m store.Message, why error) error {
	trouble, posted := errors.AsType[*upstream.Error](why)
	if posted && trouble.Outcome() == upstream.Unknown {
		zerolog.Ctx(ctx).Warn().Err(why).Msg("nobody knows whether the provider has the message; it is not sent again")
		return &ingest.Later{Delay: s.settle(), Err: why}
	}
	intent := m.Outgoing.Intent
	_, err := s.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if m.Outgoing == nil || !m.Outgoing.Intent.Equal(intent) {
			return store.ErrUnchanged
		}
		m.Outgoing.Intent = time.Time{}
		return nil
	})
	if err != nil {
		return err
	}
	if posted && trouble.Outcome() == upstream.Refused {
		return &unsendable{code: trouble.Code, text: trouble.Text, failure: store.Failure{
			Reason: store.ReasonUpstream, Status: trouble.Status, Detail: fmt.Sprintf("the provider refuses the message with code %d", trouble.Code),
		}}
	}
	if posted { // it is tried again as long as the message is valid, whatever the Job's age
		return &ingest.Later{Delay: ingest.RetryDelay(d.Attempt, trouble), Err: why}
	}
	return why
}

// noteSent notes the provider's SID of a message, and announces that it was sent.
func noteSent(ctx context.Context, s *store.Store, f *feed.Feed, m store.Message, sid store.MessageSID, status string) error {
	owner, err := s.Claim(ctx, m.Account, sid, m.SID)
	if err != nil {
		return err
	}
	if owner != m.SID {
		return fmt.Errorf("%w: %s is of %s", errClaimed, sid, owner)
	}
	m, err = s.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		switch {
		case m.Outgoing == nil: // deleted meanwhile
			return store.ErrDeleted
		case !m.Outgoing.Upstream.IsZero(): // by a callback, or by whoever was faster
			return store.ErrUnchanged
		}
		m.Outgoing.Upstream, m.Outgoing.Intent = sid, time.Time{}
		m.DateUpdated = time.Now().UTC()
		if isUnknown(*m) { // it is known now
			takeBack(m)
		}
		if next := *m; next.Advance(status) && !next.Final() { // an end is told by its callback
			m.Status = next.Status
		}
		return nil
	})
	if err != nil {
		return err
	}
	if m.Outgoing.Sent == 0 {
		zerolog.Ctx(ctx).Info().Stringer("upstreamSid", m.Outgoing.Upstream).Msg("sent")
	}
	_, err = f.Announce(ctx, m)
	return err
}

// isUnknown tells a message that was given up because nobody knew whether it left.
func isUnknown(m store.Message) bool {
	return m.Outgoing.Failure != nil && m.Outgoing.Failure.Reason == store.ReasonUnknown
}

// resolve finds out at the provider what became of a message that some try meant to
// post. It never posts. Exactly one message there that is none of ours must be this
// one; otherwise nobody can tell, and people are to decide.
func (s *Sender) resolve(ctx context.Context, d *stream.Delivery, m store.Message) error {
	age := time.Since(m.Outgoing.Intent)
	if age < s.settle() {
		return &ingest.Later{Delay: s.settle() - age, Err: errSettling}
	}
	found, err := s.candidates(ctx, m)
	switch {
	case err != nil && age < s.GiveUp:
		return &ingest.Later{Delay: ingest.RetryDelay(d.Attempt, err), Err: err}
	case len(found) == 1:
		zerolog.Ctx(ctx).Warn().Stringer("upstreamSid", found[0].SID).Msg("the provider has the message")
		return noteSent(ctx, s.Store, s.Feed, m, found[0].SID, found[0].Status)
	case err == nil && len(found) == 0 && age < 2*s.settle(): // it may not be listed yet
		return &ingest.Later{Delay: 2*s.settle() - age, Err: errSettling}
	}
	return &unsendable{code: codeUnknown, failure: store.Failure{
		Reason: store.ReasonUnknown,
		Detail: fmt.Sprintf("it was posted at %s without an answer, and the provider lists %d messages that may be it", m.Outgoing.Intent.Format(time.RFC3339), len(found)),
	}}
}

// candidates are the provider's messages that may be one that was posted from here
// and not answered: to the same number with the same text and as many media, made
// between the intent and the end of the call, and not known to be another one. If one
// is known to be this one, there are no others.
func (s *Sender) candidates(ctx context.Context, m store.Message) ([]upstream.Message, error) {
	since := m.Outgoing.Intent.Add(-clockSkew)
	until := m.Outgoing.Intent.Add(upstream.SendTimeout + clockSkew)
	var found []upstream.Message
	for page, err := range s.API.MessagesOf(ctx, m.Account, upstream.Parties{From: m.From, To: m.To}, since, time.Time{}) {
		if err != nil {
			return nil, err
		}
		for _, candidate := range page {
			same := candidate.Body == m.Body && candidate.NumMedia == m.NumMedia && candidate.Direction != string(store.Inbound)
			if !same || candidate.Date.Before(since.Truncate(time.Second)) || candidate.Created.After(until) {
				continue
			}
			owner, err := s.Store.Claimed(ctx, m.Account, candidate.SID)
			switch {
			case errors.Is(err, store.ErrNotFound):
				found = append(found, candidate)
			case err != nil:
				return nil, err
			case owner == m.SID:
				return []upstream.Message{candidate}, nil
			}
		}
	}
	return found, nil
}

func (s *Sender) settle() time.Duration { return cmp.Or(s.Settle, settleTime) }
