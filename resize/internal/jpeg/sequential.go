package jpeg

import "encoding/binary"

// places say, for each shift, where a coefficient in zigzag order belongs in the
// block of the reduced picture: row by row, of 8, 4, 2 or 1. All that have no
// place there, and all indices behind 63, to which damaged data may lead and an
// end of block does, share the spare place 64, which blocks have for it.
var places = makePlaces()

// spare is the place of what is not kept. The array that is written to has more
// room than a block for it.
const spare = 64

func makePlaces() (all [4][128]uint8) {
	for shift := range all {
		side := 8 >> shift
		for k := range all[shift] {
			all[shift][k] = spare
			if k > 63 {
				continue
			}
			if row, column := int(zigzag[k])/8, int(zigzag[k])%8; row < side && column < side {
				all[shift][k] = uint8(row*side + column)
			}
		}
	}
	return all
}

// lastPlace is, for each shift, the last index in zigzag order that has a place.
var lastPlace = [4]int{63, 24, 4, 0}

// sequentialBlock decodes a block of a sequential scan (T.81, F.2.2) into
// s.block, multiplied by the quantization table. It returns the index in zigzag
// order of the last coefficient that is not zero, as far as the reduced picture
// has use for it.
//
// The state of the bit reader is held in variables for the length of a loop, so
// that it stays in registers.
func (s *scan) sequentialBlock(part *scanPart) (last int, ok bool) {
	size, ok := s.bits.symbol(part.dc)
	if !ok || size > 15 {
		return 0, false
	}
	part.prediction = int32(int16(part.prediction + s.bits.signed(int(size))))
	if part.shift > 0 { // constant lengths take a few instructions
		clear(s.block[:16])
	} else {
		clear(s.block[:64])
	}
	s.block[0] = part.prediction * int32(part.quantization[0])

	acc, n, pos, data := s.bits.acc, s.bits.n, s.bits.pos, s.bits.data
	table, place, quantization := part.ac, part.place, part.quantization
	k, limit := 0, lastPlace[part.shift]
	for k < limit {
		if n < 32 {
			if x := next8(data, pos); x != 0 && !hasFF(x) {
				acc |= x >> (n & 63)
				whole := (63 - n) >> 3
				pos += whole
				n += whole << 3
			} else {
				s.bits.acc, s.bits.n, s.bits.pos = acc, n, pos
				s.bits.refillSlowly()
				acc, n, pos = s.bits.acc, s.bits.n, s.bits.pos
			}
		}
		e := table.coefficients[acc>>(64-lookBits)]
		if e&63 == 0 {
			if e = table.longEntry(acc); e == 0 {
				return 0, false
			}
		}
		length := int(e & 63)
		acc <<= length & 63
		n -= length
		k += int(e >> 6 & 63)
		value := e >> 16
		if size := int(e >> 12 & 15); size != 0 {
			value = extend(int32(acc>>(64-size&63)), size)
			acc <<= size & 63
			n -= size
		}
		if k > limit {
			break
		}
		last = k
		s.block[place[k&127]&127] = value * int32(quantization[k&63])
	}
	s.bits.acc, s.bits.n, s.bits.pos = acc, n, pos
	return last, s.skip(table, k)
}

// skip steps over what coefficients of the block follow behind index k.
func (s *scan) skip(table *huffman, k int) bool {
	acc, n, pos, data := s.bits.acc, s.bits.n, s.bits.pos, s.bits.data
	for k < 63 {
		if n < 32 {
			if x := next8(data, pos); x != 0 && !hasFF(x) {
				acc |= x >> (n & 63)
				whole := (63 - n) >> 3
				pos += whole
				n += whole << 3
			} else {
				s.bits.acc, s.bits.n, s.bits.pos = acc, n, pos
				s.bits.refillSlowly()
				acc, n, pos = s.bits.acc, s.bits.n, s.bits.pos
			}
		}
		e := table.coefficients[acc>>(64-lookBits)]
		if e&63 == 0 {
			if e = table.longEntry(acc); e == 0 {
				return false
			}
		}
		length := int(e&63 + e>>12&15)
		acc <<= length & 63
		n -= length
		k += int(e >> 6 & 63)
	}
	s.bits.acc, s.bits.n, s.bits.pos = acc, n, pos
	return true
}

// next8 returns the eight bytes at pos, or 0 where there are fewer.
func next8(data []byte, pos int) uint64 {
	if pos+8 > len(data) {
		return 0
	}
	return binary.BigEndian.Uint64(data[pos:])
}

// longEntry returns what [huffman.coefficients] would have for a code that is
// longer than lookBits, or 0 where no code begins with those bits.
func (h *huffman) longEntry(acc uint64) int32 {
	symbol, length := h.symbol(acc)
	if length == 0 {
		return 0
	}
	run, size := int32(symbol>>4), int32(symbol&15)
	if size == 0 && run != 15 {
		return int32(length) | 63<<6
	}
	return int32(length) | (run+1)<<6 | size<<12
}
