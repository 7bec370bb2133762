package jpeg

// Matrix is how RGB becomes luma and colour (ITU-T H.273, table 4).
type Matrix uint8

// The matrices that are in use. T.871 has BT.601's.
const (
	BT601 Matrix = iota
	BT709
	BT2020 // with a luma that is not constant
)

// weights returns the parts of red and blue in luma.
func (m Matrix) weights() (red, blue float64) {
	switch m {
	case BT709:
		return 0.2126, 0.0722
	case BT2020:
		return 0.2627, 0.0593
	}
	return 0.299, 0.114
}

// Video says what samples mean that were coded as in video.
type Video struct {
	Matrix Matrix
	// Full says that samples use the range from 0 to 255; otherwise luma goes from
	// 16 to 235 and colour from 16 to 240 (BT.601, section 2.5).
	Full bool
}

// FromVideo converts the samples of a picture that is grey or YCbCr to those of
// T.871, in place. Planes of colour may have half the resolution.
func (p *Picture) FromVideo(v Video) {
	if v == (Video{Full: true}) {
		return
	}
	lumaScale, colourScale, black := 1.0, 1.0, 0.0
	if !v.Full {
		lumaScale, colourScale, black = 255.0/219, 255.0/224, 16
	}
	luma := table(func(s float64) float64 { return (s - black) * lumaScale })
	if p.Colour != YCbCr || v.Matrix == BT601 {
		apply(&p.Planes[0], luma)
		if p.Colour == YCbCr {
			colour := table(func(s float64) float64 { return (s - 128) * colourScale })
			for i := range colour {
				colour[i] += 128 << tableBits
			}
			apply(&p.Planes[1], colour)
			apply(&p.Planes[2], colour)
		}
		return
	}
	m := toBT601(v.Matrix)
	var by [2][3]*[256]int32 // what Cb and Cr add to each component
	for from := range by {
		for to := range by[from] {
			by[from][to] = table(func(s float64) float64 { return (s - 128) * colourScale * m[from][to] })
		}
	}
	p.mix(luma, by)
}

// tableBits of fraction are in the tables of samples.
const tableBits = 8

func table(f func(sample float64) float64) *[256]int32 {
	var t [256]int32
	for i := range t {
		v := f(float64(i)) * (1 << tableBits)
		if v < 0 {
			v--
		}
		t[i] = int32(v + 0.5)
	}
	return &t
}

func apply(p *Plane, t *[256]int32) {
	var bytes [256]uint8
	for i, v := range t {
		bytes[i] = rounded(v)
	}
	for y := range p.Height {
		row := p.row(y)
		for x, s := range row {
			row[x] = bytes[s]
		}
	}
}

func rounded(v int32) uint8 { return clamp((v + 1<<(tableBits-1)) >> tableBits) }

// toBT601 returns what one unit of Cb, and of Cr, of that matrix is in Y, Cb and
// Cr of BT.601. A grey is the same in both.
func toBT601(m Matrix) [2][3]float64 {
	red, blue := m.weights()
	toRed, toBlue := BT601.weights()
	var out [2][3]float64
	for i, c := range [2][2]float64{{1, 0}, {0, 1}} {
		r := 2 * (1 - red) * c[1]
		b := 2 * (1 - blue) * c[0]
		g := -(red*r + blue*b) / (1 - red - blue)
		y := toRed*r + toBlue*b + (1-toRed-toBlue)*g
		out[i] = [3]float64{y, (b - y) / (2 * (1 - toBlue)), (r - y) / (2 * (1 - toRed))}
	}
	return out
}

// mix makes all components of luma and what the colours add.
func (p *Picture) mix(luma *[256]int32, by [2][3]*[256]int32) {
	full, cb, cr := &p.Planes[0], &p.Planes[1], &p.Planes[2]
	stepX := (full.Width + cb.Width - 1) / cb.Width
	stepY := (full.Height + cb.Height - 1) / cb.Height
	for y := range full.Height {
		row, blue, red := full.row(y), cb.row(y/stepY), cr.row(y/stepY)
		for x, s := range row {
			row[x] = rounded(luma[s] + by[0][0][blue[x/stepX]] + by[1][0][red[x/stepX]])
		}
	}
	const middle = 128 << tableBits
	for y := range cb.Height {
		blue, red := cb.row(y), cr.row(y)
		for x := range blue {
			b, r := blue[x], red[x]
			blue[x] = rounded(middle + by[0][1][b] + by[1][1][r])
			red[x] = rounded(middle + by[0][2][b] + by[1][2][r])
		}
	}
}
