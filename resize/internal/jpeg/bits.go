package jpeg

import (
	"bytes"
	"encoding/binary"
)

// bitReader reads the bits of coded data, the highest of each byte first (T.81,
// F.2.2.5). It holds up to 64 in a register and refills that by eight bytes at a
// time as long as none of them is 0xff, which marks either a stuffed zero byte
// to be left out or a marker, where the data ends.
//
// Behind the end it gives zeros. Their number is kept, so that whoever has read
// too far is found out later, once for many reads: see [bitReader.overrun].
type bitReader struct {
	data []byte // the coded data of one scan, with restart markers
	pos  int
	acc  uint64 // the next bits, from the top down; below them zeros or bits that follow
	n    int    // how many of them are valid
	pad  int    // how many zeros were given out or wait in acc
}

// hasFF reports whether one of eight bytes is 0xff: adding 1 to a byte's
// complement, 0, borrows into its highest bit.
func hasFF(x uint64) bool {
	return (^x-0x0101010101010101)&x&0x8080808080808080 != 0
}

// refill makes at least 56 bits valid.
func (r *bitReader) refill() {
	if r.pos+8 <= len(r.data) {
		if x := binary.BigEndian.Uint64(r.data[r.pos:]); !hasFF(x) {
			r.acc |= x >> (r.n & 63)
			whole := (63 - r.n) >> 3
			r.pos += whole
			r.n += whole << 3
			return
		}
	}
	r.refillSlowly()
}

// refillSlowly looks at each byte.
func (r *bitReader) refillSlowly() {
	for r.n <= 56 {
		if r.pos >= len(r.data) {
			r.n += 8
			r.pad += 8
			continue
		}
		b := r.data[r.pos]
		if b == 0xff {
			if r.pos+1 >= len(r.data) || r.data[r.pos+1] != 0 {
				r.n += 8
				r.pad += 8
				continue
			}
			r.pos++
		}
		r.pos++
		r.acc |= uint64(b) << (56 - r.n)
		r.n += 8
	}
}

// overrun reports whether more was read than there was.
func (r *bitReader) overrun() bool { return r.pad > r.n }

// bits reads up to 16 bits.
func (r *bitReader) bits(count int) int32 {
	if r.n < count {
		r.refill()
	}
	v := int32(r.acc >> 1 >> (63 - count))
	r.acc <<= count
	r.n -= count
	return v
}

// bit reads one bit.
func (r *bitReader) bit() bool {
	if r.n < 1 {
		r.refill()
	}
	v := r.acc>>63 != 0
	r.acc <<= 1
	r.n--
	return v
}

// symbol reads a symbol of a Huffman code. It reports false where no code begins
// with the bits there are.
func (r *bitReader) symbol(h *huffman) (uint8, bool) {
	if r.n < 16 {
		r.refill()
	}
	s, length := h.symbol(r.acc)
	r.acc <<= length
	r.n -= length
	return s, length > 0
}

// signed reads a value of that many bits, at most 16, of which those that begin
// with 0 are negative (T.81, F.2.2.1, EXTEND).
func (r *bitReader) signed(size int) int32 { return extend(r.bits(size), size) }

// extend maps size bits to a value with a sign (T.81, figure F.12).
func extend(v int32, size int) int32 {
	if size > 0 && v < 1<<(size-1) {
		v += 1 - 1<<size
	}
	return v
}

// nextRestart goes behind the next restart marker and reports how many of them
// were lost on the way to it, given the number, modulo 8, of the one that comes
// next; false where no more follow. A marker of a number far ahead is taken for
// an old one and passed over: markers are counted modulo 8 only, and losing one
// or two is likelier than losing six (as T.81, B.2.1 leaves it to the decoder).
func (r *bitReader) nextRestart(number int) (lost int, ok bool) {
	for {
		i := bytes.IndexByte(r.data[r.pos:], 0xff)
		if i < 0 || r.pos+i+1 >= len(r.data) {
			return 0, false
		}
		r.pos += i + 1
		marker := r.data[r.pos]
		if marker < markerRST0 || marker > markerRST7 {
			continue
		}
		r.pos++
		if lost = (int(marker-markerRST0) - number) & 7; lost < 6 {
			r.acc, r.n, r.pad = 0, 0, 0
			return lost, true
		}
	}
}
