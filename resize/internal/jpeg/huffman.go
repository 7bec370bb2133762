package jpeg

import "errors"

// lookBits is how many bits are looked up at once. Codes that are longer are
// rare by their nature; 10 bits keep the four tables of a scan in the first
// cache of a processor.
const lookBits = 10

// huffman decodes one Huffman code (T.81, annex C and F.2.2.3).
//
// The next lookBits bits are an index into tables that give what begins there.
// The table for AC coefficients gives not the symbol alone but, where they are
// short enough together, the coefficient's value too, which follows its symbol
// in as many bits as the symbol says: one lookup for most coefficients. An entry
// is, from the lowest bit:
//
//	 6 bits  what is used up: the code and, if it was looked up too, the value;
//	         0 where the code is longer than lookBits
//	 6 bits  how far it leads: the zeros before the coefficient, and itself;
//	         for the end of block as far as 63, which is behind any last one
//	 4 bits  size of the value that is still to be read; 0 where there is none
//	16 bits  the value, with its sign
type huffman struct {
	coefficients [1 << lookBits]int32
	symbols      [1 << lookBits]uint16 // length of the code << 8 | symbol; 0 if longer
	values       [256]uint8            // symbols in the order of their codes
	// Of each length: the first code behind those of the length, moved to the top
	// of 16 bits, and what to add to a code to have its place in values.
	limit  [17]uint32
	offset [17]int32
}

var errHuffman = errors.New("a Huffman table has more codes than bits can tell apart")

// newHuffman makes the tables from the number of codes of each length 1 to 16
// and the symbols in the order of their codes.
func newHuffman(counts *[16]uint8, values []uint8) (*huffman, error) {
	h := &huffman{}
	copy(h.values[:], values)
	code, n := uint32(0), 0
	for i, count := range counts {
		length := i + 1
		h.offset[length] = int32(n) - int32(code)
		for range count {
			if length <= lookBits && n < len(values) && code < 1<<length {
				h.enter(code, length, values[n])
			}
			code++
			n++
		}
		if code > 1<<length || n > len(values) {
			return nil, errHuffman
		}
		h.limit[length] = code << (16 - length)
		code <<= 1
	}
	return h, nil
}

// enter puts a code into the entries of all bits that begin with it.
func (h *huffman) enter(code uint32, length int, symbol uint8) {
	free := lookBits - length
	run, size := int32(symbol>>4), int(symbol&15)
	for rest := range uint32(1) << free {
		at := code<<free | rest
		h.symbols[at] = uint16(length)<<8 | uint16(symbol)
		entry := int32(length) | (run+1)<<6
		switch {
		case size == 0 && run != 15: // end of block, or of a band
			entry = int32(length) | 63<<6
		case size == 0: // 16 zeros
		case size <= free:
			value := extend(int32(rest>>(free-size)), size)
			entry = int32(length+size) | (run+1)<<6 | value<<16
		default:
			entry |= int32(size) << 12
		}
		h.coefficients[at] = entry
	}
}

// symbol returns the symbol whose code acc begins with, and the code's length; 0
// if there is none.
func (h *huffman) symbol(acc uint64) (symbol uint8, length int) {
	if e := h.symbols[acc>>(64-lookBits)]; e != 0 {
		return uint8(e), int(e >> 8)
	}
	top := uint32(acc >> 48)
	for length = lookBits + 1; length <= 16; length++ {
		if top < h.limit[length] {
			return h.values[uint8(int32(top>>(16-length))+h.offset[length])], length
		}
	}
	return 0, 0
}
