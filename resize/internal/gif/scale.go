package gif

import (
	"encoding/binary"
	"image"
	"math"
)

// raster is a picture whose pixels are numbers: red in the lowest byte, then
// green, blue and opacity. A pixel that is not opaque is 0.
type raster struct {
	w, h int
	pix  []uint32
}

func newRaster(size image.Point) *raster {
	return &raster{size.X, size.Y, make([]uint32, size.X*size.Y)}
}

// set copies a frame of the same size.
func (r *raster) set(img *image.NRGBA) {
	for y := range r.h {
		row, to := img.Pix[y*img.Stride:][:4*r.w], r.pix[y*r.w:][:r.w]
		for x := range to {
			if p := binary.LittleEndian.Uint32(row[4*x:]); p>>31 != 0 {
				to[x] = p | opaqueBlack
			} else {
				to[x] = 0
			}
		}
	}
}

func (r *raster) luma() []uint8 {
	out := make([]uint8, len(r.pix))
	for i, p := range r.pix {
		if p == 0 {
			out[i] = 255
			continue
		}
		out[i] = uint8(((p&255)*77 + (p>>8&255)*150 + (p>>16&255)*29) >> 8)
	}
	return out
}

func (r *raster) clone() *raster {
	return &raster{r.w, r.h, append([]uint32(nil), r.pix...)}
}

// scaler brings frames to one size, by a Catmull-Rom filter as wide as a pixel of
// the result. It is used for one frame after the other.
type scaler struct {
	x, y   []taps
	from   []int32 // the source's row as three samples and opacity
	middle []int32 // the rows of the source in the width of the result
}

// taps are the source's samples of which one of the result is made.
type taps struct {
	start  int
	weight []int32 // in parts of 1<<weightBits
}

const weightBits = 12

func filter(from, to int) []taps {
	out := make([]taps, to)
	scale := float64(from) / float64(to)
	width := max(scale, 1)
	for i := range out {
		centre := (float64(i)+0.5)*scale - 0.5
		start := max(0, int(math.Ceil(centre-2*width)))
		end := min(from-1, int(math.Floor(centre+2*width)))
		weights, sum := make([]float64, end-start+1), 0.0
		for j := range weights {
			weights[j] = catmullRom(math.Abs(float64(start+j)-centre) / width)
			sum += weights[j]
		}
		out[i] = taps{start, make([]int32, len(weights))}
		left, most := int32(1<<weightBits), 0
		for j, w := range weights {
			out[i].weight[j] = int32(math.Round(w / sum * (1 << weightBits)))
			left -= out[i].weight[j]
			if w > weights[most] {
				most = j
			}
		}
		out[i].weight[most] += left
	}
	return out
}

func catmullRom(x float64) float64 {
	switch {
	case x < 1:
		return (1.5*x-2.5)*x*x + 1
	case x < 2:
		return ((-0.5*x+2.5)*x-4)*x + 2
	}
	return 0
}

// scale makes dst of src in the size that dst has.
func (s *scaler) scale(dst, src *raster) {
	if src.w == dst.w && src.h == dst.h {
		copy(dst.pix, src.pix)
		return
	}
	if len(s.x) != dst.w || len(s.y) != dst.h || len(s.from) != 4*src.w || len(s.middle) != 4*dst.w*src.h {
		s.x, s.y = filter(src.w, dst.w), filter(src.h, dst.h)
		s.from, s.middle = make([]int32, 4*src.w), make([]int32, 4*dst.w*src.h)
	}
	for y := range src.h {
		s.across(s.middle[4*dst.w*y:][:4*dst.w], src.pix[y*src.w:][:src.w])
	}
	for y := range dst.h {
		s.down(dst.pix[dst.w*y:][:dst.w], y)
	}
}

// across filters a row. Samples keep four more bits than they had.
func (s *scaler) across(dst []int32, row []uint32) {
	for i, p := range row {
		q := s.from[4*i : 4*i+4 : 4*i+4]
		q[0], q[1], q[2], q[3] = int32(p&255), int32(p>>8&255), int32(p>>16&255), int32(p>>24)
	}
	for x, t := range s.x {
		var r, g, b, a int32
		from := s.from[4*t.start:]
		for i, w := range t.weight {
			p := from[4*i : 4*i+4 : 4*i+4]
			r, g, b, a = r+w*p[0], g+w*p[1], b+w*p[2], a+w*p[3]
		}
		q := dst[4*x : 4*x+4 : 4*x+4]
		const shift = weightBits - 4
		q[0], q[1], q[2], q[3] = r>>shift, g>>shift, b>>shift, a>>shift
	}
}

// down filters columns for one row of the result.
func (s *scaler) down(dst []uint32, y int) {
	t := s.y[y]
	stride := 4 * len(dst)
	for x := range dst {
		var r, g, b, a int32
		at := t.start*stride + 4*x
		for _, w := range t.weight {
			p := s.middle[at : at+4 : at+4]
			r, g, b, a = r+w*p[0], g+w*p[1], b+w*p[2], a+w*p[3]
			at += stride
		}
		const shift, half = weightBits + 4, 1 << (weightBits + 3)
		opacity := (a + half) >> shift
		if opacity < 128 {
			dst[x] = 0
			continue
		}
		r, g, b = (r+half)>>shift, (g+half)>>shift, (b+half)>>shift
		if opacity < 255 {
			r, g, b = r*255/opacity, g*255/opacity, b*255/opacity
		}
		dst[x] = opaqueBlack | sample(r) | sample(g)<<8 | sample(b)<<16
	}
}

func sample(v int32) uint32 { return uint32(max(0, min(v, 255))) }
