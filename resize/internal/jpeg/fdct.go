package jpeg

import "encoding/binary"

// The forward DCT (T.81, A.3.3) is the inverse one, in the same notation, run
// backwards: sums and differences of samples that mirror each other are the even
// and the odd half, each a smaller transform. The matrix of the odd half is
// symmetric, so that it is the same one. The result has 8 times the size of the
// standard's coefficients, which quantisation divides out again, so that little
// is lost to rounding in between. Stored
// it is not negative: 0 is the constant zero.
//
// As in package scale, numbers are held in both halves of 64-bit words: two columns
// are transformed at once, then two rows. Where bits are taken off, a bias makes
// both halves positive.

const (
	// coefficientScale is how much larger than the standard's coefficients those of
	// fdct are.
	coefficientScale = 8

	lowHalf    = 1<<32 - 1
	twice      = 1<<32 + 1          // repeats a number in both halves
	columnBits = fraction - between // that are taken off after columns
	columnBias = 1 << 25            // the largest sum is 8·255 << fraction
	rowBits    = fraction + between
	rowBias    = 1 << 30 // the largest sum is 64·255 << (between + fraction)

	// zero is what a coefficient of 0 is stored as: half of what the largest may
	// be, so that none is negative.
	zero = 1 << 14
)

// unzigzag gives the place in zigzag order of each coefficient row by row.
var unzigzag = func() (inverse [64]uint8) {
	for k, at := range zigzag {
		inverse[at] = uint8(k)
	}
	return inverse
}()

// fdct transforms the block of a plane in that column and row of blocks, into
// zigzag order.
func fdct(p *Plane, column, row int, dst *[64]uint16) {
	var rows [8]uint64
	p.load(&rows, 8*column, 8*row)
	// The words of a row have columns i and i+4. Behind the transform, the row is
	// the vertical frequency.
	var words [8][4]uint64
	for i := range 4 {
		const bytes = 0xff * twice
		shift := 8 * i
		c0, c1, c2, c3, c4, c5, c6, c7 := forward8(
			rows[0]>>shift&bytes, rows[1]>>shift&bytes, rows[2]>>shift&bytes, rows[3]>>shift&bytes,
			rows[4]>>shift&bytes, rows[5]>>shift&bytes, rows[6]>>shift&bytes, rows[7]>>shift&bytes)
		words[0][i], words[1][i], words[2][i], words[3][i] = afterColumns(c0), afterColumns(c1), afterColumns(c2), afterColumns(c3)
		words[4][i], words[5][i], words[6][i], words[7][i] = afterColumns(c4), afterColumns(c5), afterColumns(c6), afterColumns(c7)
	}
	for y := 0; y < 8; y += 2 {
		a, b := &words[y], &words[y+1]
		c0, c1, c2, c3, c4, c5, c6, c7 := forward8(
			lower(a[0], b[0]), lower(a[1], b[1]), lower(a[2], b[2]), lower(a[3], b[3]),
			upper(a[0], b[0]), upper(a[1], b[1]), upper(a[2], b[2]), upper(a[3], b[3]))
		places := (*[16]uint8)(unzigzag[8*y:])
		afterRows(dst, places[0], places[8], c0)
		afterRows(dst, places[1], places[9], c1)
		afterRows(dst, places[2], places[10], c2)
		afterRows(dst, places[3], places[11], c3)
		afterRows(dst, places[4], places[12], c4)
		afterRows(dst, places[5], places[13], c5)
		afterRows(dst, places[6], places[14], c6)
		afterRows(dst, places[7], places[15], c7)
	}
	dst[0] -= 128 * 64 // samples are taken 128 lower
}

// afterColumns takes bits off both halves, which stay biased.
func afterColumns(c uint64) uint64 {
	return (c + (columnBias+1<<(columnBits-1))*twice) >> columnBits & ((1<<(32-columnBits) - 1) * twice)
}

// afterRows takes bits and bias off and puts both halves into their places.
func afterRows(dst *[64]uint16, low, high uint8, c uint64) {
	c += (rowBias + 1<<(rowBits-1)) * twice
	dst[low&63] = uint16(uint32(c)>>rowBits - (rowBias>>rowBits - zero))
	dst[high&63] = uint16(uint32(c>>(32+rowBits)) - (rowBias>>rowBits - zero))
}

// lower makes a word of the lower halves of two, and takes off the bias.
func lower(a, b uint64) uint64 { return a&lowHalf + b<<32 - columnBias>>columnBits*twice }

// upper makes one of the upper halves.
func upper(a, b uint64) uint64 { return a>>32 + b&^lowHalf - columnBias>>columnBits*twice }

// forward8 transforms eight pairs of values. The result has the fraction's bits.
func forward8(f0, f1, f2, f3, f4, f5, f6, f7 uint64) (c0, c1, c2, c3, c4, c5, c6, c7 uint64) {
	d0, d1, d2, d3 := f0-f7, f1-f6, f2-f5, f3-f4
	c1 = d0*k1of8 + d1*k3of8 + d2*k5of8 + d3*k7of8
	c3 = d0*k3of8 - d1*k7of8 - d2*k1of8 - d3*k5of8
	c5 = d0*k5of8 - d1*k1of8 + d2*k7of8 + d3*k3of8
	c7 = d0*k7of8 - d1*k5of8 + d2*k3of8 - d3*k1of8
	s0, s1, s2, s3 := f0+f7, f1+f6, f2+f5, f3+f4
	e0, e1, o0, o1 := s0+s3, s1+s2, s0-s3, s1-s2
	c0, c4 = (e0+e1)<<fraction, (e0-e1)<<fraction
	c2, c6 = o0*k1of4+o1*k3of4, o0*k3of4-o1*k1of4
	return c0, c1, c2, c3, c4, c5, c6, c7
}

// load reads eight rows of eight samples from x and y on. Behind the plane's
// edges the outermost samples repeat.
func (p *Plane) load(rows *[8]uint64, x, y int) {
	for i := range rows {
		row := p.row(min(y+i, p.Height-1))
		if x+8 <= len(row) {
			rows[i] = binary.LittleEndian.Uint64(row[x:])
			continue
		}
		var line [8]byte
		for j := range line {
			line[j] = row[min(x+j, len(row)-1)]
		}
		rows[i] = binary.LittleEndian.Uint64(line[:])
	}
}
