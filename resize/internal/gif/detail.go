package gif

import (
	"image"
	"math"
)

// detailOf measures how much a frame shows: the contrast between neighbours, each
// up to what an edge has, so that a single hard edge is not taken for a picture.
// A grid of some thousand places is enough to tell a blank frame from a full one.
func detailOf(img *image.NRGBA) int {
	const enough, places = 48, 96
	w, h := img.Rect.Dx(), img.Rect.Dy()
	stepX, stepY := max(1, w/places), max(1, h/places)
	sum := 0
	for y := 0; y+1 < h; y += stepY {
		row, below := img.Pix[y*img.Stride:], img.Pix[(y+1)*img.Stride:]
		for x := 0; x+1 < w; x += stepX {
			here := brightness(row[4*x:])
			sum += min(enough, distance(here, brightness(row[4*x+4:]))) + min(enough, distance(here, brightness(below[4*x:])))
			if row[4*x+3] != 0 {
				sum++ // of two flat frames the one that covers more
			}
		}
	}
	return sum
}

// brightness is the luminance of a pixel, transparency on white.
func brightness(p []uint8) int {
	if p[3] == 0 {
		return 255
	}
	return (int(p[0])*77 + int(p[1])*150 + int(p[2])*29) >> 8
}

func distance(a, b int) int { return max(a-b, b-a) }

// best returns the first frame that shows nearly as much as any: what comes first
// is what an animation was posted with, if only there is something on it.
func best(detail []int) int {
	most := 0
	for _, d := range detail {
		most = max(most, d)
	}
	for i, d := range detail {
		if d >= most*7/10 {
			return i
		}
	}
	return 0
}

// look is the luminance of a picture, and of the same in half the size.
type look struct {
	w, h       int
	fine, half []uint8
}

func newLook(r *raster, size image.Point) look {
	l := look{w: size.X, h: size.Y, fine: enlarged(r.luma(), r.w, r.h, size.X, size.Y)}
	l.half = halved(l.fine, l.w, l.h)
	return l
}

// similarity is the structural similarity (Wang et al., 2004) of the luminance of
// two pictures of one size, over blocks of eight pixels and in two sizes of the
// picture; 1 where they are equal. It is what plans are compared by.
func similarity(a, b look) float64 {
	fine := blockSimilarity(a.fine, b.fine, a.w, a.h)
	return math.Pow(fine, 0.4) * math.Pow(blockSimilarity(a.half, b.half, a.w/2, a.h/2), 0.6)
}

// enlarged brings samples to a size that is no smaller, as a phone does it that
// shows a small picture large.
func enlarged(p []uint8, w, h, width, height int) []uint8 {
	if w == width && h == height {
		return p
	}
	type between struct{ at, next, part int } // of 256
	places := func(from, to int) []between {
		out := make([]between, to)
		for i := range out {
			at := min(max(0, ((2*i+1)*from*128)/to-128), (from-1)*256)
			out[i] = between{at >> 8, min(at>>8+1, from-1), at & 255}
		}
		return out
	}
	columns := places(w, width)
	out := make([]uint8, width*height)
	for y, row := range places(h, height) {
		above, below := p[row.at*w:][:w], p[row.next*w:][:w]
		line := out[y*width:][:width]
		for x, c := range columns {
			top := int(above[c.at])<<8 + (int(above[c.next])-int(above[c.at]))*c.part
			bottom := int(below[c.at])<<8 + (int(below[c.next])-int(below[c.at]))*c.part
			line[x] = uint8((top<<8 + (bottom-top)*row.part + 1<<15) >> 16)
		}
	}
	return out
}

func blockSimilarity(a, b []uint8, w, h int) float64 {
	const c1, c2, side, step = 6.5025, 58.5225, 8, 4
	sum, n := 0.0, 0
	for y := 0; y == 0 || y+side <= h; y += step {
		for x := 0; x == 0 || x+side <= w; x += step {
			var sa, sb, saa, sbb, sab, count int
			for i := y; i < min(y+side, h); i++ {
				ra, rb := a[i*w+x:i*w+min(x+side, w)], b[i*w+x:i*w+min(x+side, w)]
				for j, p := range ra {
					p, q := int(p), int(rb[j])
					sa, sb, saa, sbb, sab = sa+p, sb+q, saa+p*p, sbb+q*q, sab+p*q
				}
				count += len(ra)
			}
			if count == 0 {
				continue
			}
			m := float64(count)
			ma, mb := float64(sa)/m, float64(sb)/m
			va, vb, cov := float64(saa)/m-ma*ma, float64(sbb)/m-mb*mb, float64(sab)/m-ma*mb
			sum += (2*ma*mb + c1) * (2*cov + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
			n++
		}
	}
	if n == 0 {
		return 1
	}
	return max(sum/float64(n), 0)
}

func halved(p []uint8, w, h int) []uint8 {
	out := make([]uint8, (w/2)*(h/2))
	for y := range h / 2 {
		for x := range w / 2 {
			i := 2*y*w + 2*x
			out[y*(w/2)+x] = uint8((int(p[i]) + int(p[i+1]) + int(p[i+w]) + int(p[i+w+1]) + 2) >> 2)
		}
	}
	return out
}
