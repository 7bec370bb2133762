package resize

import (
	"bytes"
	"encoding/binary"
	"image"

	"mmspipe/resize/internal/jpeg"
)

// Markers of a JPEG file that its header is read by (ITU-T T.81, table B.1).
const (
	markerTEM   = 0x01
	markerSOF0  = 0xc0 // baseline, the first that is not reserved
	markerSOF2  = 0xc2 // progressive
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerSOF9  = 0xc9 // sequential, of arithmetic coding
	markerSOF10 = 0xca // progressive, of arithmetic coding
	markerDAC   = 0xcc
	markerSOFf  = 0xcf // the last of the frame headers
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerAPP1  = 0xe1 // EXIF and XMP
)

// maxScans is how many scans a JPEG may have. Each makes a decoder walk the
// whole picture again, for as little as some dozen bytes; cameras and libjpeg's
// own script for progressive files write about ten.
const maxScans = 100

// readJPEG reads the frame header and walks the file to its end.
func (h *header) readJPEG(data []byte) error {
	scans, frames, oriented, strict, length := 0, 0, false, true, 0
	for marker, segment := range jpeg.Segments(data) {
		length += len(segment)
		if len(jpeg.PictureSegment(marker, segment)) != len(segment) {
			h.metadata = true
		}
		if isFrameHeader(marker) {
			frames++
			strict = strict && frames == 1 && len(segment) == 10+3*int(segment[min(9, len(segment)-1)])
		}
		strict = strict && (marker == markerTEM || marker >= markerSOF0)
		switch {
		case marker == markerSOS:
			scans++
		case marker == markerEOI:
			h.whole = h.components > 0 && scans > 0
		case marker == markerAPP1 && !oriented && bytes.HasPrefix(segment[4:], []byte("Exif\x00\x00")):
			if o := exifOrientation(segment[10:]); o > 0 {
				h.Orientation, oriented = o, true
			}
		case isFrameHeader(marker) && h.components == 0:
			if err := h.readFrameHeader(marker, segment); err != nil {
				return err
			}
		}
	}
	h.whole = h.whole && strict
	h.metadata = h.metadata || length < len(data) // what is between segments
	h.cost = 4*h.pixels() + 20*int64(len(data))
	if h.arithmetic {
		h.cost += 100 * int64(len(data))
	}
	if h.progressive {
		h.cost += int64(scans) * h.pixels() / 2
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
	h.progressive = marker == markerSOF2 || marker == markerSOF10
	h.arithmetic = marker == markerSOF9 || marker == markerSOF10
	if marker > markerSOF2 && !h.arithmetic || segment[4] != 8 {
		h.refused = "format JPEG is not decoded in this coding (lossless, hierarchical or not of 8 bits)"
	}
	samples := 0
	for i := range h.components {
		factors := segment[10+3*i+1]
		samples += int(factors>>4) * int(factors&15)
	}
	if samples == 0 || h.width == 0 || h.height == 0 {
		return unfit("damaged: the frame header of the JPEG has no valid size")
	}
	return nil
}

// jpegMemory estimates the bytes that fitting a JPEG takes at its peak: what the
// decoder allocates for the largest target, twice the planes of that and what
// encoding takes, and the file, whose parts may have to be put together.
func jpegMemory(j job) int64 {
	width, height := largest(j.header, j.targets)
	size := image.Pt(width, height)
	return jpeg.Memory(j.data, size, halfOf(size)) + encodeMemory(width, height, j.targets) + int64(len(j.data))
}
