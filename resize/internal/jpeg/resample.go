package jpeg

import (
	"context"
	"fmt"
	"image"
	"math"
)

// Resampling is separable: each row of the result is summed up of rows of the
// source, and then each of its samples of samples of that row. Weights have 14
// bits of fraction. Only rows that are needed at the moment exist between the
// two steps.
//
// Processors multiply 64 bits as fast as 8. Two samples are therefore held in
// one word, 32 bits apart, and multiplied by a weight in one step:
//
//	(a + b·2^32)·w = a·w + b·w·2^32
//
// Negative sums borrow from the upper half; the bias that is added before the
// halves are taken apart pays that back. In the first step the two are
// neighbours in a row, in the second they are of two rows that are made together.
const (
	weightBits = 14
	keptBits   = 4 // of fraction, between the steps
	firstShift = weightBits - keptBits
	lastShift  = weightBits + keptBits
	firstBias  = 1<<22 + 1<<(firstShift-1) // 2^22 is as much as 256 samples
	lastBias   = 1<<26 + 1<<(lastShift-1)
	twice      = 1<<32 + 1 // repeats a number in both halves
)

// filterSupport is how far the filter reaches, in samples of the smaller of both
// pictures, to either side.
const filterSupport = 3

// filter is Lanczos' of three lobes, sinc(x) sinc(x/3). Against the cubic of
// Catmull and Rom it takes half as much work again, and keeps more of what the
// picture has just below the frequencies that the smaller one cannot show.
func filter(x float64) float64 {
	x = math.Abs(x) * math.Pi
	switch {
	case x == 0:
		return 1
	case x >= filterSupport*math.Pi:
		return 0
	}
	return filterSupport * math.Sin(x) * math.Sin(x/filterSupport) / (x * x)
}

// taps say of which samples of a line each sample of another is made: of count
// from first on, each with its weight.
type taps struct {
	first   []int
	weights []uint64 // count for each; negative ones as two's complement
	count   int
}

// newTaps returns the taps for n samples that cover as much as toExtent of them
// would, from m that cover fromExtent. Both are centred: sample i covers the
// part from i to i+1. What lies beyond an edge is as the sample at the edge.
func newTaps(n int, toExtent float64, m int, fromExtent float64, mirror bool) taps {
	step := fromExtent / toExtent
	stretch := max(step, 1)
	t := taps{count: min(m, int(math.Ceil(2*filterSupport*stretch))+1)}
	t.first, t.weights = make([]int, n), make([]uint64, n*t.count)
	values := make([]float64, t.count)
	for i := range n {
		centre := (float64(i) + 0.5) * step
		if mirror {
			centre = fromExtent - centre
		}
		low := int(math.Floor(centre - filterSupport*stretch))
		high := int(math.Ceil(centre + filterSupport*stretch))
		t.first[i] = max(0, min(low, m-t.count))
		clear(values)
		sum := 0.0
		for j := low; j < high; j++ {
			w := filter((float64(j) + 0.5 - centre) / stretch)
			values[min(max(min(max(j, 0), m-1)-t.first[i], 0), t.count-1)] += w
			sum += w
		}
		quantise(t.weights[i*t.count:][:t.count], values, sum)
	}
	return t
}

// quantise rounds weights so that their sum is exactly 1: what is left over by
// rounding is carried to the next.
func quantise(weights []uint64, values []float64, sum float64) {
	total, done := 0.0, 0
	for i, v := range values {
		total += v / sum
		upTo := int(math.Round(total * (1 << weightBits)))
		weights[i] = uint64(int64(upTo - done))
		done = upTo
	}
}

// Resize returns the picture in that size as seen, after it is turned upright
// from the given EXIF orientation. Planes that are so already are shared. With half, planes of colour of a YCbCr picture
// have half the size in both directions (4:2:0), otherwise the same (4:4:4). The
// error is the context's.
func (p *Picture) Resize(ctx context.Context, size image.Point, half bool, orientation int) (*Picture, error) {
	how := turns[orientation&15]
	if how.transpose {
		size = image.Pt(size.Y, size.X)
	}
	out := &Picture{Colour: p.Colour, Damaged: p.Damaged}
	for i := range p.Planes {
		width, height, extentX, extentY := size.X, size.Y, float64(size.X), float64(size.Y)
		if half && i > 0 && p.Colour == YCbCr {
			width, height, extentX, extentY = (width+1)/2, (height+1)/2, extentX/2, extentY/2
		}
		from := &p.Planes[i]
		if how == (turn{}) && from.Width == width && from.Height == height && from.ExtentX == extentX && from.ExtentY == extentY {
			out.Planes = append(out.Planes, *from)
			continue
		}
		to := newPlane(width, height, extentX, extentY)
		columns := newTaps(width, extentX, from.Width, from.ExtentX, how.mirrorX)
		rows := newTaps(height, extentY, from.Height, from.ExtentY, how.mirrorY)
		if err := resample(ctx, &to, from, columns, rows); err != nil {
			return nil, fmt.Errorf("resample JPEG: %w", err)
		}
		if how.transpose {
			to = transposed(&to)
		}
		out.Planes = append(out.Planes, to)
	}
	return out, nil
}

// resample makes all rows of a plane, two at a time.
func resample(ctx context.Context, to, from *Plane, columns, rows taps) error {
	words := make([]uint64, (from.Width+7)&^7)
	for y := 0; y < to.Height; y += 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		upper, lower := to.row(y), to.row(min(y+1, to.Height-1))
		addRows(words, from, rows, y, false)
		addRows(words, from, rows, min(y+1, to.Height-1), true)
		sumColumns(upper, lower, words, columns)
	}
	return nil
}

// addRows makes row y of the result as far as rows go, in the lower halves of
// the words, or adds it to their upper ones. Eight samples are taken at once;
// bytes behind the end of a line give words that nobody reads.
func addRows(words []uint64, from *Plane, rows taps, y int, upper bool) {
	first, weights := rows.first[y], rows.weights[y*rows.count:][:rows.count]
	var line [8]byte
	for x := 0; x < from.Width; x += 8 {
		const low = 0xff | 0xff<<32
		s0, s1, s2, s3 := uint64(firstBias*twice), uint64(firstBias*twice), uint64(firstBias*twice), uint64(firstBias*twice)
		at := first*from.Stride + x
		for _, w := range weights {
			var v uint64
			if at+8 <= len(from.Pix) {
				v = le64(from.Pix[at:])
			} else {
				copy(line[:], from.Pix[at:])
				v = le64(line[:])
			}
			s0 += v & low * w
			s1 += v >> 8 & low * w
			s2 += v >> 16 & low * w
			s3 += v >> 24 & low * w
			at += from.Stride
		}
		put((*[8]uint64)(words[x:]), [4]uint64{s0, s1, s2, s3}, upper)
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

// sumColumns makes two rows of the result from the words.
func sumColumns(upper, lower []uint8, words []uint64, columns taps) {
	lower = lower[:len(upper)]
	for x, first := range columns.first[:len(upper)] {
		weights := columns.weights[x*columns.count:][:columns.count]
		source := words[first:][:len(weights)]
		sum := uint64(lastBias * twice)
		for i, w := range weights {
			sum += source[i] * w
		}
		const bias = 1 << 26 >> lastShift
		upper[x] = clamp(int32(uint32(sum)>>lastShift) - bias)
		lower[x] = clamp(int32(sum>>32>>lastShift) - bias)
	}
}
