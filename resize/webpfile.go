package resize

import (
	"bytes"
	"encoding/binary"
)

// readWebP reads the header of the first chunk, which is a lossy picture (VP8),
// a lossless one (VP8L) or the extended header (VP8X), and walks the file for
// EXIF and the pictures of an animation (RFC 9649, section 2).
func (h *header) readWebP(data []byte) error {
	rest, frames := data[12:], 0
	for len(rest) >= 8 {
		size := uint64(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:][:min(size, uint64(len(rest)-8))]
		switch string(rest[:4]) {
		case "VP8 ":
			h.readVP8(body)
		case "VP8L":
			h.readVP8L(body)
		case "VP8X":
			h.readVP8X(body)
		case "ANMF":
			frames++
		case "EXIF":
			h.metadata = true
			// Some writers keep the identifier that JPEG has before EXIF.
			h.Orientation = max(1, exifOrientation(bytes.TrimPrefix(body, []byte("Exif\x00\x00"))))
		case "XMP ":
			h.metadata = true
		}
		if h.width == 0 {
			return unfit("damaged: the WebP begins with no valid header")
		}
		next := 8 + size + size%2 // chunks are padded to an even length
		rest = rest[min(next, uint64(len(rest))):]
	}
	if frames > 0 {
		h.Frames = frames
		h.refused = "format animated WebP is not decoded"
	}
	// Planes or pixels as decoded, and as much again for transparency and the
	// tables of the lossless coding.
	h.memory = 8 * h.pixels()
	return nil
}

// readVP8 reads the frame header of a key frame (RFC 6386, section 9.1).
func (h *header) readVP8(body []byte) {
	if h.width != 0 || len(body) < 10 || string(body[3:6]) != "\x9d\x01\x2a" {
		return
	}
	h.width = int(binary.LittleEndian.Uint16(body[6:])) & 0x3fff
	h.height = int(binary.LittleEndian.Uint16(body[8:])) & 0x3fff
}

// readVP8L reads the header of a lossless picture (RFC 9649, section 3.4).
func (h *header) readVP8L(body []byte) {
	if h.width != 0 || len(body) < 5 || body[0] != 0x2f {
		return
	}
	bits := binary.LittleEndian.Uint32(body[1:])
	h.width, h.height = int(bits&0x3fff)+1, int(bits>>14&0x3fff)+1
}

// readVP8X reads the size of the canvas (RFC 9649, section 2.7).
func (h *header) readVP8X(body []byte) {
	if h.width != 0 || len(body) < 10 {
		return
	}
	h.width = 1 + int(body[4]) + int(body[5])<<8 + int(body[6])<<16
	h.height = 1 + int(body[7]) + int(body[8])<<8 + int(body[9])<<16
}
