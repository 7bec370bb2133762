package bmp

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// missing is the sample of what the file does not have.
const missing = 128

// Open reads the headers and finds out whether transparency is used.
func Open(data []byte) (Header, error) {
	h, err := ReadHeader(data)
	if err == nil && h.masks[3] != 0 && h.seesAlpha(data) {
		h.Channels = 4
	}
	return h, err
}

// seesAlpha reports whether a pixel is not wholly transparent.
func (h Header) seesAlpha(data []byte) bool {
	pixels := data[min(max(h.offset, 14), len(data)):]
	size := h.depth / 8
	for y := range h.Height {
		row := pixels[min(y*h.rowBytes(), len(pixels)):]
		row = row[:min(h.Width*size, len(row))]
		for ; len(row) >= size; row = row[size:] {
			if h.value(row)&h.masks[3] != 0 {
				return true
			}
		}
	}
	return false
}

// value returns the bits of a pixel of 16 or 32 of them.
func (h Header) value(pixel []byte) uint32 {
	if h.depth == 16 {
		return uint32(binary.LittleEndian.Uint16(pixel))
	}
	return binary.LittleEndian.Uint32(pixel)
}

// Decode gives the rows to a function, from the top down, each with
// [Header.Channels] bytes a pixel; a row is valid until the function returns.
// lost says that rows, or part of one, are missing. The error is that of the
// function, wraps the context's where that ended, or says that there is not one
// row.
func Decode(ctx context.Context, data []byte, h Header, row func([]uint8) error) (lost bool, err error) {
	pixels := data[min(max(h.offset, 14), len(data)):]
	stride := h.rowBytes()
	if h.runLengths() {
		if pixels, lost, err = expand(ctx, pixels, h); err != nil {
			return false, err
		}
		h.topDown, h.depth = true, max(8, h.depth)
		stride = h.Width * h.depth / 8
	}
	if len(pixels) < stride {
		return false, fmt.Errorf("%w: it has no row of pixels", errHeader)
	}
	c := converter{Header: h}
	c.prepare()
	out := make([]uint8, h.Width*h.Channels)
	for y := range h.Height {
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("decode BMP: %w", err)
		}
		at := y * stride
		if !h.topDown {
			at = (h.Height - 1 - y) * stride
		}
		if at+(h.Width*h.depth+7)/8 > len(pixels) {
			lost = true
			c.blank(out)
		} else {
			c.convert(out, pixels[at:])
		}
		if err := row(out); err != nil {
			return false, err
		}
	}
	return lost, nil
}

// converter makes rows of samples.
type converter struct {
	Header
	colours [256][3]uint8 // those that the palette has not are black
	shifts  [4]int
	maxima  [4]uint32
}

func (c *converter) prepare() {
	for i := range min(len(c.palette)/max(c.entry, 1), 256) {
		e := c.palette[i*c.entry:]
		c.colours[i] = [3]uint8{e[2], e[1], e[0]}
	}
	for i, m := range c.masks {
		c.shifts[i] = bits.TrailingZeros32(m)
		c.maxima[i] = m >> min(c.shifts[i], 31)
	}
}

// blank makes a row of what is missing.
func (c *converter) blank(out []uint8) {
	for i := range out {
		out[i] = missing
		if c.Channels == 4 && i%4 == 3 {
			out[i] = 0xff
		}
	}
}

func (c *converter) convert(out, line []uint8) {
	switch {
	case c.depth <= 8:
		for x := range c.Width {
			bit := x * c.depth
			index := line[bit/8] >> (8 - c.depth - bit%8) & (1<<c.depth - 1)
			copy(out[3*x:3*x+3], c.colours[index][:])
		}
	case c.depth == 24:
		for i := 0; i < 3*c.Width; i += 3 {
			out[i], out[i+1], out[i+2] = line[i+2], line[i+1], line[i]
		}
	default:
		for x := range c.Width {
			v := c.value(line[x*c.depth/8:])
			for i := range c.Channels {
				out[x*c.Channels+i] = c.sample(v, i)
			}
		}
	}
}

// sample returns a sample of a pixel in eight bits.
func (c *converter) sample(v uint32, i int) uint8 {
	top := c.maxima[i]
	switch s := v & c.masks[i] >> c.shifts[i]; top {
	case 0:
		return 0
	case 0xff:
		return uint8(s)
	default:
		return uint8((uint64(s)*255 + uint64(top)/2) / uint64(top))
	}
}

// expand expands run lengths to rows from the top down, of a byte a pixel, or
// three. lost says that the data ends before its end mark and the last row.
//
// A pair of bytes is a run of a colour, or of two in turns in four bits; after a
// zero follows a command: 0 the row ends, 1 the picture ends, 2 two bytes say how
// far to step right and up, all else is how many pixels follow as they are, padded
// to two bytes ("Bitmap Compression").
func expand(ctx context.Context, data []byte, h Header) (pixels []byte, lost bool, err error) {
	size := max(1, h.depth/8)
	e := expander{Header: h, size: size, pixels: make([]byte, h.Width*h.Height*size)}
	for steps := 0; ; steps++ {
		if steps%4096 == 0 && ctx.Err() != nil {
			return nil, false, fmt.Errorf("decode BMP: %w", ctx.Err())
		}
		if e.y >= h.Height {
			return e.pixels, false, nil
		}
		if len(data) < 2 {
			return e.pixels, e.y < h.Height-1 || e.x < h.Width, nil
		}
		count, command := int(data[0]), data[1]
		switch {
		case count > 0 && len(data) >= 1+size:
			e.run(count, data[1:1+size])
			data = data[1+size:]
		case count > 0:
			data = nil
		case command == 0:
			e.x, e.y = 0, e.y+1
			data = data[2:]
		case command == 1:
			return e.pixels, false, nil
		case command == 2 && len(data) >= 4:
			e.x, e.y = e.x+int(data[2]), e.y+int(data[3])
			data = data[4:]
		case command == 2:
			data = nil
		default:
			data = e.literal(int(command), data[2:])
		}
	}
}

// expander is where in a picture run lengths are.
type expander struct {
	Header
	size   int // bytes of a pixel
	x, y   int // from the left, and from the bottom unless rows go down
	pixels []byte
}

// set sets the next pixel. What is beyond the end of a row is left out.
func (e *expander) set(pixel []byte) {
	if e.x < e.Width && e.y < e.Height {
		y := e.y
		if !e.topDown {
			y = e.Height - 1 - y
		}
		copy(e.pixels[(y*e.Width+e.x)*e.size:], pixel)
	}
	e.x++
}

// run sets a run.
func (e *expander) run(count int, pixel []byte) {
	for i := range count {
		if e.coding == rle4 {
			half := [1]byte{pixel[0] >> (4 - 4*(i&1)) & 15}
			e.set(half[:])
			continue
		}
		e.set(pixel)
	}
}

// literal sets pixels that follow as they are, and returns what follows them.
func (e *expander) literal(count int, data []byte) []byte {
	n := count * e.size
	if e.coding == rle4 {
		n = (count + 1) / 2
	}
	for i := range count {
		if e.coding == rle4 {
			if i/2 < len(data) {
				half := [1]byte{data[i/2] >> (4 - 4*(i&1)) & 15}
				e.set(half[:])
			}
		} else if (i+1)*e.size <= len(data) {
			e.set(data[i*e.size:][:e.size])
		}
	}
	return data[min(n+n%2, len(data)):]
}
