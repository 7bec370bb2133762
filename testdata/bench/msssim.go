package main

import (
	"image"
	"image/color"
	"math"
)

// grey is a picture of one channel.
type grey struct {
	pix           []float64
	width, height int
}

func luma(img image.Image) grey {
	b := img.Bounds()
	g := grey{make([]float64, b.Dx()*b.Dy()), b.Dx(), b.Dy()}
	for y := range g.height {
		for x := range g.width {
			r, gr, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
			yy, _, _ := color.RGBToYCbCr(uint8(r>>8), uint8(gr>>8), uint8(bl>>8))
			g.pix[y*g.width+x] = float64(yy)
		}
	}
	return g
}

// msssim is the multi-scale structural similarity of Wang, Simoncelli and Bovik
// (2003), with their window and exponents.
func msssim(a, b grey) float64 {
	exponents := []float64{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}
	value := 1.0
	for i, e := range exponents {
		structure, whole := ssim(a, b)
		if i == len(exponents)-1 {
			structure = whole
		}
		value *= math.Pow(max(structure, 0), e)
		a, b = a.halved(), b.halved()
	}
	return value
}

// decibel is a similarity on a scale that has no end at 1, but at 60.
func decibel(value float64) float64 { return min(60, -10*math.Log10(1-value)) }

// ssim returns the means of contrast and structure, and of these with luminance.
func ssim(a, b grey) (structure, whole float64) {
	const c1, c2 = 0.01 * 255 * 0.01 * 255, 0.03 * 255 * 0.03 * 255
	product := func(p, q grey) grey {
		out := grey{make([]float64, len(p.pix)), p.width, p.height}
		for i := range p.pix {
			out.pix[i] = p.pix[i] * q.pix[i]
		}
		return out.blurred()
	}
	ma, mb := a.blurred(), b.blurred()
	aa, bb, ab := product(a, a), product(b, b), product(a, b)
	for i := range ma.pix {
		x, y := ma.pix[i], mb.pix[i]
		s := (2*(ab.pix[i]-x*y) + c2) / (aa.pix[i] - x*x + bb.pix[i] - y*y + c2)
		structure += s
		whole += s * (2*x*y + c1) / (x*x + y*y + c1)
	}
	n := float64(len(ma.pix))
	return structure / n, whole / n
}

// blurred filters with a Gaussian of 1.5 samples, 11 wide, where that lies inside.
func (g grey) blurred() grey {
	var kernel [11]float64
	sum := 0.0
	for i := range kernel {
		kernel[i] = math.Exp(-float64((i-5)*(i-5)) / (2 * 1.5 * 1.5))
		sum += kernel[i]
	}
	across := grey{make([]float64, (g.width-10)*g.height), g.width - 10, g.height}
	for y := range g.height {
		for x := range across.width {
			for i, k := range kernel {
				across.pix[y*across.width+x] += k / sum * g.pix[y*g.width+x+i]
			}
		}
	}
	out := grey{make([]float64, across.width*(g.height-10)), across.width, g.height - 10}
	for y := range out.height {
		for x := range out.width {
			for i, k := range kernel {
				out.pix[y*out.width+x] += k / sum * across.pix[(y+i)*out.width+x]
			}
		}
	}
	return out
}

func (g grey) halved() grey {
	out := grey{make([]float64, g.width/2*(g.height/2)), g.width / 2, g.height / 2}
	for y := range out.height {
		for x := range out.width {
			at := 2*y*g.width + 2*x
			out.pix[y*out.width+x] = (g.pix[at] + g.pix[at+1] + g.pix[at+g.width] + g.pix[at+g.width+1]) / 4
		}
	}
	return out
}
