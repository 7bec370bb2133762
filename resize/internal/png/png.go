// Package png decodes PNG files row by row. It is made for pictures that become
// smaller: no more than two rows are held of one that is not interlaced, so that
// whoever scales them holds no picture of the full size.
//
// # What is decoded
//
// Every kind of pixels that the standard has (PNG, third edition; ISO/IEC 15948),
// interlaced or not, of an animation the still picture. Samples come out in 8
// bits: of 16, the upper ones. gAMA, cHRM and sRGB are not applied, as phones
// leave them out too; the ICC profile is handed out.
//
// What other decoders forgive is forgiven: wrong checksums, chunks in wrong
// order, a palette in a picture of greys, chunks between those of the pixels, rows
// beyond the last, a missing end. A file that is cut off or damaged gives the rows
// up to there, the rest grey, and says so in [Outcome.Lost].
//
// # Bounds
//
// Nothing here limits the size of a picture: the caller reads it from the header
// and decides. [Header.Memory] says what a decode allocates. No more is inflated
// than the pixels take, and no more read than they could take uncompressed, or than
// 256 KiB of which nothing comes; each row and each piece of the file asks the
// context.
package png

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zlib"
)

// Reader decodes one file.
type Reader struct {
	Header
	// Channels is how many bytes each pixel of a row comes out with: 1 grey, 3 red,
	// green and blue, 4 with transparency, not multiplied into the colours.
	Channels int

	data        []byte
	palette     [256][4]uint8
	transparent [3]uint16 // the one colour that is, of Grey and RGB
	hasKey      bool      // there is such a colour
	odd         bool      // there is a palette where none may be, or its checksum is wrong
}

// Outcome says what a decode found.
type Outcome struct {
	// Lost says that part of the pixels is missing or damaged.
	Lost bool
	// Odd says that all pixels are there, but strict decoders would not read the
	// file: a checksum is wrong, the end is missing, other chunks stand between those
	// of the pixels, or greys have a palette. [Reader.Repair] writes it anew.
	Odd bool

	deflated int    // bytes of the deflated data up to its end; 0 where that is not known
	adler    uint32 // the right checksum of what it inflates to
}

// Open reads what stands in front of the pixels. The error says what is damaged.
func Open(data []byte) (*Reader, error) {
	r := &Reader{data: data}
	pixels, palette := false, 0
	for c := range Chunks(data) {
		switch {
		case r.Width == 0:
			var err error
			if r.Header, err = ReadHeader(c); err != nil {
				return nil, err
			}
		case c.Is("PLTE") && (r.Colour == Grey || r.Colour == GreyAlpha):
			r.odd = true
		case c.Is("PLTE") && palette == 0 && r.Colour == Palette:
			palette = r.readPalette(c.Body())
			r.odd = r.odd || !c.Whole()
		case c.Is("tRNS") && !pixels && c.Whole():
			r.readTransparency(c.Body(), palette)
		case c.Is("IDAT"):
			pixels = true
		}
	}
	switch {
	case r.Width == 0:
		return nil, errIHDR
	case !pixels:
		return nil, errors.New("the PNG has no pixels")
	case r.Colour == Palette && palette == 0:
		return nil, errors.New("the PNG has no palette")
	}
	r.Channels = r.channels()
	return r, nil
}

// channels returns how many channels the pixels have. A palette without any
// colour is grey.
func (r *Reader) channels() int {
	switch {
	case r.Colour == GreyAlpha, r.Colour == RGBA, r.hasKey:
		return 4
	case r.Colour == Grey:
		return 1
	}
	return 3
}

// readPalette reads PLTE and returns how many colours it has. Indices beyond them
// are black.
func (r *Reader) readPalette(body []byte) int {
	for i := range r.palette {
		r.palette[i] = [4]uint8{3: 0xff}
	}
	n := min(len(body)/3, len(r.palette))
	for i := range n {
		copy(r.palette[i][:3], body[3*i:])
	}
	return n
}

// readTransparency reads tRNS: of a palette, which must stand before it, how
// opaque each colour is, of others the one colour that is not. Others with
// transparency have none of it.
func (r *Reader) readTransparency(body []byte, palette int) {
	switch {
	case r.Colour == Palette && palette > 0:
		for i := range min(len(body), palette) {
			r.palette[i][3] = body[i]
			r.hasKey = r.hasKey || body[i] != 0xff
		}
	case r.Colour == Grey && len(body) >= 2, r.Colour == RGB && len(body) >= 6:
		mask := uint16(1)<<r.Depth - 1
		for i := range r.Samples() {
			r.transparent[i] = (uint16(body[2*i])<<8 | uint16(body[2*i+1])) & mask
		}
		r.hasKey = true
	}
}

// maxProfile is the largest ICC profile that is inflated, in bytes, and the most
// bytes that are read for it: those of presses have two megabytes at most.
const maxProfile = 4 << 20

// Profile returns the file's ICC profile, nil where it has none that can be read
// (PNG, third edition, section 11.3.2.3).
func Profile(data []byte) []byte {
	for c := range Chunks(data) {
		if c.Is("IDAT") {
			return nil
		}
		if !c.Is("iCCP") || !c.Whole() {
			continue
		}
		_, packed, found := bytes.Cut(c.Body(), []byte{0})
		if !found || len(packed) < 1 || packed[0] != 0 {
			return nil
		}
		z, err := zlib.NewReader(bytes.NewReader(packed[1:min(len(packed), maxProfile)]))
		if err != nil {
			return nil
		}
		profile, err := io.ReadAll(io.LimitReader(z, maxProfile))
		if err != nil && !errors.Is(err, zlib.ErrChecksum) {
			return nil
		}
		return profile
	}
	return nil
}
