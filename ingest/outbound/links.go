package outbound

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/link"
)

// linkLife is how long the links to the media of a message that is ready open them. The
// provider fetches them when it sends, which may be as late as the longest validity
// period after it was handed the message, 36,000 s
// (https://www.twilio.com/docs/messaging/api/message-resource#validityperiod); whoever
// sends may take as long before that. Both together are under a day.
const linkLife = 24 * time.Hour

// Links makes the links under which a sender gets the media of a message.
type Links struct {
	Store     *store.Store
	PublicURL *url.URL // under which the media stored here are served
	Signer    link.Signer
}

// Of describes what leaves of a message's media, in the order of its MediaUrls: what
// was made for its profile, or the original where nothing was. The links open for a
// day, whatever MMSPIPE_MEDIA_AUTH says. A medium that was deleted meanwhile is an
// *[unsendable].
func (l Links) Of(ctx context.Context, m store.Message) ([]feed.Leaving, error) {
	expires := time.Now().Add(linkLife)
	media := []feed.Leaving{}
	for _, ref := range l.Store.MediaOf(m) {
		record, err := l.Store.Media(ctx, ref.MediaKey)
		if err != nil {
			return nil, err
		}
		if !record.Deleted.IsZero() {
			return nil, deletedMedium(ref.Index)
		}
		leaving := feed.Leaving{MediaSID: ref.Media, ContentType: record.ContentType, Bytes: record.Size}
		name := ""
		if i := variantIndex(record, m.Outgoing.Profile); i >= 0 {
			name, leaving.ContentType, leaving.Bytes = record.Variants[i].Name, record.Variants[i].ContentType, record.Variants[i].Size
		}
		path := fmt.Sprintf("/2010-04-01/Accounts/%s/Messages/%s/Media/%s", m.Account, m.SID, ref.Media)
		signed := url.URL{Scheme: l.PublicURL.Scheme, Host: l.PublicURL.Host, Path: path, RawQuery: l.Signer.Sign(path, name, expires).Encode()}
		leaving.URL = signed.String()
		media = append(media, leaving)
	}
	return media, nil
}

// variantIndex finds a medium's variant by its name, -1 if there is none.
func variantIndex(record store.Media, name string) int {
	return slices.IndexFunc(record.Variants, func(v store.Variant) bool { return v.Name == name })
}

func deletedMedium(i int) error {
	return &unsendable{code: codeDownload, failure: store.Failure{Index: i, Reason: store.ReasonDeleted, Detail: fmt.Sprintf("medium %d was deleted", i)}}
}
