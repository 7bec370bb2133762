package resize

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"mmspipe/resize/internal/jpeg"
)

// drawnShare is the share of pixels equal to their left neighbour, one in so many,
// from which a picture is a drawing. Screenshots have 60 to 95 in a hundred of
// them, photographs 1 to 15, since a sensor's noise is in every pixel.
const drawnShare = 3

// isDrawn reports whether a picture is a drawing, a screenshot or the like, whose
// areas are flat. The smallest, which may be anything, count as drawn.
func isDrawn(img *image.NRGBA) bool {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	equal, pixels := 0, 0
	for y := range height {
		row := img.Pix[y*img.Stride:][:4*width]
		for i := 4; i < len(row); i += 4 {
			if [4]byte(row[i:]) == [4]byte(row[i-4:]) {
				equal++
			}
		}
		pixels += width - 1
	}
	return pixels < 64 || equal*drawnShare >= pixels
}

// encodePNG returns the picture as PNG without loss, of a palette where 256
// colours are enough, or an *overError if it is larger.
func encodePNG(ctx context.Context, img *image.NRGBA, maxBytes int) ([]byte, error) {
	if counts := countColours(img, maxPalette); counts != nil {
		palette, lookup := counts.exact()
		return writePNG(ctx, indexed(img, palette, lookup), maxBytes)
	}
	return writePNG(ctx, img, maxBytes)
}

// encodePalette returns the picture as PNG of at most 256 colours, or an
// *overError if it is larger or has so many colours that it would look wrong.
func encodePalette(ctx context.Context, img *image.NRGBA, maxBytes int) ([]byte, error) {
	counts := countColours(img, maxColours)
	if counts == nil {
		return nil, &overError{size: maxBytes + 1}
	}
	palette, lookup := counts.quantise()
	return writePNG(ctx, indexed(img, palette, lookup), maxBytes)
}

func writePNG(ctx context.Context, img image.Image, maxBytes int) ([]byte, error) {
	w := &limitedBuffer{ctx: ctx, max: maxBytes}
	if err := png.Encode(w, img); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return w.result()
}

// paletteMargin is how much smaller the mean error of a palette must be than a
// JPEG's, one in so many, to be preferred: steps between colours are seen sooner
// than errors of the same size that have no edge.
const paletteMargin = 2

// paletteIsBetter reports whether a PNG of few colours looks better than a JPEG.
func paletteIsBetter(ctx context.Context, img *image.NRGBA, few, photo []byte) (bool, error) {
	size := img.Rect.Size()
	p, err := jpeg.Decode(ctx, photo, size, size)
	if err != nil {
		return false, fmt.Errorf("decode what was encoded: %w", err)
	}
	a, err := png.Decode(bytes.NewReader(few))
	if err != nil {
		return false, fmt.Errorf("decode what was encoded: %w", err)
	}
	indices, ok := a.(*image.Paletted)
	if !ok {
		return false, fmt.Errorf("decode what was encoded: it is %T", a)
	}
	b := toPixels(p)
	return paletteMargin*difference(img, fromPaletted(indices)) < difference(img, b), nil
}

// fromPaletted looks colours up.
func fromPaletted(src *image.Paletted) *image.NRGBA {
	var palette [256]color.NRGBA
	for i, c := range src.Palette {
		palette[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
	}
	dst := image.NewNRGBA(src.Rect)
	for y := range src.Rect.Dy() {
		to := dst.Pix[y*dst.Stride:]
		for x, index := range src.Pix[y*src.Stride:][:src.Rect.Dx()] {
			c := palette[index]
			to[4*x], to[4*x+1], to[4*x+2], to[4*x+3] = c.R, c.G, c.B, c.A
		}
	}
	return dst
}

// difference is the sum of squared differences of all colours.
func difference(a, b *image.NRGBA) (sum uint64) {
	for y := range a.Rect.Dy() {
		from := a.Pix[y*a.Stride:][:4*a.Rect.Dx()]
		to := b.Pix[y*b.Stride:][:len(from)]
		for i, v := range from {
			d := int(v) - int(to[i])
			sum += uint64(d * d)
		}
	}
	return sum
}

// indexed returns the picture in the colours of a palette.
func indexed(img *image.NRGBA, palette []colour, lookup map[colour]uint8) *image.Paletted {
	out := image.NewPaletted(img.Rect, make(color.Palette, len(palette)))
	for i, c := range palette {
		out.Palette[i] = color.NRGBA{c[0], c[1], c[2], c[3]}
	}
	last, index := colour{}, lookup[colour{}]
	for y := range img.Rect.Dy() {
		row := img.Pix[y*img.Stride:]
		for x := range img.Rect.Dx() {
			if c := colour(row[4*x:]); c != last {
				last, index = c, lookup[c]
			}
			out.Pix[y*out.Stride+x] = index
		}
	}
	return out
}
