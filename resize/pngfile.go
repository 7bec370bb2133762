package resize

import (
	"encoding/binary"
	"iter"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// chunks walks a PNG file. It yields each chunk whole, from its length to its
// checksum, and with the last, IEND, whatever is appended to the file. The walk
// ends where the file is cut off.
func chunks(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rest := data[len(pngSignature):]
		for len(rest) >= 12 {
			n := uint64(binary.BigEndian.Uint32(rest)) + 12
			if n > uint64(len(rest)) {
				return
			}
			last := string(rest[4:8]) == "IEND"
			if last {
				n = uint64(len(rest))
			}
			if !yield(rest[:n]) || last {
				return
			}
			rest = rest[n:]
		}
	}
}

// pictureChunk returns what of a chunk belongs to the picture: all of it,
// nothing of metadata. Kept are the chunks of the standard that bear on what is
// seen (PNG, third edition, section 11), those of an animation included; text,
// EXIF, dates and private chunks are not.
func pictureChunk(chunk []byte) []byte {
	switch string(chunk[4:8]) {
	case "IHDR", "PLTE", "IDAT", "tRNS", "acTL", "fcTL", "fdAT",
		"cHRM", "cICP", "gAMA", "iCCP", "mDCV", "cLLI", "sBIT", "sRGB", "bKGD", "pHYs":
		return chunk
	case "IEND":
		return chunk[:12]
	}
	return nil
}

// stripPNG returns the file without its metadata.
func stripPNG(data []byte) []byte {
	out := append(make([]byte, 0, len(data)), pngSignature...)
	for chunk := range chunks(data) {
		out = append(out, pictureChunk(chunk)...)
	}
	return out
}

// readPNG reads IHDR and walks the file to its end, counting the pictures of an
// animation.
func (h *header) readPNG(data []byte) error {
	pixelData, animated, frames := false, false, 0
	for chunk := range chunks(data) {
		name := string(chunk[4:8])
		if h.width == 0 && name != "IHDR" {
			return unfit("damaged: the PNG does not begin with IHDR")
		}
		if len(pictureChunk(chunk)) != len(chunk) {
			h.metadata = true
		}
		body := chunk[8 : len(chunk)-4]
		switch name {
		case "IHDR":
			if err := h.readIHDR(body, len(data)); err != nil {
				return err
			}
		case "acTL":
			animated = true
		case "fcTL":
			frames++
		case "eXIf":
			h.Orientation = max(1, exifOrientation(body))
		case "IDAT":
			pixelData = true
		case "IEND":
			h.whole = pixelData
		}
	}
	if animated { // the count that acTL gives need not be true
		h.Frames = max(frames, 1)
	}
	return nil
}

// readIHDR reads size and kind of pixels of a PNG of fileSize bytes.
func (h *header) readIHDR(body []byte, fileSize int) error {
	if len(body) != 13 || h.width != 0 {
		return unfit("damaged: IHDR of the PNG")
	}
	width, height := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	if width == 0 || height == 0 || width > 1<<31-1 || height > 1<<31-1 {
		return unfit("damaged: IHDR of the PNG has no valid size")
	}
	h.width, h.height = int(width), int(height)
	depth, colour, interlaced := int64(body[8]), body[9], body[12] != 0

	channels, perPixel := int64(1), int64(1) // in the file; bytes as image/png keeps them
	switch colour {
	case 2: // RGB
		channels, perPixel = 3, 4
	case 4: // grey with alpha
		channels, perPixel = 2, 4
	case 6: // RGB with alpha
		channels, perPixel = 4, 4
	case 0: // grey, in four channels where one value of it is transparent
		perPixel = 4
	}
	if depth == 16 {
		perPixel *= 2
	}
	if interlaced {
		perPixel *= 2 // the pictures of the passes beside the whole
	}
	// Products of 2^31 by 2^31 by 8 do not fit: what is far over any limit on
	// pixels is not estimated.
	if h.pixels() > 1<<40 {
		return nil
	}
	h.memory = h.pixels() * perPixel
	// Deflate makes at most 1032 bytes of one (RFC 1951: 258 bytes from two
	// bits), so that a file which is shorter than that cannot hold the pixels.
	if h.pixels()*channels*depth/8/1032 > int64(fileSize) {
		h.refused = "damaged: the PNG is too short for its pixels"
	}
	return nil
}
