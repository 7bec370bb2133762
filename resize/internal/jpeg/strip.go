package jpeg

import "bytes"

// PictureSegment returns what of a segment, as [Segments] yields it, belongs to
// the picture: all of it, nothing of metadata. Kept are the application segments
// by which colours are read: JFIF, ICC profiles, and Adobe's, which tells RGB and
// CMYK apart. Behind the end of the picture, where phones append a video or a
// second picture, nothing belongs to it.
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
	}
	return nil
}

// isICC reports whether a segment is part of a colour profile (ICC.1:2022,
// annex B.4).
func isICC(marker byte, segment []byte) bool {
	return marker == markerAPP0+2 && bytes.HasPrefix(segment[4:], []byte("ICC_PROFILE\x00"))
}

// Strip returns the file without its metadata. Coded pixels stay as they are.
func Strip(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for marker, segment := range Segments(data) {
		out = append(out, PictureSegment(marker, segment)...)
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
