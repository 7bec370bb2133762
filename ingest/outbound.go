package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// linkLife is how long the links in a ready event open the media. The provider
// fetches them when it sends, which may be as late as the longest validity period
// after it was handed the message, 36,000 s
// (https://www.twilio.com/docs/messaging/api/message-resource#validityperiod); whoever
// sends may take as long before that. Both together are under a day.
const linkLife = 24 * time.Hour

// outbound takes an outgoing message from what its client posted to media that are
// ready, and hands it to the provider where that is wanted.
func (w *Worker) outbound(ctx context.Context, d *stream.Delivery) outcome {
	message, err := w.posted(ctx, d)
	if err != nil {
		return w.conclude(ctx, d, message, err)
	}
	return w.advance(ctx, d, message)
}

// advance takes an outgoing message on from where its record says it is. One that
// has come to an end is only looked after: what was announced of it, and the blobs of
// its media where they are to be checked.
func (w *Worker) advance(ctx context.Context, d *stream.Delivery, message store.Message) outcome {
	message, err := w.announceMessage(ctx, message)
	if err != nil {
		return w.conclude(ctx, d, message, err)
	}
	if failure := message.Outgoing.Failure; failure != nil && failure.Job == d.Sequence {
		return w.conclude(ctx, d, message, w.tellFailure(ctx, message))
	}
	if message.Outgoing.Upstream != (store.MessageSID{}) {
		if err := w.announceSent(ctx, message); err != nil {
			return w.conclude(ctx, d, message, err)
		}
	}
	if message.Final() {
		return w.mend(ctx, d, message)
	}
	if message.Outgoing.Ready == 0 || d.Kind == stream.Replay {
		if message, err = w.route(ctx, message); err == nil {
			err = w.prepare(ctx, d, message)
		}
		if err == nil {
			message, err = w.ready(ctx, d, message)
		}
	}
	// What only verifies sends nothing: another sender may have, where relaying was not
	// wanted when the message became ready.
	if err == nil && w.Relay && (d.Kind == stream.Outbound || string(d.Data) == stream.SendAgain) {
		err = w.send(ctx, d, message)
	}
	return w.conclude(ctx, d, message, err)
}

// mend makes damaged media of a message again that has come to an end. Whatever
// keeps it from that is not the message's failure any more.
func (w *Worker) mend(ctx context.Context, d *stream.Delivery, message store.Message) outcome {
	if d.Kind != stream.Replay || message.Outgoing.Ready == 0 {
		return outcome{}
	}
	err := w.prepare(ctx, d, message)
	if _, ends := errors.AsType[*unsendable](err); ends {
		zerolog.Ctx(ctx).Error().Err(err).Msg("media of a message that has left can not be made again")
		return outcome{}
	}
	return w.judge(ctx, d, err)
}

// posted makes sure of the record of a message that a client posted, and reads it.
// A tombstone is errDeleted.
func (w *Worker) posted(ctx context.Context, d *stream.Delivery) (store.Message, error) {
	message, err := w.Store.Message(ctx, d.Account, d.Message)
	if errors.Is(err, store.ErrNotFound) {
		form, wrong := url.ParseQuery(string(d.Data))
		if wrong != nil {
			return message, fmt.Errorf("parse job %d: %w", d.Sequence, wrong)
		}
		message, _, err = w.Store.CreateMessage(ctx, store.NewOutgoing(d.Account, d.Message, form, d.Queued))
	}
	switch {
	case err != nil:
		return message, err
	case !message.Deleted.IsZero():
		return message, errDeleted
	case message.Outgoing == nil:
		return message, fmt.Errorf("job %d: message %s is not one that a client posted", d.Sequence, message.SID)
	}
	return message, nil
}

// route makes sure that the profile of a message with media is chosen. Once it is, it
// stays, whatever the rules become.
func (w *Worker) route(ctx context.Context, message store.Message) (store.Message, error) {
	if message.Outgoing.Profile != "" || message.NumMedia == 0 {
		return message, nil
	}
	profile := w.Profile
	if w.Route != nil {
		profile = w.Route(message.To, message.From)
	}
	return w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return errDeleted
		}
		if m.Outgoing.Profile == "" {
			m.Outgoing.Profile = profile.Name
		}
		return nil
	})
}

// profile returns the one that was chosen.
func (w *Worker) profile(name string) (resize.Profile, error) {
	if name == "" || name == w.Profile.Name {
		return w.Profile, nil
	}
	return resize.ProfileNamed(name)
}

// ready announces that all media of a message can be had, and notes that in its
// record.
func (w *Worker) ready(ctx context.Context, d *stream.Delivery, message store.Message) (store.Message, error) {
	if message.Outgoing.Ready != 0 {
		return message, nil
	}
	media, err := w.readyMedia(ctx, message)
	if err != nil {
		return message, err
	}
	sequence, err := w.Streams.Publish(ctx, readyEvent(message, d.Queued, media, w.Relay))
	if err != nil {
		return message, err
	}
	overtaken := false
	message, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if overtaken = m.Outgoing == nil || m.Outgoing.Failure != nil; overtaken {
			m.Events = append(m.Events, sequence)
			return nil
		}
		m.Outgoing.Ready = sequence
		return nil
	})
	switch {
	case err != nil:
		return message, err
	case overtaken:
		_, err := w.Streams.RemoveEvent(ctx, sequence, message.SID)
		if !message.Deleted.IsZero() {
			return message, errors.Join(err, errDeleted)
		}
		return message, errors.Join(err, errOvertaken)
	}
	zerolog.Ctx(ctx).Info().Str("profile", message.Outgoing.Profile).Int("media", len(media)).Msg("ready")
	return message, nil
}

// conclude is [Worker.judge] on a try of an outgoing message. What keeps the message
// from leaving becomes its failure; of one that was deleted nothing stays.
func (w *Worker) conclude(ctx context.Context, d *stream.Delivery, message store.Message, err error) outcome {
	if why, ends := errors.AsType[*unsendable](err); ends && ctx.Err() == nil {
		err = w.failOutgoing(ctx, d, message, why)
	}
	if errors.Is(err, errDeleted) {
		err = w.clear(ctx, d)
	}
	return w.judge(ctx, d, err)
}

// mediaLinks returns signed links to the media of an outgoing message that is ready,
// in the order of its MediaUrls: to what was made for its profile, or to the
// original where nothing was. They open for linkLife, whatever MMSPIPE_MEDIA_AUTH
// says. A medium that was deleted meanwhile is an *[unsendable].
func (w *Worker) mediaLinks(ctx context.Context, message store.Message) ([]string, error) {
	media, err := w.readyMedia(ctx, message)
	if err != nil {
		return nil, err
	}
	links := make([]string, len(media))
	for i, medium := range media {
		links[i] = medium.URL
	}
	return links, nil
}

// readyMedia describes what leaves of a message's media.
func (w *Worker) readyMedia(ctx context.Context, message store.Message) ([]readyMedium, error) {
	expires := time.Now().Add(linkLife)
	media := []readyMedium{}
	for i, ref := range outgoingHook(message).media {
		sid, _ := w.Store.Identify(message.Account, message.SID, i, ref.url, w.Upstream)
		record, err := w.Store.Media(ctx, message.Account, message.SID, sid)
		if err != nil {
			return nil, err
		}
		if !record.Deleted.IsZero() {
			return nil, deletedMedium(i)
		}
		medium := readyMedium{MediaSID: sid, ContentType: record.ContentType, Bytes: record.Size}
		variant, name, ok := variantNamed(record, message.Outgoing.Profile)
		if ok {
			medium.ContentType, medium.Bytes = variant.ContentType, variant.Size
		}
		path := fmt.Sprintf("/2010-04-01/Accounts/%s/Messages/%s/Media/%s", message.Account, message.SID, sid)
		link := url.URL{Scheme: w.PublicURL.Scheme, Host: w.PublicURL.Host, Path: path, RawQuery: w.Links.Sign(path, name, expires).Encode()}
		medium.URL = link.String()
		media = append(media, medium)
	}
	return media, nil
}

// variantNamed returns a medium's variant of a name, and the name; neither if there
// is none.
func variantNamed(record store.Media, name string) (store.Variant, string, bool) {
	for _, v := range record.Variants {
		if v.Name == name {
			return v, name, true
		}
	}
	return store.Variant{}, "", false
}
