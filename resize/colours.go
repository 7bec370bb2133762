package resize

import (
	"image"

	"mmspipe/resize/internal/icc"
)

// toSRGB converts pixels from the colours of an ICC profile, so that they look the
// same without it. A profile of another kind than screens and cameras have, or a
// damaged one, changes nothing.
func toSRGB(img *image.NRGBA, profile []byte) {
	if len(profile) == 0 {
		return
	}
	if t, err := icc.Parse(profile); err == nil {
		t.NRGBA(img)
	}
}
