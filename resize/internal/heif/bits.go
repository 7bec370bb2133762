package heif

// bits reads the bits of a NAL unit of HEVC, the first the most significant,
// without the bytes that keep start codes from appearing (ITU-T H.265, section
// 7.3.1.1). What lies behind the end is 0, and sets bad.
type bits struct {
	b   []byte
	at  int // bit
	bad bool
}

func newBits(nal []byte) *bits {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, c := range nal {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, c)
	}
	return &bits{b: out}
}

// u reads n bits, at most 32.
func (r *bits) u(n int) uint {
	v := uint(0)
	for range n {
		if r.at>>3 >= len(r.b) {
			r.bad = true
			return 0
		}
		v = v<<1 | uint(r.b[r.at>>3]>>(7-r.at&7)&1)
		r.at++
	}
	return v
}

// flag reads a bit.
func (r *bits) flag() bool { return r.u(1) == 1 }

// skip leaves out n bits.
func (r *bits) skip(n int) {
	r.at += n
	r.bad = r.bad || r.at > 8*len(r.b)
}

// ue reads an Exp-Golomb code (section 9.2), which is one of a signed number as
// well where its value does not matter.
func (r *bits) ue() uint {
	zeros := 0
	for !r.bad && !r.flag() {
		if zeros++; zeros > 31 {
			r.bad = true
		}
	}
	if r.bad {
		return 0
	}
	return 1<<zeros - 1 + r.u(zeros)
}
