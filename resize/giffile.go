package resize

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Blocks of a GIF file (GIF89a specification, appendix A).
const (
	gifHeader    = 0 // signature, screen descriptor and global colours
	gifExtension = 0x21
	gifImage     = 0x2c
	gifTrailer   = 0x3b
)

// blocks walks a GIF file. It yields each block with its kind: header,
// extension, image with its coded data, and with the trailer whatever is
// appended to the file. The walk ends where the file is cut off or no block
// begins.
func blocks(data []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		pos := 13 // signature and logical screen descriptor
		if len(data) < pos {
			return
		}
		pos += colourTable(data[10])
		if pos > len(data) || !yield(gifHeader, data[:pos]) {
			return
		}
		for pos < len(data) {
			kind, end := data[pos], -1
			switch kind {
			case gifExtension:
				end = subBlocksEnd(data, pos+2)
			case gifImage:
				if pos+10 <= len(data) {
					// The descriptor, its colours, and the code size of LZW.
					end = subBlocksEnd(data, pos+10+colourTable(data[pos+9])+1)
				}
			case gifTrailer:
				end = len(data)
			}
			if end < 0 || !yield(kind, data[pos:end]) {
				return
			}
			pos = end
		}
	}
}

// colourTable returns the length of the colour table that the packed field of a
// descriptor announces.
func colourTable(packed byte) int {
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
func pictureBlock(kind byte, block []byte) []byte {
	switch {
	case kind == gifTrailer:
		return block[:1]
	case kind != gifExtension:
		return block
	}
	switch label, body := block[1], block[2:]; label {
	case 0xfe: // comment
		return nil
	case 0xff: // application
		if !bytes.HasPrefix(body, []byte("\x0bNETSCAPE2.0")) && !bytes.HasPrefix(body, []byte("\x0bANIMEXTS1.0")) {
			return nil
		}
	}
	return block
}

// stripGIF returns the file without its metadata.
func stripGIF(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for kind, block := range blocks(data) {
		out = append(out, pictureBlock(kind, block)...)
	}
	return out
}

// readGIF reads the size of the screen and walks the file to count its pictures.
// A file with a picture that reaches beyond the screen, and so may be of any
// size, does not count as whole.
func (h *header) readGIF(data []byte) error {
	frames, outside := 0, false
	for kind, block := range blocks(data) {
		if len(pictureBlock(kind, block)) != len(block) {
			h.metadata = true
		}
		switch kind {
		case gifHeader:
			h.width = int(binary.LittleEndian.Uint16(block[6:]))
			h.height = int(binary.LittleEndian.Uint16(block[8:]))
		case gifImage:
			frames++
			right := int(binary.LittleEndian.Uint16(block[1:])) + int(binary.LittleEndian.Uint16(block[5:]))
			bottom := int(binary.LittleEndian.Uint16(block[3:])) + int(binary.LittleEndian.Uint16(block[7:]))
			outside = outside || right > h.width || bottom > h.height
		case gifTrailer:
			h.whole = frames > 0 && !outside
		}
	}
	h.Frames = max(frames, 1)
	h.memory = h.pixels()
	return nil
}
