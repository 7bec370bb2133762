package gif

// maxCodes is the number of LZW codes: they have at most 12 bits (appendix F).
const (
	maxBits  = 12
	maxCodes = 1 << maxBits
)

// unpacker decodes LZW. It may be used for one frame after the other.
type unpacker struct {
	prefix [maxCodes]uint16
	suffix [maxCodes]uint8
	first  [maxCodes]uint8 // the pixel with which what a code stands for begins
	length [maxCodes]uint16
}

// codes reads codes from sub-blocks.
type codes struct {
	data []byte // sub-blocks
	left int    // bytes of the one that is being read
	bits uint32
	n    uint
}

// next returns a code of that width, or false at the end of the data.
func (c *codes) next(width uint) (int, bool) {
	for c.n < width {
		if c.left == 0 {
			if len(c.data) == 0 || c.data[0] == 0 {
				return 0, false
			}
			c.left, c.data = int(c.data[0]), c.data[1:]
		}
		if len(c.data) == 0 {
			return 0, false
		}
		c.bits |= uint32(c.data[0]) << c.n
		c.data, c.left, c.n = c.data[1:], c.left-1, c.n+8
	}
	code := int(c.bits & (1<<width - 1))
	c.bits, c.n = c.bits>>width, c.n-width
	return code, true
}

// ended says that the bytes read were the last.
func (c *codes) ended() bool { return c.left == 0 && len(c.data) > 0 && c.data[0] == 0 }

// unpack fills dst with indices and returns how many there are, and whether the
// data ended with dst as they should: with the end code right behind the last
// pixel, and nothing after it.
func (u *unpacker) unpack(dst []byte, codeSize int, subBlocks []byte) (n int, clean bool) {
	if codeSize < 1 || codeSize > 8 {
		return 0, false
	}
	in := codes{data: subBlocks}
	clearCode := 1 << codeSize
	for i := range clearCode {
		u.suffix[i], u.first[i], u.length[i] = uint8(i), uint8(i), 1
	}
	width, free, last := uint(codeSize+1), clearCode+2, -1
	over := false // a code stood for more pixels than there was room for
	for {
		code, ok := in.next(width)
		switch {
		case !ok:
			return n, false
		case code == clearCode:
			width, free, last = uint(codeSize+1), clearCode+2, -1
			continue
		case code == clearCode+1:
			return n, n == len(dst) && in.ended() && !over
		case n == len(dst), code > free, code == free && last < 0:
			return n, false // too much, or what was not defined
		}
		if last >= 0 && free < maxCodes {
			begin := code
			if code == free { // what the last stood for, and its first pixel again
				begin = last
			}
			u.prefix[free], u.suffix[free] = uint16(last), u.first[begin]
			u.first[free], u.length[free] = u.first[last], u.length[last]+1
			free++
			if free == 1<<width && width < maxBits {
				width++
			}
		}
		over = over || int(u.length[code]) > len(dst)-n
		n += u.expand(dst[n:], code)
		last = code
	}
}

// expand writes what a code stands for, as far as there is room, and returns how
// much that was.
func (u *unpacker) expand(dst []byte, code int) int {
	n := int(u.length[code])
	for n > len(dst) {
		code = int(u.prefix[code])
		n--
	}
	for i := n - 1; i > 0; i-- {
		dst[i] = u.suffix[code]
		code = int(u.prefix[code])
	}
	if n > 0 {
		dst[0] = u.suffix[code]
	}
	return n
}
