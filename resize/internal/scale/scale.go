// Package scale makes rows of samples smaller, or larger, by Lanczos' filter in
// fixed point. [Plane] takes a whole plane; a [Stream] takes the rows of a picture
// as a decoder gives them, and holds no more of them than the filter reaches.
//
// Nothing here limits a size. [Memory] and [StreamMemory] say before what a size
// takes.
package scale

import (
	"context"
	"encoding/binary"
	"image"
)

// Samples are the samples of one plane, row by row.
type Samples struct {
	Pix           []uint8
	Stride        int // from one row to the next
	Width, Height int
}

// Plane makes all rows of a plane, two at a time. The error is the context's.
func Plane(ctx context.Context, to, from Samples, columns, rows Taps) error {
	p := newPairs(columns, rows, from.Width, 1)
	for y := 0; y < to.Height; y += 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		below := min(y+1, to.Height-1)
		p.make(to.Pix[y*to.Stride:][:to.Width], to.Pix[below*to.Stride:][:to.Width], y, below, from.Pix, from.Stride, 0)
	}
	return nil
}

// pairs makes pairs of rows.
type pairs struct {
	columns, rows Taps
	channels      int // samples of each pixel, side by side
	words         []uint64
}

func newPairs(columns, rows Taps, width, channels int) *pairs {
	return &pairs{columns, rows, channels, make([]uint64, (width*channels+7)&^7)}
}

// make makes rows y and below, which is y+1 or y itself where that is the last.
// The rows of the source are in pix from row start on.
func (p *pairs) make(upper, lower []uint8, y, below int, pix []uint8, stride, start int) {
	p.addRows(pix, stride, y, start, false)
	p.addRows(pix, stride, below, start, true)
	switch p.channels {
	case 3:
		p.sumColumns3(upper, lower)
	case 4:
		p.sumColumns4(upper, lower)
	default:
		p.sumColumns(upper, lower)
	}
}

// addRows makes row y of the result as far as rows go, in the lower halves of
// the words, or adds it to their upper ones. Eight samples are taken at once;
// bytes behind the end of a line give words that nobody reads.
func (p *pairs) addRows(pix []uint8, stride, y, start int, upper bool) {
	first, weights := p.rows.first[y]-start, p.rows.weights[y*p.rows.count:][:p.rows.count]
	var line [8]byte
	for x := 0; x < len(p.words); x += 8 {
		const low = 0xff | 0xff<<32
		s0, s1, s2, s3 := uint64(firstBias*twice), uint64(firstBias*twice), uint64(firstBias*twice), uint64(firstBias*twice)
		at := first*stride + x
		for _, w := range weights {
			var v uint64
			if at+8 <= len(pix) {
				v = binary.LittleEndian.Uint64(pix[at:])
			} else {
				copy(line[:], pix[at:])
				v = binary.LittleEndian.Uint64(line[:])
			}
			s0 += v & low * w
			s1 += v >> 8 & low * w
			s2 += v >> 16 & low * w
			s3 += v >> 24 & low * w
			at += stride
		}
		put((*[8]uint64)(p.words[x:]), [4]uint64{s0, s1, s2, s3}, upper)
	}
}

// put takes the sums apart: each has sample i in its lower half and i+4 in the
// upper.
func put(words *[8]uint64, sums [4]uint64, upper bool) {
	const bias = 1 << 22 >> firstShift
	for i, s := range sums {
		a := (s & 0xffffffff >> firstShift) - bias
		b := (s >> 32 >> firstShift) - bias
		if upper {
			words[i] += a << 32
			words[i+4] += b << 32
		} else {
			words[i], words[i+4] = a, b
		}
	}
}

// sumColumns makes two rows of the result from the words, of one channel.
func (p *pairs) sumColumns(upper, lower []uint8) {
	columns := &p.columns
	lower = lower[:len(upper)]
	for x, first := range columns.first[:len(upper)] {
		weights := columns.weights[x*columns.count:][:columns.count]
		source := p.words[first:][:len(weights)]
		sum := uint64(lastBias * twice)
		for i, w := range weights {
			sum += source[i] * w
		}
		upper[x], lower[x] = halves(sum)
	}
}

// sumColumns3 does it for three channels.
func (p *pairs) sumColumns3(upper, lower []uint8) {
	columns := &p.columns
	for x, first := range columns.first {
		source := p.words[3*first:]
		s0, s1, s2 := uint64(lastBias*twice), uint64(lastBias*twice), uint64(lastBias*twice)
		for _, w := range columns.weights[x*columns.count:][:columns.count] {
			v := source[:3:3]
			s0 += v[0] * w
			s1 += v[1] * w
			s2 += v[2] * w
			source = source[3:]
		}
		u, l := upper[3*x:3*x+3], lower[3*x:3*x+3]
		u[0], l[0] = halves(s0)
		u[1], l[1] = halves(s1)
		u[2], l[2] = halves(s2)
	}
}

// sumColumns4 does it for four.
func (p *pairs) sumColumns4(upper, lower []uint8) {
	columns := &p.columns
	for x, first := range columns.first {
		source := p.words[4*first:]
		s0, s1, s2, s3 := uint64(lastBias*twice), uint64(lastBias*twice), uint64(lastBias*twice), uint64(lastBias*twice)
		for _, w := range columns.weights[x*columns.count:][:columns.count] {
			v := source[:4:4]
			s0 += v[0] * w
			s1 += v[1] * w
			s2 += v[2] * w
			s3 += v[3] * w
			source = source[4:]
		}
		u, l := upper[4*x:4*x+4], lower[4*x:4*x+4]
		u[0], l[0] = halves(s0)
		u[1], l[1] = halves(s1)
		u[2], l[2] = halves(s2)
		u[3], l[3] = halves(s3)
	}
}

// halves takes a sum of two samples apart.
func halves(sum uint64) (upper, lower uint8) {
	const bias = 1 << 26 >> lastShift
	return clamp(int32(uint32(sum)>>lastShift) - bias), clamp(int32(sum>>32>>lastShift) - bias)
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

// Stream scales a picture row by row.
type Stream struct {
	from, to image.Point
	channels int
	put      func(y int, row []uint8)
	pairs    *pairs
	window   []uint8 // rows of the source, from row start on
	start    int
	arrived  int // rows of the source
	made     int // rows of the result
	upper    []uint8
	lower    []uint8
}

// NewStream returns a stream from one size to another of pixels of 1, 3 or 4
// channels, the fourth of which says how opaque the others are. It gives each row
// of the result to put, which must not keep it. Pictures of equal size are given
// on as they are.
func NewStream(channels int, from, to image.Point, put func(y int, row []uint8)) *Stream {
	s := &Stream{from: from, to: to, channels: channels, put: put}
	if from == to {
		return s
	}
	columns := NewTaps(to.X, float64(to.X), from.X, float64(from.X), false)
	rows := NewTaps(to.Y, float64(to.Y), from.Y, float64(from.Y), false)
	s.pairs = newPairs(columns, rows, from.X, channels)
	s.window = make([]uint8, 0, windowRows(from, to)*from.X*channels)
	s.upper, s.lower = make([]uint8, to.X*channels), make([]uint8, to.X*channels)
	return s
}

// windowRows returns how many rows of the source are held: those that a pair is
// made of, and a quarter more, so that they are seldom moved.
func windowRows(from, to image.Point) int {
	step := from.Y/to.Y + 1
	return min(from.Y, (2*filterSupport+1)*step+4) * 5 / 4
}

// StreamMemory returns how many bytes [NewStream] allocates.
func StreamMemory(channels int, from, to image.Point) int64 {
	if from == to {
		return 0
	}
	line := int64(from.X) * int64(channels)
	return int64(windowRows(from, to))*line + 8*line + 2*int64(to.X)*int64(channels) +
		Memory(to.X, from.X) + Memory(to.Y, from.Y)
}

// Write takes the next row of the source.
func (s *Stream) Write(row []uint8) {
	if s.pairs == nil {
		s.put(s.arrived, row)
		s.arrived++
		return
	}
	line := s.from.X * s.channels
	if len(s.window)+line > cap(s.window) {
		s.forget(line)
	}
	s.window = append(s.window, row[:line]...)
	if s.channels == 4 {
		multiply(s.window[len(s.window)-line:])
	}
	s.arrived++
	for s.made < s.to.Y {
		below := min(s.made+1, s.to.Y-1)
		rows := &s.pairs.rows
		if max(rows.first[s.made], rows.first[below])+rows.count > s.arrived {
			return
		}
		s.pairs.make(s.upper, s.lower, s.made, below, s.window, line, s.start)
		s.give(s.made, s.upper)
		if below > s.made {
			s.give(below, s.lower)
		}
		s.made = below + 1
	}
}

// forget drops the rows that no row still to come is made of.
func (s *Stream) forget(line int) {
	keep := s.arrived
	if s.made < s.to.Y {
		keep = min(s.pairs.rows.first[s.made], s.arrived)
	}
	n := copy(s.window, s.window[(keep-s.start)*line:])
	s.window, s.start = s.window[:n], keep
}

func (s *Stream) give(y int, row []uint8) {
	if s.channels == 4 {
		divide(row)
	}
	s.put(y, row)
}

// multiply multiplies colours by their opacity, so that what is not seen weighs
// nothing.
func multiply(row []uint8) {
	for ; len(row) >= 4; row = row[4:] {
		if a := uint32(row[3]); a != 0xff {
			for i := range 3 {
				row[i] = uint8((uint32(row[i])*a + 127) / 255)
			}
		}
	}
}

// divide takes that back.
func divide(row []uint8) {
	for ; len(row) >= 4; row = row[4:] {
		if a := uint32(row[3]); a != 0xff && a != 0 {
			for i := range 3 {
				row[i] = uint8(min(255, (uint32(row[i])*255+a/2)/a))
			}
		}
	}
}
