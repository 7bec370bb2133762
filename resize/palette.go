package resize

import (
	"bytes"
	"cmp"
	"image"
	"slices"
)

const (
	// maxPalette is how many colours a palette has at most.
	maxPalette = 256
	// maxColours is how many colours a picture may have to be given a palette. What
	// has more is a photograph.
	maxColours = 1 << 16
)

// colour is a colour of a pixel: red, green, blue and how opaque it is.
type colour [4]uint8

// counted is a colour and how many pixels have it.
type counted struct {
	colour
	pixels int
}

type colourCounts []counted

// countColours counts the colours of a picture, in an order that depends on them
// alone; nil where there are more than limit.
func countColours(img *image.NRGBA, limit int) colourCounts {
	at := make(map[colour]int, min(limit, 1024))
	var counts colourCounts
	last := -1
	for y := range img.Rect.Dy() {
		row := img.Pix[y*img.Stride:]
		for x := range img.Rect.Dx() {
			c := colour(row[4*x:])
			if last < 0 || counts[last].colour != c {
				i, known := at[c]
				if !known {
					if len(counts) == limit {
						return nil
					}
					i = len(counts)
					at[c] = i
					counts = append(counts, counted{colour: c})
				}
				last = i
			}
			counts[last].pixels++
		}
	}
	return counts
}

// exact returns a palette of the very colours.
func (counts colourCounts) exact() ([]colour, map[colour]uint8) {
	palette, lookup := make([]colour, len(counts)), make(map[colour]uint8, len(counts))
	slices.SortFunc(counts, func(a, b counted) int { return bytes.Compare(a.colour[:], b.colour[:]) })
	for i, c := range counts {
		palette[i], lookup[c.colour] = c.colour, uint8(i)
	}
	return palette, lookup
}

// quantise returns a palette of at most 256 colours, and which of them stands for
// each colour, by median cut: the box of colours that differ most, weighted by
// their pixels, is divided until there are enough (P. Heckbert, "Color image
// quantization for frame buffer display", 1982).
func (counts colourCounts) quantise() ([]colour, map[colour]uint8) {
	boxes := []box{newBox(counts)}
	for len(boxes) < maxPalette {
		worst := 0
		for i, b := range boxes {
			if b.spread > boxes[worst].spread {
				worst = i
			}
		}
		if boxes[worst].spread == 0 {
			break
		}
		low, high := boxes[worst].divide()
		boxes[worst] = low
		boxes = append(boxes, high)
	}
	palette, lookup := make([]colour, len(boxes)), make(map[colour]uint8, len(counts))
	for i, b := range boxes {
		palette[i] = b.colour()
		for _, c := range b.counts {
			lookup[c.colour] = uint8(i)
		}
	}
	return palette, lookup
}

// box is some of the colours.
type box struct {
	counts colourCounts
	spread float64 // variance along the longest side, times the pixels
	side   int     // which that is
}

func newBox(counts colourCounts) box {
	b := box{counts: counts}
	for side := range 4 {
		sum, squares, n := 0.0, 0.0, 0.0
		for _, c := range counts {
			v, w := float64(c.colour[side]), float64(c.pixels)
			sum, squares, n = sum+v*w, squares+v*v*w, n+w
		}
		if spread := squares - sum*sum/n; spread > b.spread+0.5 {
			b.spread, b.side = spread, side
		}
	}
	return b
}

// divide divides a box at the mean of its longest side.
func (b box) divide() (low, high box) {
	sum, n := 0, 0
	for _, c := range b.counts {
		sum, n = sum+int(c.colour[b.side])*c.pixels, n+c.pixels
	}
	slices.SortFunc(b.counts, func(x, y counted) int {
		return cmp.Or(cmp.Compare(x.colour[b.side], y.colour[b.side]), bytes.Compare(x.colour[:], y.colour[:]))
	})
	at := 1
	for at < len(b.counts)-1 && int(b.counts[at].colour[b.side])*n <= sum {
		at++
	}
	return newBox(b.counts[:at]), newBox(b.counts[at:])
}

// colour returns what stands for the colours of a box: the one that most pixels
// have if it is more than half of them, so that flat areas keep their colour, else
// the mean.
func (b box) colour() colour {
	var sums [4]int
	n, most := 0, counted{}
	for _, c := range b.counts {
		for i, v := range c.colour {
			sums[i] += int(v) * c.pixels
		}
		n += c.pixels
		if c.pixels > most.pixels {
			most = c
		}
	}
	if 2*most.pixels > n {
		return most.colour
	}
	var mean colour
	for i, sum := range sums {
		mean[i] = uint8((sum + n/2) / n)
	}
	return mean
}
