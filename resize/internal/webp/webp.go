// Package webp reads WebP files: the container here, the coded pictures with
// golang.org/x/image. Against that alone it decodes animations, keeps what there is
// of a file that is cut off, and leaves lossy pictures as they are coded, in planes
// of the limited range of video (RFC 9649, section 2.5), which whoever converts
// them has to know.
//
// libwebp in WebAssembly was measured as well: it takes a third more CPU, and
// three times the memory.
package webp

import (
	"encoding/binary"
	"errors"
	"image"
)

// Header is what a file says before anything is decoded.
type Header struct {
	Width, Height int
	// Planar says that it is lossy and opaque, so that Planes decodes it.
	Planar bool
	// Animated says that Play is to be used.
	Animated bool
	// Frames is the number of pictures of an animation, and otherwise 1.
	Frames int
	// Pixels is how many pixels all pictures of an animation have together.
	Pixels        int64
	Loop          int    // how often an animation is played, 0 for ever
	Profile, EXIF []byte // nil where there is none
	Metadata      bool   // there is EXIF or XMP
	Cut           bool   // the file is shorter than it says
}

// coded is one picture as it is in the file.
type coded struct {
	alpha  []byte // content of the chunk ALPH
	lossy  []byte // of VP8
	bits   []byte // of VP8L, the lossless coding
	length int    // that the chunk of the picture should have
}

// opaque reports that nothing of it is transparent. The header of the lossless
// coding says so; samples of transparency that follow nevertheless are not meant, as
// browsers have it.
func (c *coded) opaque() bool {
	if c.bits != nil {
		return len(c.bits) < 5 || c.bits[4]&0x10 == 0
	}
	return c.alpha == nil
}

// size returns what the picture's own header says (RFC 6386, section 9.1; RFC 9649,
// section 3.4).
func (c *coded) size() (width, height int) {
	if b := c.lossy; len(b) >= 10 && string(b[3:6]) == "\x9d\x01\x2a" {
		return int(binary.LittleEndian.Uint16(b[6:])) & 0x3fff, int(binary.LittleEndian.Uint16(b[8:])) & 0x3fff
	}
	if b := c.bits; len(b) >= 5 && b[0] == 0x2f {
		v := binary.LittleEndian.Uint32(b[1:])
		return int(v&0x3fff) + 1, int(v>>14&0x3fff) + 1
	}
	return 0, 0
}

// add takes a chunk, if it is part of a picture.
func (c *coded) add(part chunk) {
	if c.lossy != nil || c.bits != nil {
		return
	}
	switch string(part.name) {
	case "ALPH":
		c.alpha = part.body
	case "VP8 ":
		c.lossy, c.length = part.body, part.length
	case "VP8L":
		c.bits, c.length = part.body, part.length
	}
}

var (
	errHeader = errors.New("the WebP begins with no valid header")
	errFrame  = errors.New("a picture of the WebP lies outside of it")
)

// Sniff reports whether a file is one.
func Sniff(head []byte) bool {
	return len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP"
}

// chunk is a part of a file (RFC 9649, section 2.3).
type chunk struct {
	name   []byte // four letters
	body   []byte // what there is of it
	length int    // that it should have
}

// next takes the first chunk of b.
func next(b []byte) (c chunk, rest []byte, ok bool) {
	if len(b) < 8 {
		return chunk{}, nil, false
	}
	size := uint64(binary.LittleEndian.Uint32(b[4:]))
	body := b[8:][:min(size, uint64(len(b)-8))]
	rest = b[min(8+size+size%2, uint64(len(b))):] // padded to an even length
	return chunk{b[:4], body, int(min(size, 1<<31-1))}, rest, true
}

// begin is where the first chunk of a file is.
const begin = 12

// ReadHeader walks the whole file.
func ReadHeader(data []byte) (Header, error) {
	h := Header{Frames: 1}
	still, frames := coded{}, 0
	for c, rest, ok := next(data[min(begin, len(data)):]); ok; c, rest, ok = next(rest) {
		switch string(c.name) {
		case "VP8X":
			if h.Width == 0 && len(c.body) >= 10 {
				h.Width, h.Height = 1+uint24(c.body[4:]), 1+uint24(c.body[7:])
			}
		case "ANIM":
			if len(c.body) >= 6 {
				h.Loop = int(binary.LittleEndian.Uint16(c.body[4:]))
			}
		case "ANMF":
			if f, ok := readFrame(c.body); ok {
				frames++
				h.Pixels += int64(f.place.Dx()) * int64(f.place.Dy())
			}
		case "ICCP":
			h.Profile = c.body
		case "EXIF":
			h.EXIF, h.Metadata = c.body, true
		case "XMP ":
			h.Metadata = true
		default:
			still.add(c)
		}
		if w, height := still.size(); h.Width == 0 {
			h.Width, h.Height = w, height
		}
		if h.Width == 0 {
			return Header{}, errHeader
		}
	}
	if h.Width == 0 || h.Height == 0 {
		return Header{}, errHeader // no chunk at all, or no size
	}
	h.Cut = int64(binary.LittleEndian.Uint32(data[4:]))+8 > int64(len(data))
	if frames > 0 {
		h.Animated, h.Frames = true, frames
		return h, nil
	}
	if w, height := still.size(); w != h.Width || height != h.Height {
		return Header{}, errHeader
	}
	h.Planar = still.lossy != nil && still.opaque()
	h.Pixels = int64(h.Width) * int64(h.Height)
	return h, nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// frame is a picture of an animation (RFC 9649, section 2.7.1.1).
type frame struct {
	place     image.Rectangle
	delay     int // milliseconds
	dispose   bool
	overwrite bool
	coded     coded
}

func readFrame(body []byte) (frame, bool) {
	if len(body) < 16 {
		return frame{}, false
	}
	at := image.Pt(2*uint24(body), 2*uint24(body[3:]))
	size := image.Pt(1+uint24(body[6:]), 1+uint24(body[9:]))
	f := frame{
		place:     image.Rectangle{Min: at, Max: at.Add(size)},
		delay:     uint24(body[12:]),
		dispose:   body[15]&1 != 0,
		overwrite: body[15]&2 != 0,
	}
	for c, rest, ok := next(body[16:]); ok; c, rest, ok = next(rest) {
		f.coded.add(c)
	}
	return f, true
}
