package jpeg

// The inverse DCT, of 8 × 8 samples and reduced to 4 × 4, 2 × 2 and 1.
//
// A block of N × N samples at 8/N of the size is taken from the N × N lowest of
// its coefficients alone, as if they were those of a DCT of N points (K. N. Ngan,
// "Experiments on two-dimensional decimation in time and orthogonal transform
// domains", 1986). With T.81, A.3.3, each sample is
//
//	128 + 1/8 · Σu Σv F(u,v) k(u,i) k(v,j)
//	k(0,i) = 1, k(u,i) = √2 cos((2i+1)uπ/2N)
//
// Written so, the k of N points are those of 2N points of even u: the transform
// of 8 contains the one of 4, and that the one of 2. Each is the smaller one of
// its even coefficients, plus or minus, in the second half, that of its odd ones.
//
// Numbers are of fixed point with 13 bits of fraction; between columns and rows
// two bits are kept beyond the integer.
const (
	fraction = 13
	between  = 2

	k1of4 = 10703 // √2 cos(π/8) · 2^13
	k3of4 = 4433  // √2 cos(3π/8)
	k1of8 = 11363 // √2 cos(π/16)
	k3of8 = 9633  // √2 cos(3π/16)
	k5of8 = 6437  // √2 cos(5π/16)
	k7of8 = 2260  // √2 cos(7π/16)
)

// reconstruct transforms a block of dequantised coefficients and puts it into
// the plane. Where last, the index of the last that is not zero, is 0, all
// samples are the same.
func (c *component) reconstruct(block *[64]int32, last, x, y int) {
	side := 8 >> c.shift
	dst := c.pix[y*side*c.stride+x*side:]
	switch {
	case last == 0, c.shift == 3:
		flat := clamp(128 + (block[0]+4)>>3)
		for row := range side {
			line := dst[row*c.stride:][:side]
			for i := range line {
				line[i] = flat
			}
		}
	case c.shift == 0:
		idct8(block, dst, c.stride)
	case c.shift == 1:
		idct4(block, dst, c.stride)
	case c.shift == 2:
		idct2(block, dst, c.stride)
	}
}

// clamp limits a value to a sample.
func clamp(v int32) uint8 {
	if uint32(v) <= 255 {
		return uint8(v)
	}
	if v < 0 {
		return 0
	}
	return 255
}

func idct2(b *[64]int32, dst []uint8, stride int) {
	const round = 128<<3 + 4
	s0, s1 := b[0]+b[2]+round, b[1]+b[3]
	d0, d1 := b[0]-b[2]+round, b[1]-b[3]
	top, bottom := dst[:2], dst[stride:][:2]
	top[0], top[1] = clamp((s0+s1)>>3), clamp((s0-s1)>>3)
	bottom[0], bottom[1] = clamp((d0+d1)>>3), clamp((d0-d1)>>3)
}

func idct4(b *[64]int32, dst []uint8, stride int) {
	const round = 1 << (fraction - between - 1)
	for i := range 4 {
		c0, c1, c2, c3 := b[i], b[4+i], b[8+i], b[12+i]
		e0, e1 := (c0+c2)<<fraction+round, (c0-c2)<<fraction+round
		o0, o1 := c1*k1of4+c3*k3of4, c1*k3of4-c3*k1of4
		b[i], b[12+i] = (e0+o0)>>(fraction-between), (e0-o0)>>(fraction-between)
		b[4+i], b[8+i] = (e1+o1)>>(fraction-between), (e1-o1)>>(fraction-between)
	}
	const shift = fraction + between + 3
	const grey = 128<<shift + 1<<(shift-1)
	for i := range 4 {
		c0, c1, c2, c3 := b[4*i], b[4*i+1], b[4*i+2], b[4*i+3]
		e0, e1 := (c0+c2)<<fraction+grey, (c0-c2)<<fraction+grey
		o0, o1 := c1*k1of4+c3*k3of4, c1*k3of4-c3*k1of4
		line := dst[i*stride:][:4]
		line[0], line[3] = clamp((e0+o0)>>shift), clamp((e0-o0)>>shift)
		line[1], line[2] = clamp((e1+o1)>>shift), clamp((e1-o1)>>shift)
	}
}

func idct8(b *[64]int32, dst []uint8, stride int) {
	for i := range 8 {
		c1, c2, c3, c4, c5, c6, c7 := b[8+i], b[16+i], b[24+i], b[32+i], b[40+i], b[48+i], b[56+i]
		if c1|c2|c3|c4|c5|c6|c7 == 0 {
			flat := b[i] << between
			for row := range 8 {
				b[8*row+i] = flat
			}
			continue
		}
		e := even8(b[i], c2, c4, c6, 1<<(fraction-between-1))
		o := odd8(c1, c3, c5, c7)
		for row := range 4 {
			b[8*row+i] = (e[row] + o[row]) >> (fraction - between)
			b[8*(7-row)+i] = (e[row] - o[row]) >> (fraction - between)
		}
	}
	const shift = fraction + between + 3
	for i := range 8 {
		c := (*[8]int32)(b[8*i:])
		e := even8(c[0], c[2], c[4], c[6], 128<<shift+1<<(shift-1))
		o := odd8(c[1], c[3], c[5], c[7])
		line := dst[i*stride:][:8]
		for column := range 4 {
			line[column] = clamp((e[column] + o[column]) >> shift)
			line[7-column] = clamp((e[column] - o[column]) >> shift)
		}
	}
}

// even8 is the transform of four points of the even coefficients, plus a bias.
func even8(c0, c2, c4, c6, bias int32) [4]int32 {
	e0, e1 := (c0+c4)<<fraction+bias, (c0-c4)<<fraction+bias
	o0, o1 := c2*k1of4+c6*k3of4, c2*k3of4-c6*k1of4
	return [4]int32{e0 + o0, e1 + o1, e1 - o1, e0 - o0}
}

// odd8 is what the odd coefficients add to the first four points.
func odd8(c1, c3, c5, c7 int32) [4]int32 {
	return [4]int32{
		c1*k1of8 + c3*k3of8 + c5*k5of8 + c7*k7of8,
		c1*k3of8 - c3*k7of8 - c5*k1of8 - c7*k5of8,
		c1*k5of8 - c3*k1of8 + c5*k7of8 + c7*k3of8,
		c1*k7of8 - c3*k5of8 + c5*k3of8 - c7*k1of8,
	}
}
