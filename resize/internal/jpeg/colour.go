package jpeg

import "image/color"

// ToYCbCr converts a picture of RGB or inks, whose planes all have one size, in
// place; others stay as they are. Inks are taken for ideal ones, as there is no
// profile of a press to ask: what is left of a colour is what neither its ink nor
// the black covers.
func (p *Picture) ToYCbCr() {
	if p.Colour == Grey || p.Colour == YCbCr {
		return
	}
	for y := range p.Planes[0].Height {
		var rows [4][]uint8
		for j := range p.Planes {
			rows[j] = p.Planes[j].row(y)
		}
		var in [4]uint8
		for x := range rows[0] {
			for j := range p.Planes {
				in[j] = rows[j][x]
			}
			rows[0][x], rows[1][x], rows[2][x] = color.RGBToYCbCr(toRGB(p.Colour, in))
		}
	}
	p.Colour, p.Planes = YCbCr, p.Planes[:3]
}

// toRGB converts the samples of one place.
func toRGB(c Colour, in [4]uint8) (r, g, b uint8) {
	switch c {
	case CMYK:
		in = [4]uint8{^in[0], ^in[1], ^in[2], ^in[3]}
	case InvertedYCCK:
		r, g, b := color.YCbCrToRGB(in[0], in[1], in[2])
		in[0], in[1], in[2] = ^r, ^g, ^b
	case RGB:
		in[3] = 255
	}
	cover := func(v uint8) uint8 { return uint8((int(v)*int(in[3]) + 127) / 255) }
	return cover(in[0]), cover(in[1]), cover(in[2])
}

// RGB returns the colour of a pixel, of a picture that is grey or YCbCr, of which
// planes of colour may have half the resolution.
func (p *Picture) RGB(x, y int) (r, g, b uint8) {
	luma := p.Planes[0].row(y)[x]
	if p.Colour == Grey {
		return luma, luma, luma
	}
	cb, cr := &p.Planes[1], &p.Planes[2]
	if cb.Width < p.Planes[0].Width || cb.Height < p.Planes[0].Height {
		x, y = x/2, y/2
	}
	return color.YCbCrToRGB(luma, cb.row(y)[x], cr.row(y)[x])
}
