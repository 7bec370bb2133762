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
	var in [4]uint8
	for i := range p.Planes[0].Pix {
		for j := range p.Planes {
			in[j] = p.Planes[j].Pix[i]
		}
		y, cb, cr := color.RGBToYCbCr(toRGB(p.Colour, in))
		p.Planes[0].Pix[i], p.Planes[1].Pix[i], p.Planes[2].Pix[i] = y, cb, cr
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
