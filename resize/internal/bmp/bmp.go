// Package bmp decodes BMP files row by row, from the top down.
//
// # What is decoded
//
// Every kind that Windows and OS/2 wrote: 1, 2, 4, 8, 16, 24 and 32 bits a pixel;
// run lengths of 4, 8 and 24 bits; bit fields; headers of OS/2 (12, 16 to 64
// bytes) and of Windows in all versions; rows from the bottom up or the top down. The
// layouts are those of Windows GDI, "Bitmap Storage", and of the OS/2 Toolkit,
// "BITMAPINFOHEADER2". Transparency counts where a header has a mask for it and
// one pixel at least is not wholly transparent: many writers leave it zero. JPEG
// and PNG inside of a BMP, which are for printers, are not decoded.
//
// A file that is cut off gives the rows that are there, the rest grey, and says
// so. What run lengths step over has the first colour.
//
// # Bounds
//
// Nothing here limits the size of a picture: the caller reads it from the header
// and decides. [Header.Memory] says what a decode allocates.
package bmp

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Codings of pixels (BITMAPINFOHEADER, biCompression).
const (
	rgb        = 0
	rle8       = 1
	rle4       = 2
	bitFields  = 3 // of OS/2: Huffman, which is told apart by its header
	rle24      = 4 // of OS/2; of Windows: JPEG
	alphaField = 6
)

// Header is what the headers say.
type Header struct {
	Width, Height int
	// Channels is how many bytes each pixel of a row comes out with: 3 red, green and
	// blue, 4 with transparency, not multiplied into the colours.
	Channels int

	depth   int
	coding  uint32
	topDown bool
	offset  int // of the pixels
	masks   [4]uint32
	palette []byte // entries of entry bytes: blue, green, red
	entry   int
}

// The errors of a header. ErrCoding is of one that is right, but not decoded.
var (
	ErrCoding  = errors.New("the BMP's coding is not known")
	errHeader  = errors.New("the header of the BMP is cut off")
	errSize    = errors.New("the header of the BMP has no valid size")
	errNoColor = errors.New("the BMP has no palette")
)

// Is reports whether a file that begins so is a BMP. It wants more than the two
// letters with which any text may begin: a file header, and the length of one of
// the information headers there are.
func Is(head []byte) bool {
	if len(head) < 18 || string(head[:2]) != "BM" {
		return false
	}
	switch n := binary.LittleEndian.Uint32(head[14:]); n {
	case 12, 40, 52, 56, 108, 124:
		return true
	default:
		return n >= 16 && n <= 64 && n%4 == 0
	}
}

// ReadHeader reads the headers. It allocates nothing.
func ReadHeader(data []byte) (Header, error) {
	if len(data) < 26 {
		return Header{}, errHeader
	}
	size := int(binary.LittleEndian.Uint32(data[14:]))
	if !Is(data) || len(data) < 14+size {
		return Header{}, errHeader
	}
	info := data[14:][:size]
	h := Header{offset: int(binary.LittleEndian.Uint32(data[10:])), entry: 4, Channels: 3}
	colours := 0
	if size == 12 {
		h.entry = 3
		h.Width, h.Height = int(binary.LittleEndian.Uint16(info[4:])), int(binary.LittleEndian.Uint16(info[6:]))
		h.depth = int(binary.LittleEndian.Uint16(info[10:]))
	} else {
		width, height := int64(int32(binary.LittleEndian.Uint32(info[4:]))), int64(int32(binary.LittleEndian.Uint32(info[8:])))
		if width <= 0 || width > 1<<30 || max(height, -height) > 1<<30 {
			return Header{}, errSize
		}
		h.topDown = height < 0
		h.Width, h.Height = int(width), int(max(height, -height))
		h.depth = int(binary.LittleEndian.Uint16(info[14:]))
		if size >= 20 {
			h.coding = binary.LittleEndian.Uint32(info[16:])
		}
		if size >= 36 {
			colours = int(min(binary.LittleEndian.Uint32(info[32:]), 256))
		}
	}
	if h.Width == 0 || h.Height == 0 {
		return Header{}, errSize
	}
	return h, h.readPixelLayout(data, info, colours)
}

// readPixelLayout reads masks and palette. OS/2's second header is known by a
// length that Windows has no header of.
func (h *Header) readPixelLayout(data, info []byte, colours int) error {
	second := len(info) != 12 && len(info) < 40 || len(info) == 64
	ok := false
	switch h.coding {
	case rgb:
		ok = h.depth == 1 || h.depth == 2 || h.depth == 4 || h.depth == 8 || h.depth == 16 || h.depth == 24 || h.depth == 32
	case rle8:
		ok = h.depth == 8
	case rle4:
		ok = h.depth == 4
	case rle24:
		ok = second && h.depth == 24
	case bitFields, alphaField:
		ok = !second && (h.depth == 16 || h.depth == 32)
	}
	if !ok {
		return ErrCoding
	}
	end := 14 + len(info)
	if h.depth == 16 || h.depth == 32 {
		return h.readMasks(data, info, end)
	}
	if h.depth > 8 {
		h.offset = max(h.offset, end)
		return nil
	}
	if colours == 0 || colours > 1<<h.depth {
		colours = 1 << h.depth
	}
	h.palette = data[min(end, len(data)):]
	room := min(colours*h.entry, len(h.palette))
	if h.offset > end { // what the file header leaves room for
		room = min(room, h.offset-end)
	}
	h.palette = h.palette[:room]
	if h.offset < end {
		h.offset = end + room
	}
	if len(h.palette) < h.entry {
		return errNoColor
	}
	return nil
}

// readMasks reads which bits of a pixel its samples are: with bit fields, from
// the header or from behind a short one; without, five of each in 16 bits and
// eight in 32.
func (h *Header) readMasks(data, info []byte, end int) error {
	switch {
	case h.coding == rgb && h.depth == 16:
		h.masks = [4]uint32{0x7c00, 0x03e0, 0x001f}
	case h.coding == rgb:
		h.masks = [4]uint32{0xff0000, 0xff00, 0xff}
	default:
		fields := 3
		if len(info) >= 56 || h.coding == alphaField {
			fields = 4
		}
		if len(data) < 14+40+4*fields {
			return errHeader
		}
		for i := range fields { // at the same place, in the header or behind it
			h.masks[i] = binary.LittleEndian.Uint32(data[14+40+4*i:])
		}
		if len(info) == 40 {
			end += 4 * fields
		}
	}
	h.offset = max(h.offset, end)
	for i, m := range h.masks {
		if m == 0 {
			continue
		}
		if shifted := uint64(m >> bits.TrailingZeros32(m)); shifted&(shifted+1) != 0 && i < 3 {
			return ErrCoding
		}
	}
	return nil
}

// rowBytes returns the bytes of a row: they are padded to four.
func (h Header) rowBytes() int { return (h.Width*h.depth + 31) / 32 * 4 }

// runLengths reports whether pixels are coded by run lengths.
func (h Header) runLengths() bool {
	return h.coding == rle4 || h.coding == rle8 || h.coding == rle24
}

// Possible reports whether a file of that many bytes has a row of pixels at
// least. The caller must have bounded the sides before.
func (h Header) Possible(fileSize int) bool {
	return h.runLengths() && fileSize > h.offset || fileSize >= h.offset+h.rowBytes()
}

// Memory returns how many bytes [Decode] allocates.
func (h Header) Memory() int64 {
	memory := 4*int64(h.Width) + 2048
	if h.runLengths() {
		memory += int64(h.Width) * int64(h.Height) * int64(max(1, h.depth/8))
	}
	return memory
}
