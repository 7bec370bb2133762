package jpeg

import "bytes"

// PictureSegment returns what of a segment, as [Segments] yields it, belongs to
// the picture: all of it, nothing of metadata. Kept are the application segments
// by which colours are read: JFIF, ICC profiles, and Adobe's, which tells RGB and
// CMYK apart; and EXIF where it has the orientation that [Strip] writes and nothing
// else. Behind the end of the picture, where phones append a video or a second
// picture, nothing belongs to it.
func PictureSegment(marker byte, segment []byte) []byte {
	switch {
	case marker == markerEOI:
		return segment[:2]
	case marker == markerCOM:
		return nil
	case marker < markerAPP0 || marker > markerAPPf:
		return segment
	}
	switch payload := segment[4:]; {
	case marker == markerAPP0 && bytes.HasPrefix(payload, []byte("JFIF\x00")):
		if len(segment) > len(jfifHeader) { // it has a thumbnail
			return []byte(jfifHeader)
		}
		return segment
	case isICC(marker, segment):
		return segment
	case marker == markerAPP0+14 && bytes.HasPrefix(payload, []byte("Adobe")):
		return segment
	case isOrientation(segment):
		return segment
	}
	return nil
}

// EXIF with one directory of one entry, the orientation, a SHORT (CIPA DC-008,
// sections 4.5.4, 4.6.2 and 4.6.4 A): what is in front of its value and behind it.
const (
	orientationHead = "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08" +
		"\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"
	orientationTail = "\x00\x00\x00\x00\x00\x00"
)

// isOrientation reports whether a segment is what [Strip] writes for a picture
// that is not upright.
func isOrientation(segment []byte) bool {
	value := len(orientationHead)
	return len(segment) == value+1+len(orientationTail) &&
		bytes.HasPrefix(segment, []byte(orientationHead)) &&
		segment[value] >= 2 && segment[value] <= 8 &&
		bytes.HasSuffix(segment, []byte(orientationTail))
}

// isICC reports whether a segment is part of a colour profile (ICC.1:2022,
// annex B.4).
func isICC(marker byte, segment []byte) bool {
	return marker == markerAPP0+2 && bytes.HasPrefix(segment[4:], []byte("ICC_PROFILE\x00"))
}

// Strip returns the file without its metadata. Coded pixels stay as they are, and
// so does how they are to be turned: an orientation other than 1 is all that is
// left of EXIF, behind the file's first headers.
func Strip(data []byte, orientation int) []byte {
	out := make([]byte, 0, len(data))
	for marker, segment := range Segments(data) {
		if orientation > 1 && marker != markerSOI && marker != markerAPP0 {
			out = append(append(append(out, orientationHead...), byte(orientation)), orientationTail...)
			orientation = 1
		}
		if marker != markerAPP0+1 {
			out = append(out, PictureSegment(marker, segment)...)
		}
	}
	return out
}

// ColourProfile returns the segments of the file's ICC profile.
func ColourProfile(data []byte) []byte {
	var profile []byte
	for marker, segment := range Segments(data) {
		if marker == markerSOS {
			break
		}
		if isICC(marker, segment) {
			profile = append(profile, segment...)
		}
	}
	return profile
}
