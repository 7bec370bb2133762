package resize

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Markers of a JPEG file (ITU-T T.81, table B.1).
const (
	markerTEM  = 0x01
	markerSOF0 = 0xc0 // baseline
	markerSOF1 = 0xc1 // extended sequential
	markerSOF2 = 0xc2 // progressive
	markerDHT  = 0xc4
	markerJPG  = 0xc8
	markerDAC  = 0xcc
	markerSOFf = 0xcf // the last of the frame headers
	markerRST0 = 0xd0
	markerRST7 = 0xd7
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerAPP0 = 0xe0
	markerAPPf = 0xef
	markerCOM  = 0xfe
)

// maxScans is how many scans a JPEG may have. Each makes a decoder walk the
// whole picture again, for as little as some dozen bytes; cameras and libjpeg's
// own script for progressive files write about ten.
const maxScans = 100

// jfif is a JFIF header without the thumbnail that it may carry.
var jfif = []byte("\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")

// segments walks a JPEG file. It yields each marker with the bytes that belong
// to it: the 0xff and the marker itself, its parameters, behind SOS the coded
// data up to the next marker, and behind EOI whatever is appended to the file.
// What stands between markers without belonging to one is passed over, as
// decoders do. The walk ends after EOI, or where the file is cut off.
func segments(data []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for pos := 0; ; {
			i := bytes.IndexByte(data[pos:], 0xff)
			if i < 0 || pos+i+2 > len(data) {
				return
			}
			pos += i
			marker := data[pos+1]
			switch {
			case marker == 0xff: // a fill byte before the marker
				pos++
				continue
			case marker == 0, marker >= markerRST0 && marker <= markerRST7:
				pos += 2
				continue
			}
			end := segmentEnd(data, pos, marker)
			if end < 0 || !yield(marker, data[pos:end]) || marker == markerEOI {
				return
			}
			pos = end
		}
	}
}

// segmentEnd returns where the segment of the marker at pos ends, or -1 where
// the file does before it.
func segmentEnd(data []byte, pos int, marker byte) int {
	end := pos + 2
	switch marker {
	case markerSOI, markerTEM:
		return end
	case markerEOI:
		return len(data)
	}
	if end+2 > len(data) {
		return -1
	}
	n := int(binary.BigEndian.Uint16(data[end:]))
	end += n
	if n < 2 || end > len(data) {
		return -1
	}
	if marker != markerSOS {
		return end
	}
	// In coded data 0xff is followed by 0 or is a restart marker (T.81, B.1.1.5).
	for {
		i := bytes.IndexByte(data[end:], 0xff)
		if i < 0 || end+i+1 >= len(data) {
			return len(data)
		}
		end += i
		next := data[end+1]
		if next != 0 && (next < markerRST0 || next > markerRST7) {
			return end
		}
		end += 2
	}
}

// pictureSegment returns what of a segment belongs to the picture: all of it,
// nothing of metadata. Kept are the application segments by which colours are
// read: JFIF, ICC profiles, and Adobe's, which tells RGB and CMYK apart.
func pictureSegment(marker byte, segment []byte) []byte {
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
		if len(segment) > len(jfif) {
			return jfif
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

// stripJPEG returns the file without its metadata.
func stripJPEG(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for marker, segment := range segments(data) {
		out = append(out, pictureSegment(marker, segment)...)
	}
	return out
}

// readJPEG reads the frame header and walks the file to its end.
func (h *header) readJPEG(data []byte) error {
	scans, oriented := 0, false
	for marker, segment := range segments(data) {
		if len(pictureSegment(marker, segment)) != len(segment) {
			h.metadata = true
		}
		switch {
		case marker == markerSOS:
			scans++
		case marker == markerEOI:
			h.whole = h.components > 0 && scans > 0
		case marker == markerAPP0+1 && !oriented && bytes.HasPrefix(segment[4:], []byte("Exif\x00\x00")):
			if o := exifOrientation(segment[10:]); o > 0 {
				h.Orientation, oriented = o, true
			}
		case isFrameHeader(marker) && h.components == 0:
			if err := h.readFrameHeader(marker, segment); err != nil {
				return err
			}
		}
	}
	if scans > maxScans {
		h.refused = "damaged: a JPEG of more than 100 scans"
	}
	return nil
}

func isFrameHeader(marker byte) bool {
	return marker >= markerSOF0 && marker <= markerSOFf &&
		marker != markerDHT && marker != markerJPG && marker != markerDAC
}

// readFrameHeader reads a frame header (T.81, B.2.2).
func (h *header) readFrameHeader(marker byte, segment []byte) error {
	if len(segment) < 10 || len(segment) < 10+3*int(segment[9]) {
		return unfit("damaged: the frame header of the JPEG is cut off")
	}
	h.height = int(binary.BigEndian.Uint16(segment[5:]))
	h.width = int(binary.BigEndian.Uint16(segment[7:]))
	h.components = int(segment[9])
	if marker > markerSOF2 || segment[4] != 8 {
		h.refused = "format JPEG is not decoded in this coding (lossless, hierarchical, arithmetic or not of 8 bits)"
	}
	var samples, horizontal, vertical int64
	for i := range h.components {
		factors := segment[10+3*i+1]
		x, y := int64(factors>>4), int64(factors&15)
		samples += x * y
		horizontal, vertical = max(horizontal, x), max(vertical, y)
	}
	if samples == 0 || h.width == 0 || h.height == 0 {
		return unfit("damaged: the frame header of the JPEG has no valid size")
	}
	// A byte for each sample of whole units, a spare byte for the conversion
	// from CMYK, and four of coefficients for each where the file is progressive.
	unitsX := (int64(h.width) + 8*horizontal - 1) / (8 * max(horizontal, 1))
	unitsY := (int64(h.height) + 8*vertical - 1) / (8 * max(vertical, 1))
	h.memory = unitsX * unitsY * 64 * samples
	if marker == markerSOF2 {
		h.memory *= 5
	}
	if h.components == 4 {
		h.memory += 4 * h.pixels()
	}
	return nil
}
