package png

import (
	"encoding/binary"
	"errors"
)

// Kinds of pixels, as IHDR tells them (PNG, third edition, table 8).
const (
	Grey      = 0
	RGB       = 2
	Palette   = 3
	GreyAlpha = 4
	RGBA      = 6
)

// Header is what IHDR says.
type Header struct {
	Width, Height int
	Depth         int // bits of a sample: 1, 2, 4, 8 or 16
	Colour        int // Grey, RGB, Palette, GreyAlpha or RGBA
	Interlaced    bool
}

// The errors of a header that no decoder reads.
var (
	errSize = errors.New("IHDR of the PNG has no valid size")
	errKind = errors.New("IHDR of the PNG names a kind of pixels that there is not")
	errIHDR = errors.New("IHDR of the PNG")
)

// depths are the depths that each kind of pixels may have, a bit for each.
var depths = [7]uint32{
	Grey:      1<<1 | 1<<2 | 1<<4 | 1<<8 | 1<<16,
	RGB:       1<<8 | 1<<16,
	Palette:   1<<1 | 1<<2 | 1<<4 | 1<<8,
	GreyAlpha: 1<<8 | 1<<16,
	RGBA:      1<<8 | 1<<16,
}

// ReadHeader reads IHDR.
func ReadHeader(c Chunk) (Header, error) {
	body := c.Body()
	if !c.Is("IHDR") || len(body) != 13 || !c.Whole() {
		return Header{}, errIHDR
	}
	width, height := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	if width == 0 || height == 0 || width > 1<<31-1 || height > 1<<31-1 {
		return Header{}, errSize
	}
	depth, colour := body[8], body[9]
	if int(colour) >= len(depths) || depth > 16 || depths[colour]>>depth&1 == 0 || body[10] != 0 || body[11] != 0 || body[12] > 1 {
		return Header{}, errKind
	}
	return Header{
		Width: int(width), Height: int(height), Depth: int(depth), Colour: int(colour), Interlaced: body[12] == 1,
	}, nil
}

// Samples returns how many samples a pixel has in the file.
func (h Header) Samples() int {
	return [7]int{Grey: 1, RGB: 3, Palette: 1, GreyAlpha: 2, RGBA: 4}[h.Colour]
}

// rowBytes returns the bytes of a row of that many pixels, without its filter.
func (h Header) rowBytes(width int) int { return (width*h.Depth*h.Samples() + 7) / 8 }

// pass is one of the seven pictures of an interlaced file, or the only one of
// another: which pixels of the whole it has (PNG, third edition, section 8.1),
// and how many neighbours each stands for until later ones replace it.
type pass struct {
	x, y, stepX, stepY      int
	blockWidth, blockHeight int
}

var (
	adam7 = []pass{
		{0, 0, 8, 8, 8, 8},
		{4, 0, 8, 8, 4, 8},
		{0, 4, 4, 8, 4, 4},
		{2, 0, 4, 4, 2, 4},
		{0, 2, 2, 4, 2, 2},
		{1, 0, 2, 2, 1, 2},
		{0, 1, 1, 2, 1, 1},
	}
	noInterlace = []pass{{0, 0, 1, 1, 1, 1}}
)

func (h Header) passes() []pass {
	if h.Interlaced {
		return adam7
	}
	return noInterlace
}

// size returns the size of a pass of the picture; none if a side is 0.
func (h Header) size(p pass) (width, height int) {
	width = (h.Width - p.x + p.stepX - 1) / p.stepX
	height = (h.Height - p.y + p.stepY - 1) / p.stepY
	if width <= 0 || height <= 0 {
		return 0, 0
	}
	return width, height
}

// rawBytes returns how many bytes the pixel data has when it is inflated.
func (h Header) rawBytes() int64 {
	total := int64(0)
	for _, p := range h.passes() {
		width, height := h.size(p)
		total += int64(height) * int64(1+h.rowBytes(width))
	}
	return total
}

// maxRatio is how many bytes deflate makes of one at most (RFC 1951: 258 from two
// bits).
const maxRatio = 1032

// Possible reports whether a file of that many bytes can hold an eighth of the
// pixels. What has less is no picture that was cut off but a claim. The caller
// must have bounded the sides before.
func (h Header) Possible(fileSize int) bool {
	return h.rawBytes()/8/maxRatio <= int64(fileSize)
}

// Work returns about how many nanoseconds of CPU a decode takes.
func (h Header) Work() int64 {
	work := 8*h.rawBytes() + 10*int64(h.Width)*int64(h.Height)
	if h.Interlaced {
		work *= 2
	}
	return work
}
