package png

import "encoding/binary"

// unfilter takes the filter off a row, given the one above it (PNG, third
// edition, section 9). It reports false where there is no such filter.
func unfilter(filter uint8, line, above []uint8, pixel int) bool {
	above = above[:len(line)]
	switch filter {
	case 0:
	case 1:
		for i := pixel; i < len(line); i++ {
			line[i] += line[i-pixel]
		}
	case 2:
		for i, b := range above {
			line[i] += b
		}
	case 3:
		for i := range min(pixel, len(line)) {
			line[i] += above[i] / 2
		}
		for i := pixel; i < len(line); i++ {
			line[i] += uint8((int(line[i-pixel]) + int(above[i])) / 2)
		}
	case 4:
		for i := range min(pixel, len(line)) {
			line[i] += above[i]
		}
		switch pixel {
		case 3:
			paeth3(line, above)
		case 4:
			paeth4(line, above)
		default:
			for i := pixel; i < len(line); i++ {
				line[i] += paeth(int32(line[i-pixel]), int32(above[i]), int32(above[i-pixel]))
			}
		}
	default:
		return false
	}
	return true
}

// paeth returns whichever of the left, upper and upper left neighbour is nearest
// to left + upper - upper left. It has no branches, which could not be foreseen.
func paeth(a, b, c int32) uint8 {
	pa, pb := b-c, a-c
	pc := pa + pb
	pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
	nearest, distance := a, pa
	if pb < distance {
		nearest = b
	}
	distance = min(distance, pb)
	if pc < distance {
		nearest = c
	}
	return uint8(nearest)
}

// paeth3 goes along a row of three bytes a pixel, whose left neighbours stay in
// registers.
func paeth3(line, above []uint8) {
	if len(line) < 6 {
		return
	}
	a0, a1, a2 := int32(line[0]), int32(line[1]), int32(line[2])
	c0, c1, c2 := int32(above[0]), int32(above[1]), int32(above[2])
	line, above = line[3:], above[3:]
	for len(line) >= 3 && len(above) >= 3 {
		b0, b1, b2 := int32(above[0]), int32(above[1]), int32(above[2])
		a0 = int32(line[0] + paeth(a0, b0, c0))
		a1 = int32(line[1] + paeth(a1, b1, c1))
		a2 = int32(line[2] + paeth(a2, b2, c2))
		line[0], line[1], line[2] = uint8(a0), uint8(a1), uint8(a2)
		c0, c1, c2 = b0, b1, b2
		line, above = line[3:], above[3:]
	}
}

// paeth4 is the same of four bytes a pixel.
func paeth4(line, above []uint8) {
	if len(line) < 8 {
		return
	}
	a0, a1, a2, a3 := int32(line[0]), int32(line[1]), int32(line[2]), int32(line[3])
	c0, c1, c2, c3 := int32(above[0]), int32(above[1]), int32(above[2]), int32(above[3])
	line, above = line[4:], above[4:]
	for len(line) >= 4 && len(above) >= 4 {
		b0, b1, b2, b3 := int32(above[0]), int32(above[1]), int32(above[2]), int32(above[3])
		a0 = int32(line[0] + paeth(a0, b0, c0))
		a1 = int32(line[1] + paeth(a1, b1, c1))
		a2 = int32(line[2] + paeth(a2, b2, c2))
		a3 = int32(line[3] + paeth(a3, b3, c3))
		line[0], line[1], line[2], line[3] = uint8(a0), uint8(a1), uint8(a2), uint8(a3)
		c0, c1, c2, c3 = b0, b1, b2, b3
		line, above = line[4:], above[4:]
	}
}

// convert makes a row of the channels that come out.
func (r *Reader) convert(out, line []uint8, width int) {
	switch {
	case r.Depth == 8 && (r.Colour == RGBA || r.Channels == r.Samples() && r.Colour != Palette):
		copy(out, line)
	case r.Colour == Palette:
		r.convertPalette(out, line, width)
	case r.Depth == 16:
		r.convert16(out, line, width)
	default:
		r.convertGrey(out, line, width)
	}
}

// sample returns sample i of a row of at most 8 bits a sample.
func (r *Reader) sample(line []uint8, i int) uint8 {
	if r.Depth == 8 {
		return line[i]
	}
	bit := i * r.Depth
	return line[bit/8] >> (8 - r.Depth - bit%8) & (1<<r.Depth - 1)
}

func (r *Reader) convertPalette(out, line []uint8, width int) {
	if r.Channels == 3 {
		for x := range width {
			c := &r.palette[r.sample(line, x)]
			out[3*x], out[3*x+1], out[3*x+2] = c[0], c[1], c[2]
		}
		return
	}
	for x := range width {
		copy(out[4*x:4*x+4], r.palette[r.sample(line, x)][:])
	}
}

// convertGrey makes a row of what has at most 8 bits: grey, with or without
// transparency, and colours of which one is transparent.
func (r *Reader) convertGrey(out, line []uint8, width int) {
	scale := 255 / (1<<min(r.Depth, 8) - 1)
	key := [3]uint8{uint8(r.transparent[0]), uint8(r.transparent[1]), uint8(r.transparent[2])}
	for x := range width {
		switch {
		case r.Channels == 1:
			out[x] = r.sample(line, x) * uint8(scale)
		case r.Colour == GreyAlpha:
			v := line[2*x]
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = v, v, v, line[2*x+1]
		case r.Colour == Grey:
			v := r.sample(line, x)
			alpha := opaqueUnless(v == key[0])
			v *= uint8(scale)
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = v, v, v, alpha
		default:
			c := [3]uint8(line[3*x:])
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = c[0], c[1], c[2], opaqueUnless(c == key)
		}
	}
}

// convert16 keeps the upper eight bits of each sample.
func (r *Reader) convert16(out, line []uint8, width int) {
	n := r.Samples()
	for x := range width {
		var v [4]uint16
		for i := range n {
			v[i] = binary.BigEndian.Uint16(line[2*(x*n+i):])
		}
		switch {
		case r.Channels == n:
			for i := range n {
				out[x*n+i] = uint8(v[i] >> 8)
			}
		case r.Colour == GreyAlpha:
			grey := uint8(v[0] >> 8)
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = grey, grey, grey, uint8(v[1]>>8)
		case r.Colour == Grey:
			grey := uint8(v[0] >> 8)
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = grey, grey, grey, opaqueUnless(v[0] == r.transparent[0])
		default:
			alpha := opaqueUnless([3]uint16(v[:3]) == r.transparent)
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = uint8(v[0]>>8), uint8(v[1]>>8), uint8(v[2]>>8), alpha
		}
	}
}

func opaqueUnless(transparent bool) uint8 {
	if transparent {
		return 0
	}
	return 0xff
}

// canvas is a whole picture, grey at first.
type canvas struct {
	pix              []uint8
	width, height    int
	channels, stride int
}

func newCanvas(h Header, channels int) *canvas {
	c := &canvas{width: h.Width, height: h.Height, channels: channels, stride: h.Width * channels}
	c.pix = make([]uint8, c.stride*h.Height)
	for i := range c.pix {
		c.pix[i] = missing
		if channels == 4 && i%4 == 3 {
			c.pix[i] = 0xff
		}
	}
	return c
}

func (c *canvas) row(y int) []uint8 { return c.pix[y*c.stride:][:c.stride] }

// put puts a row of a pass where it belongs, and over the neighbours that later
// passes have not given yet, so that a file that is cut off gives a coarse
// picture.
func (c *canvas) put(p pass, y int, row []uint8) {
	top := p.y + y*p.stepY
	for line := top; line < min(top+p.blockHeight, c.height); line++ {
		to := c.row(line)
		for i, x := 0, p.x; x < c.width; i, x = i+c.channels, x+p.stepX {
			for at := x; at < min(x+p.blockWidth, c.width); at++ {
				copy(to[at*c.channels:][:c.channels], row[i:])
			}
		}
	}
}
