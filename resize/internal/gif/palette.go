package gif

import (
	"cmp"
	"math"
	"slices"
)

// rgb is a colour by its three samples.
type rgb struct{ r, g, b int32 }

func split(p uint32) rgb { return rgb{int32(p & 255), int32(p >> 8 & 255), int32(p >> 16 & 255)} }

func (c rgb) pack() uint32 { return opaqueBlack | uint32(c.r) | uint32(c.g)<<8 | uint32(c.b)<<16 }

// apart returns how different two colours look: the squares of the differences,
// weighted by what each sample does for the brightness; a difference of n in all
// three is 3·n².
func apart(a, b rgb) int32 {
	r, g, bl := a.r-b.r, a.g-b.g, a.b-b.b
	return (3*r*r + 5*g*g + bl*bl) / 3
}

// histogram counts colours: each by itself while they are few, and all in cells
// of eight levels for each sample.
type histogram struct {
	exact map[uint32]struct{} // nil where there are more than a palette has
	cells []cell              // of 32 × 32 × 32
	last  uint32
}

type cell struct {
	n       int64
	r, g, b int64 // sums
}

const cellsOf = 32 * 32 * 32

func newHistogram() *histogram {
	return &histogram{exact: map[uint32]struct{}{}, cells: make([]cell, cellsOf)}
}

// add counts the opaque pixels, every stride-th of them.
func (h *histogram) add(pix []uint32, stride int) {
	for i := 0; i < len(pix); i += stride {
		if p := pix[i]; p != 0 {
			c := &h.cells[p>>3&31|p>>6&(31<<5)|p>>9&(31<<10)]
			c.n, c.r, c.g, c.b = c.n+1, c.r+int64(p&255), c.g+int64(p>>8&255), c.b+int64(p>>16&255)
		}
	}
	if h.exact == nil {
		return
	}
	for _, p := range pix {
		if p == h.last || p == 0 {
			continue
		}
		h.last = p
		h.exact[p] = struct{}{}
		if len(h.exact) > 256 {
			h.exact = nil
			return
		}
	}
}

// palette returns that many colours at most: those that were counted where they
// are no more, otherwise such as stand for them with the least error.
func (h *histogram) palette(colours int) *palette {
	if h.exact != nil && len(h.exact) <= colours {
		all := make([]rgb, 0, colours)
		for p := range h.exact {
			all = append(all, split(p))
		}
		p := newPalette(all)
		p.exact = true
		return p
	}
	var used []cell
	for _, c := range h.cells {
		if c.n > 0 {
			used = append(used, c)
		}
	}
	p := newPalette(cut(used, colours))
	for range 2 {
		p = refine(used, p)
	}
	return p
}

func (c *cell) mean() rgb {
	return rgb{int32((c.r + c.n/2) / c.n), int32((c.g + c.n/2) / c.n), int32((c.b + c.n/2) / c.n)}
}

// box is a range of cells that becomes one colour.
type box struct {
	cells []cell
	error float64 // in sum, by the sample that has the most
	axis  int
}

func newBox(cells []cell) box {
	b := box{cells: cells}
	var n float64
	var sum, square [3]float64
	for i := range cells {
		c := &cells[i]
		m, w := c.mean(), weigh(c.n)
		n += w
		for axis, v := range [3]int32{m.r, m.g, m.b} {
			sum[axis] += w * float64(v)
			square[axis] += w * float64(v) * float64(v)
		}
	}
	for axis, weight := range [3]float64{3, 5, 1} {
		if e := weight * (square[axis] - sum[axis]*sum[axis]/n); e > b.error {
			b.error, b.axis = e, axis
		}
	}
	return b
}

// weigh makes large areas of one colour count for less than their pixels: details
// of few pixels are seen too.
func weigh(n int64) float64 { return math.Pow(float64(n), 0.75) }

func (b box) value(c *cell) int32 {
	m := c.mean()
	return [3]int32{m.r, m.g, m.b}[b.axis]
}

// cut divides the cells into boxes, always the one with the largest error and at
// its mean, and returns the mean of each.
func cut(cells []cell, colours int) []rgb {
	if len(cells) == 0 {
		return nil
	}
	boxes := []box{newBox(cells)}
	for len(boxes) < colours {
		worst := 0
		for i := range boxes {
			if boxes[i].error > boxes[worst].error {
				worst = i
			}
		}
		b := boxes[worst]
		if len(b.cells) < 2 || b.error <= 0 {
			break
		}
		slices.SortStableFunc(b.cells, func(p, q cell) int { return cmp.Compare(b.value(&p), b.value(&q)) })
		var n, sum float64
		for i := range b.cells {
			w := weigh(b.cells[i].n)
			n, sum = n+w, sum+w*float64(b.value(&b.cells[i]))
		}
		at := 1
		for at < len(b.cells)-1 && float64(b.value(&b.cells[at])) <= sum/n {
			at++
		}
		boxes[worst] = newBox(b.cells[:at])
		boxes = append(boxes, newBox(b.cells[at:]))
	}
	out := make([]rgb, len(boxes))
	for i, b := range boxes {
		out[i] = meanOf(b.cells)
	}
	return out
}

func meanOf(cells []cell) rgb {
	var n, r, g, b float64
	for i := range cells {
		c := &cells[i]
		w := weigh(c.n) / float64(c.n)
		n, r, g, b = n+w*float64(c.n), r+w*float64(c.r), g+w*float64(c.g), b+w*float64(c.b)
	}
	return rgb{int32(r/n + 0.5), int32(g/n + 0.5), int32(b/n + 0.5)}
}

// refine moves each colour to the mean of the cells that are nearest to it.
func refine(cells []cell, p *palette) *palette {
	groups := make([][]cell, len(p.colours))
	for _, c := range cells {
		i, _ := p.nearest(c.mean().pack())
		groups[i] = append(groups[i], c)
	}
	out := make([]rgb, 0, len(groups))
	for _, g := range groups {
		if len(g) > 0 {
			out = append(out, meanOf(g))
		}
	}
	return newPalette(out)
}

// palette is up to 256 colours and a quick way to the nearest.
type palette struct {
	colours []rgb // by brightness
	bright  []int32
	// exact says that the colours are those of the picture, and not near to them.
	exact bool
	// near has the nearest colour for each cell of 64 × 64 × 64, and 1 is added;
	// 0 where it has not been looked for.
	near []uint16
}

func newPalette(colours []rgb) *palette {
	slices.SortFunc(colours, func(a, b rgb) int {
		return cmp.Or(cmp.Compare(a.bright(), b.bright()), cmp.Compare(a.pack(), b.pack()))
	})
	p := &palette{colours: slices.Compact(colours), near: make([]uint16, 64*64*64)}
	for _, c := range p.colours {
		p.bright = append(p.bright, c.bright())
	}
	return p
}

// bright is a brightness for the search. The square of a difference of it is at
// most 27 times what the colours are apart, and 18 for what apart rounds off (by
// Cauchy's inequality).
func (c rgb) bright() int32 { return 3*c.r + 5*c.g + c.b }

// nearest returns the index of the colour that is the least apart from an opaque
// pixel, and how much that is. Where colours are not exact it may be one that is
// nearest to a pixel four levels away.
func (p *palette) nearest(pixel uint32) (uint8, int32) {
	near := &p.near[pixel>>2&63|pixel>>4&(63<<6)|pixel>>6&(63<<12)]
	if *near > 0 {
		i := uint8(*near - 1)
		if a := apart(split(pixel), p.colours[i]); a == 0 || !p.exact {
			return i, a
		}
	}
	i, a := p.search(pixel)
	*near = uint16(i) + 1
	return i, a
}

func (p *palette) search(pixel uint32) (uint8, int32) {
	c := split(pixel)
	bright := c.bright()
	start, _ := slices.BinarySearch(p.bright, bright)
	best, least := 0, int32(1<<24) // more than any
	for i := start; i < len(p.colours); i++ {
		if d := p.bright[i] - bright; d*d > 27*least+18 {
			break
		}
		if a := apart(c, p.colours[i]); a < least {
			best, least = i, a
		}
	}
	for i := start - 1; i >= 0; i-- {
		if d := bright - p.bright[i]; d*d > 27*least+18 {
			break
		}
		if a := apart(c, p.colours[i]); a < least {
			best, least = i, a
		}
	}
	return uint8(best), least
}

// reset forgets what was counted.
func (h *histogram) reset() {
	clear(h.cells)
	h.exact, h.last = map[uint32]struct{}{}, 0
}
