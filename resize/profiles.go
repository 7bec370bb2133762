package resize

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is what a carrier, or a kind of sender, lets through: data, with the
// place each figure comes from. Published figures contradict each other; where
// they do, the smallest that a party to the delivery gives is taken, because a
// message that is too large is lost or mangled while one that is smaller than
// it might be only looks a little worse. Carriers mean 1000 or 1024 by "kB";
// all figures here count 1000.
type Profile struct {
	Name string
	// MaxBytes is the size of a whole message, in bytes as they are before
	// base64.
	MaxBytes int
	// Reserve is what of MaxBytes is not for media: SMIL, part headers and text.
	Reserve int
	// MaxWidth and MaxHeight bound a picture as seen, in pixels; 0 is no bound.
	MaxWidth, MaxHeight int
	// Types are the media types of pictures that reach a handset unchanged.
	Types []string
	// Sources say where the figures come from, each a title with its address or
	// document number.
	Sources []string
}

// DefaultProfile is the name of the profile for a message whose carrier is not
// known.
const DefaultProfile = "us"

// Where the figures come from. Carriers publish next to nothing themselves: the
// providers that deliver to them do. Twilio's table is of files that it does not
// transcode; Telnyx gives the same figures for all media.
const (
	sourceTwilioCarriers = "Twilio, Supported File Types and Size Limits for MMS Media Messages, https://help.twilio.com/articles/360018832773"
	sourceTwilioTypes    = "Twilio, Accepted content types for media, https://www.twilio.com/docs/messaging/guides/accepted-mime-types"
	sourceTelnyx         = "Telnyx, MMS Media & Transcoding, https://developers.telnyx.com/docs/messaging/messages/mms-transcoding"
	sourceBandwidth      = "Bandwidth, Toll-free MMS FAQ, https://support.bandwidth.com/hc/en-us/articles/360034303574-Toll-free-MMS-FAQ"
	sourceInfobip        = "Infobip, MMS message types, https://www.infobip.com/docs/mms/message-types"
	sourceAndroid        = "Android CarrierConfig, maxMessageSize and maxImageWidth × maxImageHeight, https://android.googlesource.com/platform/packages/apps/CarrierConfig"
	sourceOMA            = "OMA-TS-MMS-CONF-V1_3, MMS Conformance Document, content classes"
)

// Profiles returns all profiles, the default first. The slice is the caller's.
//
// Why us has 600,000 bytes: a message to an American number may end at AT&T,
// T-Mobile, Verizon or one of their brands, and the sender does not know at
// which. All three are said to take 1 MB from a long code, but Twilio advises
// 600 kB for AT&T, because larger files fail in the resizing of its partner, and
// Android stops at 614,400 bytes on Cricket, a brand of AT&T's. A photograph of
// 1600 pixels has a JPEG quality of about 90 in 570,000 bytes, so that the larger
// figure would add a risk and nothing to see. Those who know that the carrier
// takes it have us-longcode.
//
// Why 1600 pixels: it is the longest side of OMA's largest picture, 1600×1200 of
// the classes Megapixel and Content Rich, and inside the 2592×1944 of Android
// either way up.
func Profiles() []Profile {
	types := []string{"image/jpeg", "image/png", "image/gif"}
	all := []Profile{
		{
			Name: DefaultProfile, MaxBytes: 600_000, Reserve: 30_000, MaxWidth: 1600, MaxHeight: 1600,
			Sources: []string{sourceTwilioCarriers, sourceAndroid, sourceOMA},
		},
		{
			Name: "us-longcode", MaxBytes: 1_000_000, Reserve: 50_000, MaxWidth: 1600, MaxHeight: 1600,
			Sources: []string{sourceTwilioCarriers, sourceTelnyx, sourceAndroid, sourceOMA},
		},
		{
			Name: "us-shortcode", MaxBytes: 600_000, Reserve: 30_000, MaxWidth: 1600, MaxHeight: 1600,
			Sources: []string{sourceTwilioCarriers, sourceTelnyx, sourceOMA},
		},
		{
			Name: "us-tollfree", MaxBytes: 525_000, Reserve: 26_000, MaxWidth: 1600, MaxHeight: 1600,
			Sources: []string{sourceBandwidth, sourceTwilioCarriers, sourceOMA},
		},
		{
			Name: "ca", MaxBytes: 600_000, Reserve: 30_000, MaxWidth: 1600, MaxHeight: 1600,
			Sources: []string{sourceAndroid, sourceOMA},
		}, // Bell Mobility has 614,400
		{
			Name: "world", MaxBytes: 300_000, Reserve: 15_000, MaxWidth: 1600, MaxHeight: 1200,
			Sources: []string{sourceInfobip, sourceOMA},
		},
		{
			Name: "twilio", MaxBytes: 5_000_000, Reserve: 250_000,
			Sources: []string{sourceTwilioTypes},
		},
	}
	for i := range all {
		all[i].Types = slices.Clone(types)
	}
	return all
}

// ProfileNamed returns the profile of that name. The error lists the names
// there are.
func ProfileNamed(name string) (Profile, error) {
	all := Profiles()
	names := make([]string, len(all))
	for i, p := range all {
		if p.Name == name {
			return p, nil
		}
		names[i] = p.Name
	}
	return Profile{}, fmt.Errorf("no profile %q: there are %s", name, strings.Join(names, ", "))
}

// Target returns what one of several pictures of a message must fit into, under
// the profile's name.
func (p Profile) Target(pictures int) Target {
	return Target{
		Name:      p.Name,
		MaxBytes:  Share(p, pictures),
		MaxWidth:  p.MaxWidth,
		MaxHeight: p.MaxHeight,
		Types:     p.Types,
	}
}

// Thumb is the small picture that is made of every picture for lists and
// consoles. 320 pixels are 160 on the screens of today, and 40,000 bytes hold
// them at a quality at which no artefact shows.
var Thumb = Target{
	Name:      "thumb",
	MaxBytes:  40_000,
	MaxWidth:  320,
	MaxHeight: 320,
	Types:     []string{"image/jpeg", "image/png"},
}
