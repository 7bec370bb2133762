package gif

import (
	"bytes"
	"encoding/binary"
	"image"
	"iter"
)

// Kinds of blocks, by the byte that begins them (appendix A).
const (
	kindHeader    = 0 // signature, screen descriptor and global colours
	kindExtension = 0x21
	kindImage     = 0x2c
	kindTrailer   = 0x3b
	kindUnknown   = 0xff // what is no block, to the end of the file
)

// Labels of extensions.
const (
	labelControl     = 0xf9
	labelComment     = 0xfe
	labelApplication = 0xff
)

// block is one block of a file, from the byte that begins it to its end.
type block struct {
	kind byte
	data []byte
	cut  bool // the file ends inside it
}

// blocks walks a file. The last block is the trailer with all that is appended to
// the file, or where the file is cut off, or where no block begins. Zeros between
// blocks are passed over: some writers end a list of sub-blocks twice.
func blocks(data []byte) iter.Seq[block] {
	return func(yield func(block) bool) {
		if len(data) < 13 {
			return
		}
		pos := 13 + tableSize(data[10])
		if pos > len(data) {
			yield(block{kindHeader, data, true})
			return
		}
		if !yield(block{kindHeader, data[:pos], false}) {
			return
		}
		for pos < len(data) {
			if data[pos] == 0 {
				pos++
				continue
			}
			b := blockAt(data, pos)
			if !yield(b) || b.cut || b.kind == kindTrailer || b.kind == kindUnknown {
				return
			}
			pos += len(b.data)
		}
	}
}

func blockAt(data []byte, pos int) block {
	end := -1
	switch kind := data[pos]; kind {
	case kindTrailer:
		return block{kindTrailer, data[pos:], false}
	case kindExtension:
		end = subBlocksEnd(data, pos+2)
	case kindImage:
		if pos+10 <= len(data) {
			// The descriptor, its colours, and the code size of LZW.
			end = subBlocksEnd(data, pos+10+tableSize(data[pos+9])+1)
		}
	default:
		return block{kindUnknown, data[pos:], false}
	}
	if end < 0 {
		return block{data[pos], data[pos:], true}
	}
	return block{data[pos], data[pos:end], false}
}

// tableSize returns the bytes of the colour table that the packed field of a
// descriptor announces.
func tableSize(packed byte) int {
	if packed&0x80 == 0 {
		return 0
	}
	return 3 << (packed&7 + 1)
}

// subBlocksEnd returns where the sub-blocks that begin at pos end, behind their
// terminator, or -1 where the file does before it.
func subBlocksEnd(data []byte, pos int) int {
	for pos < len(data) {
		n := int(data[pos])
		pos += 1 + n
		if n == 0 {
			return pos
		}
	}
	return -1
}

// pictureBlock returns what of a block belongs to the picture: all of it,
// nothing of comments and of application data other than the loop count.
func pictureBlock(b block) []byte {
	switch {
	case b.kind == kindTrailer:
		return b.data[:1]
	case b.kind != kindExtension:
		return b.data
	case len(b.data) < 3 || b.data[1] == labelComment:
		return nil
	case b.data[1] == labelApplication && !isLoop(b.data):
		return nil
	}
	return b.data
}

// isLoop tells the application extension that counts repetitions, which Netscape
// introduced.
func isLoop(data []byte) bool {
	return bytes.HasPrefix(data[2:], []byte("\x0bNETSCAPE2.0")) || bytes.HasPrefix(data[2:], []byte("\x0bANIMEXTS1.0"))
}

// Strip returns a file of which nothing is missing without its metadata, and with
// its trailer.
func Strip(data []byte) []byte {
	out := make([]byte, 0, len(data)+1)
	for b := range blocks(data) {
		if b.kind == kindUnknown {
			break
		}
		out = append(out, pictureBlock(b)...)
		if b.kind == kindTrailer {
			return out
		}
	}
	return append(out, kindTrailer)
}

// Info is what the blocks of a file say.
type Info struct {
	Size   image.Point // of the screen as it is decoded
	Frames int
	// Pixels are all that are decoded, those of each frame or of the screen,
	// whichever is more.
	Pixels int64
	// Metadata says that there is something which [Strip] leaves out.
	Metadata bool
	// Trailer says that the file is complete to its end mark.
	Trailer bool
	// Mended says that the screen is not the one of the file, or a frame reaches
	// beyond it.
	Mended bool
	loop   int
	// largest is the area of the largest frame.
	largest int64
}

// Inspect walks a file that begins as a GIF. It decodes and allocates nothing.
func Inspect(data []byte) Info {
	i := Info{loop: 1}
	var screen image.Point
	for b := range blocks(data) {
		if b.kind != kindUnknown && len(pictureBlock(b)) != len(b.data) {
			i.Metadata = true
		}
		switch {
		case b.kind == kindHeader:
			screen.X = int(binary.LittleEndian.Uint16(b.data[6:]))
			screen.Y = int(binary.LittleEndian.Uint16(b.data[8:]))
			i.Size = screen
		case b.kind == kindTrailer:
			i.Trailer = true
		case b.kind == kindExtension && !b.cut && b.data[1] == labelApplication && isLoop(b.data):
			i.loop = loopCount(b.data)
		case b.kind == kindImage:
			d, ok := readDescriptor(b)
			if !ok {
				continue
			}
			if i.Frames == 0 {
				i.Size.X, i.Size.Y = max(i.Size.X, d.bounds.Max.X), max(i.Size.Y, d.bounds.Max.Y)
				if screen.X == 0 || screen.Y == 0 {
					i.Size = d.bounds.Size()
				}
			}
			i.Frames++
			area := d.pixels(i.Size)
			i.largest = max(i.largest, area)
			i.Pixels += max(area, int64(i.Size.X)*int64(i.Size.Y))
			i.Mended = i.Mended || !d.bounds.In(image.Rectangle{Max: screen})
		}
	}
	return i
}

// loopCount reads how often an animation is played. What is written is how often
// it is repeated, 0 for ever.
func loopCount(data []byte) int {
	if len(data) < 18 || data[14] < 3 || data[15] != 1 {
		return 1
	}
	if n := int(binary.LittleEndian.Uint16(data[16:])); n > 0 {
		return n + 1
	}
	return 0
}

// descriptor is the head of an image block (section 20), and what follows it.
type descriptor struct {
	bounds    image.Rectangle
	interlace bool
	colours   []byte // the local table; nil where there is none
	codeSize  int    // of LZW
	coded     []byte // sub-blocks
}

// pixels returns how many pixels have to be decoded to have those on a screen of
// that size: none of the rows below it.
func (d descriptor) pixels(screen image.Point) int64 {
	height := min(d.bounds.Dy(), max(0, screen.Y-d.bounds.Min.Y))
	return int64(d.bounds.Dx()) * int64(height)
}

// readDescriptor reads an image block. It is not ok where the file ends before
// the first coded pixel.
func readDescriptor(b block) (d descriptor, ok bool) {
	if len(b.data) < 10 {
		return d, false
	}
	x, y := int(binary.LittleEndian.Uint16(b.data[1:])), int(binary.LittleEndian.Uint16(b.data[3:]))
	w, h := int(binary.LittleEndian.Uint16(b.data[5:])), int(binary.LittleEndian.Uint16(b.data[7:]))
	d.bounds = image.Rect(x, y, x+w, y+h)
	packed := b.data[9]
	d.interlace = packed&0x40 != 0
	rest := b.data[10:]
	n := tableSize(packed)
	if len(rest) < n+2 {
		return d, false
	}
	if n > 0 {
		d.colours = rest[:n]
	}
	d.codeSize, d.coded = int(rest[n]), rest[n+1:]
	return d, true
}
