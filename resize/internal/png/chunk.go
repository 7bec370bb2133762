package png

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
)

// Signature is what every PNG file begins with.
const Signature = "\x89PNG\r\n\x1a\n"

// Chunk is one chunk of a file, from its length to its checksum. The last one of
// a file that is cut off may lack some of that.
type Chunk []byte

// Chunks walks a file. With the last chunk, IEND, it yields whatever is appended
// to the file.
func Chunks(data []byte) iter.Seq[Chunk] { return walk(data[min(len(Signature), len(data)):]) }

// walk yields the chunks of what is left of a file.
func walk(rest []byte) iter.Seq[Chunk] {
	return func(yield func(Chunk) bool) {
		for len(rest) >= 8 {
			n := min(uint64(binary.BigEndian.Uint32(rest))+12, uint64(len(rest)))
			last := string(rest[4:8]) == "IEND"
			if last {
				n = uint64(len(rest))
			}
			if !yield(Chunk(rest[:n])) || last {
				return
			}
			rest = rest[n:]
		}
	}
}

// Is reports whether the chunk has that name.
func (c Chunk) Is(name string) bool { return string(c[4:8]) == name }

// Body returns what is between the name and the checksum, as far as it is there.
func (c Chunk) Body() []byte {
	size := min(uint64(binary.BigEndian.Uint32(c)), uint64(len(c)-8))
	return c[8:][:size]
}

// Whole reports whether the chunk is all there and its checksum right.
func (c Chunk) Whole() bool {
	size := uint64(binary.BigEndian.Uint32(c))
	if size+12 > uint64(len(c)) {
		return false
	}
	return crc32.ChecksumIEEE(c[4:8+size]) == binary.BigEndian.Uint32(c[8+size:])
}

// Picture returns what of a chunk belongs to the picture: all of it, nothing of
// metadata. Kept are the chunks of the standard that bear on what is seen (PNG,
// third edition, section 11), those of an animation included; text, EXIF, dates,
// private chunks and what decoders skip because its checksum is wrong are not.
func (c Chunk) Picture() []byte {
	switch string(c[4:8]) {
	case "IHDR", "PLTE", "IDAT":
		return c
	case "tRNS", "acTL", "fcTL", "fdAT",
		"cHRM", "cICP", "gAMA", "iCCP", "mDCV", "cLLI", "sBIT", "sRGB", "bKGD", "pHYs":
		if c.Whole() {
			return c
		}
	case "IEND":
		return c[:min(12, len(c))]
	}
	return nil
}

// Strip returns the file without its metadata.
func Strip(data []byte) []byte {
	out := append(make([]byte, 0, len(data)), Signature...)
	for c := range Chunks(data) {
		out = append(out, c.Picture()...)
	}
	return out
}

// appendChunk appends a chunk with its checksum.
func appendChunk(out []byte, name string, body ...[]byte) []byte {
	size, start := 0, len(out)+4
	for _, part := range body {
		size += len(part)
	}
	out = append(binary.BigEndian.AppendUint32(out, uint32(size)), name...)
	for _, part := range body {
		out = append(out, part...)
	}
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}
