package heif

import (
	"encoding/binary"
	"iter"
)

// boxes yields type and content of each box in b (ISO/IEC 14496-12, section
// 4.2). The content of one that is cut off is what there is of it.
func boxes(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(b) >= 8 {
			size, start := uint64(binary.BigEndian.Uint32(b)), uint64(8)
			kind := string(b[4:8])
			switch {
			case size == 1 && len(b) >= 16:
				size, start = binary.BigEndian.Uint64(b[8:]), 16
			case size == 0:
				size = uint64(len(b)) // up to the end
			}
			if size < start {
				return
			}
			size = min(size, uint64(len(b)))
			if !yield(kind, b[start:size]) {
				return
			}
			b = b[size:]
		}
	}
}

// reader takes big-endian numbers from the front of b. What lies behind the end
// is 0, and sets bad.
type reader struct {
	b   []byte
	bad bool
}

// uint takes a number of n bytes, at most 8; 0 bytes are the number 0.
func (r *reader) uint(n int) uint64 {
	if len(r.b) < n {
		r.b, r.bad = nil, true
		return 0
	}
	v := uint64(0)
	for _, c := range r.b[:n] {
		v = v<<8 | uint64(c)
	}
	r.b = r.b[n:]
	return v
}

// full takes the head of a full box: version and flags.
func (r *reader) full() (version int, flags uint32) {
	v := uint32(r.uint(4))
	return int(v >> 24), v & 0xffffff
}

// either returns wide if the condition holds, otherwise narrow: the length of a
// field that depends on a version.
func either(condition bool, wide, narrow int) int {
	if condition {
		return wide
	}
	return narrow
}

// box returns a box of that content.
func box(kind string, content ...[]byte) []byte {
	size := 8
	for _, c := range content {
		size += len(c)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	b = append(b, kind...)
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}

// numbers returns bytes in big-endian order, width of them for each value.
func numbers(width int, values ...uint64) []byte {
	var b []byte
	for _, v := range values {
		for i := width - 1; i >= 0; i-- {
			b = append(b, byte(v>>(8*i)))
		}
	}
	return b
}
