package jpeg

import "encoding/binary"

// bitWriter writes coded data: bits from the highest of each byte on, and behind
// each byte 0xff a zero, so that it is no marker (T.81, F.1.2.3).
type bitWriter struct {
	data []byte
	acc  uint64 // bits that wait, from the top down
	n    uint   // how many
}

// write appends up to 32 bits.
func (w *bitWriter) write(bits uint64, count uint) {
	w.acc |= bits << ((64 - count - w.n) & 63)
	w.n += count
	if w.n < 32 {
		return
	}
	four := uint32(w.acc >> 32)
	w.acc <<= 32
	w.n -= 32
	if (^four-0x01010101)&four&0x80808080 == 0 {
		w.data = binary.BigEndian.AppendUint32(w.data, four)
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		w.append(byte(four >> shift))
	}
}

func (w *bitWriter) append(b byte) {
	w.data = append(w.data, b)
	if b == 0xff {
		w.data = append(w.data, 0)
	}
}

// flush fills the last byte up with ones and returns all.
func (w *bitWriter) flush() []byte {
	w.write(0x7f, 7)
	for ; w.n >= 8; w.n -= 8 {
		w.append(byte(w.acc >> 56))
		w.acc <<= 8
	}
	return w.data
}
