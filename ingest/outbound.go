package ingest

import (
	"context"
	"fmt"
	"time"

	"mmspipe/store"
	"mmspipe/store/stream"
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
	return w.judge(ctx, d, fmt.Errorf("job %d: not yet", d.Sequence))
}

// mediaLinks returns signed links to the media of an outgoing message that is ready,
// in the order of its MediaUrls: to what was made for its profile, or to the
// original where nothing was. They open for linkLife, whatever MMSPIPE_MEDIA_AUTH
// says. A medium that was deleted meanwhile is an error.
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
			return nil, &unsendable{codeDownload, store.Failure{Index: i, Reason: reasonDeleted, Detail: fmt.Sprintf("medium %d was deleted", i)}}
		}
		variant, contentType, size := leaving(record, message.Outgoing.Profile)
		path := fmt.Sprintf("/2010-04-01/Accounts/%s/Messages/%s/Media/%s", message.Account, message.SID, sid)
		link := w.PublicURL.JoinPath(path)
		link.RawQuery = w.Links.Sign(link.Path, variant, expires).Encode()
		media = append(media, readyMedium{MediaSID: sid, ContentType: contentType, Bytes: size, URL: link.String()})
	}
	return media, nil
}

// leaving is what leaves of a stored medium: the variant of that name, or the
// original, whose name is empty, if there is none.
func leaving(record store.Media, profile string) (variant, contentType string, size int64) {
	for _, v := range record.Variants {
		if v.Name == profile {
			return v.Name, v.ContentType, v.Size
		}
	}
	return "", record.ContentType, record.Size
}

// readyMedium is one medium as a ready event tells of it.
type readyMedium struct {
	MediaSID    store.MediaSID `json:"mediaSid"`
	ContentType string         `json:"contentType"`
	Bytes       int64          `json:"bytes"`
	URL         string         `json:"url"` // opens for linkLife
}

// unsendable says why a message cannot leave, now or later.
type unsendable struct {
	code    int // Twilio's
	failure store.Failure
}

// Error says what is wrong with which medium.
func (u *unsendable) Error() string { return u.failure.Reason + ": " + u.failure.Detail }
