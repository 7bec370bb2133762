package jpeg

// The forward DCT (T.81, A.3.3) is the inverse one, in the same notation, run
// backwards: sums and differences of samples that mirror each other are the even
// and the odd half, each a smaller transform. The matrix of the odd half is
// symmetric, so that it is the same one. The result has 8 times the size of the
// standard's coefficients, which quantisation divides out again, so that little
// is lost to rounding in between. It fits into 16 bits.

// coefficientScale is how much larger than the standard's coefficients those of
// fdct are.
const coefficientScale = 8

// fdct transforms the block of a plane in that column and row of blocks, into
// zigzag order. Behind the plane's edges the outermost samples repeat.
func fdct(p *Plane, column, row int, dst *[64]int16) {
	var b [64]int32
	for y := range 8 {
		from := p.row(min(8*row+y, p.Height-1))
		var s [8]uint8
		if 8*column+8 <= len(from) {
			s = [8]uint8(from[8*column:])
		} else {
			for x := range s {
				s[x] = from[min(8*column+x, len(from)-1)]
			}
		}
		c := forward8(int32(s[0])-128, int32(s[1])-128, int32(s[2])-128, int32(s[3])-128,
			int32(s[4])-128, int32(s[5])-128, int32(s[6])-128, int32(s[7])-128)
		for x, v := range c {
			b[8*y+x] = (v + 1<<(fraction-between-1)) >> (fraction - between)
		}
	}
	for x := range 8 {
		c := forward8(b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x])
		for y, v := range c {
			b[8*y+x] = v
		}
	}
	const shift = fraction + between
	for k := range dst {
		dst[k] = int16((b[zigzag[k]&63] + 1<<(shift-1)) >> shift)
	}
}

// forward8 transforms eight values; the result has the fraction's bits.
func forward8(f0, f1, f2, f3, f4, f5, f6, f7 int32) [8]int32 {
	s0, s1, s2, s3 := f0+f7, f1+f6, f2+f5, f3+f4
	o := odd8(f0-f7, f1-f6, f2-f5, f3-f4)
	e0, e1, o0, o1 := s0+s3, s1+s2, s0-s3, s1-s2
	return [8]int32{
		(e0 + e1) << fraction, o[0],
		o0*k1of4 + o1*k3of4, o[1],
		(e0 - e1) << fraction, o[2],
		o0*k3of4 - o1*k1of4, o[3],
	}
}
