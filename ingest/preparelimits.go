package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/gabriel-vasile/mimetype"
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

// sameType are further names of accepted types, as they are told from the bytes.
var sameType = map[string]string{"audio/x-m4a": "audio/mp4", "video/x-m4v": "video/mp4", "application/ogg": "audio/ogg"}

// acceptedType returns the name under which the provider takes media of a type,
// which has no parameters.
func acceptedType(contentType string) (string, bool) {
	contentType = cmp.Or(sameType[contentType], contentType)
	known := mimetype.Lookup(contentType)
	for _, exactly := range []bool{true, false} { // a name of its own before one that means the same
		for _, accepted := range acceptedTypes {
			if strings.EqualFold(accepted, contentType) || !exactly && known != nil && known.Is(accepted) {
				return accepted, true
			}
		}
	}
	return "", false
}

// newType is how many times its bytes a picture is given that leaves as another type
// than it came, if there are as many: WebP needs far fewer than JPEG and PNG.
const newType = 4

// wants is how many bytes a picture has a use for.
func wants(p *piece, profile resize.Profile) int {
	if slices.Contains(profile.Types, p.record.ContentType) {
		return int(p.record.Size)
	}
	return newType * int(p.record.Size)
}

// expiry is when a message is given up that is not ready by then: at the end of its
// validity period, if that is before what is tried for is given up in general.
func (w *Worker) expiry(d *stream.Delivery, message store.Message) time.Time {
	return d.Queued.Add(min(validityOf(message), w.GiveUp))
}

// validityOf is the validity period of a message.
func validityOf(message store.Message) time.Duration {
	if seconds, err := strconv.Atoi(message.Form.Get("ValidityPeriod")); err == nil && seconds > 0 {
		return min(defaultValidity, time.Duration(seconds)*time.Second)
	}
	return defaultValidity
}

// outgoingTrouble turns what kept a medium from being fetched into what ends its
// message, unless it is to be tried again.
//
// Where a host was tried until the message expired, the code still is that of the
// download: it says what is to be mended. A 404 is for good at once, because who posts
// a URL has the medium there; only the provider's own take a while to appear.
func (w *Worker) outgoingTrouble(d *stream.Delivery, message store.Message, p *piece, err error) error {
	trouble, ofHost := errors.AsType[*fetch.Error](err)
	if !ofHost {
		return err
	}
	age := time.Duration(math.MaxInt64)
	if p.own {
		age = time.Since(d.Queued)
	}
	if time.Now().Before(w.expiry(d, message)) && !permanent(trouble, age) {
		return err
	}
	return &unsendable{code: downloadCode(trouble.Reason), failure: store.Failure{
		Index: p.record.Index, Reason: string(trouble.Reason), Detail: err.Error(), Status: trouble.Status,
	}}
}

// downloadCode is Twilio's code for a medium that cannot be fetched.
func downloadCode(reason fetch.Reason) int {
	switch reason {
	case fetch.TooLarge:
		return codeTooLarge
	case fetch.UnsupportedScheme, fetch.ForbiddenAddress, fetch.TooManyRedirects:
		return codeUnreachable
	}
	return codeDownload
}

func deletedMedium(i int) error {
	return &unsendable{code: codeDownload, failure: store.Failure{Index: i, Reason: reasonDeleted, Detail: fmt.Sprintf("medium %d was deleted", i)}}
}

// unsendable says why a message cannot leave, now or later.
type unsendable struct {
	code    int    // Twilio's
	text    string // that goes with it, for the client alone; one of ours if empty
	failure store.Failure
}

// Error says what is wrong with which medium.
func (u *unsendable) Error() string { return u.failure.Reason + ": " + u.failure.Detail }
