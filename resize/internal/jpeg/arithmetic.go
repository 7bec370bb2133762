package jpeg

// arithmeticReader decodes decisions of the arithmetic coding (T.81, annex D.2).
// Of the coded data it takes the bytes that [bitReader] has, whose place in them
// it moves on. Behind the end it gives zeros, which encoders leave out there.
type arithmeticReader struct {
	bits     *bitReader
	interval uint32 // A, at least 0x8000
	code     uint32 // C, with the bits that were read ahead below
	ahead    uint   // how many those are
	steps    int64  // decisions that were made
}

// estimate is what is thought of a decision: the more probable one in the highest
// bit, below that the state.
type estimate = uint8

// fixed is the state of decisions that are as probable one way as the other.
const fixed estimate = 113

// begin begins an interval.
func (r *arithmeticReader) begin() {
	r.code = r.next()<<8 | r.next()
	r.interval, r.ahead = 0x10000, 0
}

// next returns the next byte; 0 where a marker is, or the end.
func (r *arithmeticReader) next() uint32 {
	b := r.bits
	if b.pos >= len(b.data) {
		return 0
	}
	v := b.data[b.pos]
	if v == 0xff {
		if b.pos+1 >= len(b.data) || b.data[b.pos+1] != 0 {
			return 0
		}
		b.pos++
	}
	b.pos++
	return uint32(v)
}

// decide decodes a decision (T.81, figures D.8 to D.12).
func (r *arithmeticReader) decide(e *estimate) bool {
	r.steps++
	for r.interval < 0x8000 {
		if r.ahead == 0 {
			r.code = r.code<<8 | r.next()
			r.ahead = 8
		}
		r.ahead--
		r.interval <<= 1
	}
	probable, s := *e&0x80, &states[*e&0x7f]
	size := uint32(s.size)
	r.interval -= size
	lower := r.code < r.interval<<r.ahead // the part of the more probable decision
	less := r.interval < size             // that is the smaller one, and they change places
	if !lower {
		r.code -= r.interval << r.ahead
		r.interval = size
	} else if r.interval >= 0x8000 {
		return probable != 0
	}
	if lower != less {
		*e = probable | s.probable
		return probable != 0
	}
	*e = (probable ^ s.change) | s.other
	return probable == 0
}

// state is a state of the estimation (T.81, table D.3): the size of the less
// probable decision's part, and which state follows either.
type state struct {
	size            uint16
	other, probable uint8
	change          uint8 // 0x80: what is more probable changes after the other
}

var states = [128]state{
	{0x5a1d, 1, 1, 0x80},
	{0x2586, 14, 2, 0},
	{0x1114, 16, 3, 0},
	{0x080b, 18, 4, 0},
	{0x03d8, 20, 5, 0},
	{0x01da, 23, 6, 0},
	{0x00e5, 25, 7, 0},
	{0x006f, 28, 8, 0},
	{0x0036, 30, 9, 0},
	{0x001a, 33, 10, 0},
	{0x000d, 35, 11, 0},
	{0x0006, 9, 12, 0},
	{0x0003, 10, 13, 0},
	{0x0001, 12, 13, 0},
	{0x5a7f, 15, 15, 0x80},
	{0x3f25, 36, 16, 0},
	{0x2cf2, 38, 17, 0},
	{0x207c, 39, 18, 0},
	{0x17b9, 40, 19, 0},
	{0x1182, 42, 20, 0},
	{0x0cef, 43, 21, 0},
	{0x09a1, 45, 22, 0},
	{0x072f, 46, 23, 0},
	{0x055c, 48, 24, 0},
	{0x0406, 49, 25, 0},
	{0x0303, 51, 26, 0},
	{0x0240, 52, 27, 0},
	{0x01b1, 54, 28, 0},
	{0x0144, 56, 29, 0},
	{0x00f5, 57, 30, 0},
	{0x00b7, 59, 31, 0},
	{0x008a, 60, 32, 0},
	{0x0068, 62, 33, 0},
	{0x004e, 63, 34, 0},
	{0x003b, 32, 35, 0},
	{0x002c, 33, 9, 0},
	{0x5ae1, 37, 37, 0x80},
	{0x484c, 64, 38, 0},
	{0x3a0d, 65, 39, 0},
	{0x2ef1, 67, 40, 0},
	{0x261f, 68, 41, 0},
	{0x1f33, 69, 42, 0},
	{0x19a8, 70, 43, 0},
	{0x1518, 72, 44, 0},
	{0x1177, 73, 45, 0},
	{0x0e74, 74, 46, 0},
	{0x0bfb, 75, 47, 0},
	{0x09f8, 77, 48, 0},
	{0x0861, 78, 49, 0},
	{0x0706, 79, 50, 0},
	{0x05cd, 48, 51, 0},
	{0x04de, 50, 52, 0},
	{0x040f, 50, 53, 0},
	{0x0363, 51, 54, 0},
	{0x02d4, 52, 55, 0},
	{0x025c, 53, 56, 0},
	{0x01f8, 54, 57, 0},
	{0x01a4, 55, 58, 0},
	{0x0160, 56, 59, 0},
	{0x0125, 57, 60, 0},
	{0x00f6, 58, 61, 0},
	{0x00cb, 59, 62, 0},
	{0x00ab, 61, 63, 0},
	{0x008f, 61, 32, 0},
	{0x5b12, 65, 65, 0x80},
	{0x4d04, 80, 66, 0},
	{0x412c, 81, 67, 0},
	{0x37d8, 82, 68, 0},
	{0x2fe8, 83, 69, 0},
	{0x293c, 84, 70, 0},
	{0x2379, 86, 71, 0},
	{0x1edf, 87, 72, 0},
	{0x1aa9, 87, 73, 0},
	{0x174e, 72, 74, 0},
	{0x1424, 72, 75, 0},
	{0x119c, 74, 76, 0},
	{0x0f6b, 74, 77, 0},
	{0x0d51, 75, 78, 0},
	{0x0bb6, 77, 79, 0},
	{0x0a40, 77, 48, 0},
	{0x5832, 80, 81, 0x80},
	{0x4d1c, 88, 82, 0},
	{0x438e, 89, 83, 0},
	{0x3bdd, 90, 84, 0},
	{0x34ee, 91, 85, 0},
	{0x2eae, 92, 86, 0},
	{0x299a, 93, 87, 0},
	{0x2516, 86, 71, 0},
	{0x5570, 88, 89, 0x80},
	{0x4ca9, 95, 90, 0},
	{0x44d9, 96, 91, 0},
	{0x3e22, 97, 92, 0},
	{0x3824, 99, 93, 0},
	{0x32b4, 99, 94, 0},
	{0x2e17, 93, 86, 0},
	{0x56a8, 95, 96, 0x80},
	{0x4f46, 101, 97, 0},
	{0x47e5, 102, 98, 0},
	{0x41cf, 103, 99, 0},
	{0x3c3d, 104, 100, 0},
	{0x375e, 99, 93, 0},
	{0x5231, 105, 102, 0},
	{0x4c0f, 106, 103, 0},
	{0x4639, 107, 104, 0},
	{0x415e, 103, 99, 0},
	{0x5627, 105, 106, 0x80},
	{0x50e7, 108, 107, 0},
	{0x4b85, 109, 103, 0},
	{0x5597, 110, 109, 0},
	{0x504f, 111, 107, 0},
	{0x5a10, 110, 111, 0x80},
	{0x5522, 112, 109, 0},
	{0x59eb, 112, 111, 0x80},
	fixed: {0x5a1d, fixed, fixed, 0},
}
