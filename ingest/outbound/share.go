package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/media"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/mediatype"

	"github.com/rs/zerolog"
)

const (
	// maxOutgoing is how many media a message may have
	// (https://www.twilio.com/docs/messaging/api/message-resource#mediaurl).
	maxOutgoing = 10

	// maxFetched bounds the media of one message together as they are fetched: two
	// of the largest that are fetched at all.
	maxFetched = 64 << 20

	// maxLeaving bounds the media of one message together as they leave
	// (https://www.twilio.com/docs/messaging/guides/accepted-mime-types).
	maxLeaving = 5_000_000

	// defaultValidity is the provider's validity period, and the longest there is
	// (https://www.twilio.com/docs/messaging/api/message-resource#validityperiod).
	defaultValidity = 36_000 * time.Second
)

// acceptedTypes are the media types that the provider takes for MMS
// (https://www.twilio.com/docs/messaging/guides/accepted-mime-types). They are told
// apart without regard to case.
var acceptedTypes = strings.Fields(`
	image/jpeg image/jpg image/gif image/png image/heic image/heif image/tiff image/bmp
	video/mpeg4 video/mp4 video/mpeg video/webm video/quicktime video/3gpp video/3gpp2 video/3gpp-tt
	video/H261 video/H263 video/H263-1998 video/H263-2000 video/H264 video/H265
	audio/ogg audio/mpeg audio/mp4 audio/mp3 audio/3gpp audio/3gpp2 audio/basic audio/L24 audio/vnd.rn-realaudio
	audio/vnd.wave audio/ac3 audio/webm audio/amr-nb audio/amr
	text/vcard text/x-vcard text/directory text/csv text/richtext text/rtf text/calendar
	application/pdf application/vcard`)

// sameType are accepted types that hold media of others, by the canonical names of these.
var sameType = map[string]string{"audio/x-m4a": "audio/mp4", "video/x-m4v": "video/mp4", "application/ogg": "audio/ogg"}

// acceptedType returns the name under which the provider takes media of a type,
// which has no parameters.
func acceptedType(contentType string) (string, bool) {
	canonical := mediatype.Canonical(contentType)
	for _, name := range []string{contentType, cmp.Or(sameType[canonical], canonical)} { // its own name before one that means the same
		for _, accepted := range acceptedTypes {
			if strings.EqualFold(accepted, name) {
				return accepted, true
			}
		}
	}
	for _, accepted := range acceptedTypes {
		if mediatype.Canonical(strings.ToLower(accepted)) == canonical {
			return accepted, true
		}
	}
	return "", false
}

// leavingType returns the name under which a medium that leaves as it came is taken:
// that of its own type, or else of what its bytes say, if a host declares no more than
// plain text.
func leavingType(p *piece) (string, error) {
	if accepted, ok := acceptedType(p.Record.ContentType); ok {
		return accepted, nil
	}
	if !p.Stored {
		head, err := p.Head()
		if err != nil {
			return "", err
		}
		if accepted, ok := acceptedType(media.ContentType(head)); ok {
			return accepted, nil
		}
	}
	return "", &unsendable{code: codeType, failure: store.Failure{Index: p.Index, Reason: store.ReasonType, Detail: fmt.Sprintf("medium %d is %s", p.Index, p.Record.ContentType)}}
}

// newType is how many times its bytes a picture is given that leaves as another type
// than it came, if there are as many: WebP needs far fewer than JPEG and PNG.
const newType = 4

// wants is how many bytes a picture has a use for.
func wants(p *piece, profile resize.Profile) int {
	if slices.Contains(profile.Types, mediatype.Canonical(p.Record.ContentType)) {
		return int(p.Record.Size)
	}
	return newType * int(p.Record.Size)
}

// fitAll fits the pictures of a message into what the profile leaves, each into its
// share. One that cannot be fitted leaves as it came, and the others share what it
// leaves.
func fitAll(ctx context.Context, profile resize.Profile, pieces []*piece) error {
	for {
		shares, err := shareOut(profile, pieces)
		if err != nil {
			return err
		}
		var asTheyCame atomic.Int64
		err = each(pieces, func(p *piece) error {
			share := shares[p.Index]
			if !p.fitted || p.Stored || share == p.share {
				return nil
			}
			p.share = share
			err := fitInto(ctx, profile, p)
			unfit, ok := errors.AsType[*resize.UnfitError](err)
			if !ok {
				return err
			}
			asTheyCame.Add(1)
			p.fitted, p.Record.Note = false, unfit.Error()
			return nil
		})
		if err != nil || asTheyCame.Load() == 0 {
			return err
		}
	}
}

// fitInto fits one picture into its share.
func fitInto(ctx context.Context, profile resize.Profile, p *piece) (err error) {
	ctx = zerolog.Ctx(ctx).With().Stringer("mediaSid", p.Media).Logger().WithContext(ctx)
	target := profile.Target(1)
	target.MaxBytes = p.share
	if p.fit, err = p.Fit(ctx, []resize.Target{target, resize.Thumb}); err != nil {
		return err
	}
	p.Record.Width, p.Record.Height = p.fit.Width, p.fit.Height
	return nil
}

// shareOut gives each picture its bytes, by its place in the message, and finds out
// whether the other media may leave as they came.
func shareOut(profile resize.Profile, pieces []*piece) (map[int]int, error) {
	var fixed int64
	var pictures, sizes []int
	for i, p := range pieces {
		if p.fitted {
			pictures, sizes = append(pictures, i), append(sizes, wants(p, profile))
			continue
		}
		accepted, err := leavingType(p)
		if err != nil {
			return nil, err
		}
		p.Record.ContentType = accepted
		fixed += p.Record.Size
	}
	if fixed > maxLeaving {
		return nil, unsendableFor(codeTooLarge, string(fetch.TooLarge), "media that cannot shrink have %d bytes", fixed)
	}
	shares, err := resize.Shares(profile, int(fixed), sizes)
	if err != nil {
		return nil, unsendableFor(codeCarrier, store.ReasonCarrier, "%v", err)
	}
	byPlace := map[int]int{}
	for i, picture := range pictures {
		byPlace[picture] = shares[i]
	}
	return byPlace, nil
}

// validityOf is the validity period of a message.
func validityOf(m store.Message) time.Duration {
	if seconds, err := strconv.Atoi(m.Form.Get("ValidityPeriod")); err == nil && seconds > 0 {
		return min(defaultValidity, time.Duration(seconds)*time.Second)
	}
	return defaultValidity
}
