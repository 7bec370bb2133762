// Package jpeg decodes JPEG files at a reduced size, resamples them, and encodes
// them into a number of bytes. It is made for one way through: a photograph of
// many pixels that is to become a smaller one inside a limit.
//
// The way is [Decode], [Picture.Resize], [Encode]. Pixels stay
// in planes of 8 bits, one for each component, from the first to the last stage:
// they are neither interleaved nor converted to RGB, and no picture of the full
// size is ever held.
//
//   - Decode leaves out of the inverse transform the frequencies that the smaller
//     picture cannot show, which gives it at 1/2, 1/4 or 1/8 for less than the
//     work of the whole.
//   - Resize filters the remaining way down in fixed point, and turns upright.
//   - Encode transforms once and then only counts what each quality would take,
//     so that a file is written once, of the quality that fits.
//
// # What is decoded
//
// Baseline, extended sequential and progressive files of 8 bits with Huffman or
// arithmetic coding; 1, 3 or 4 components as grey, YCbCr, RGB, CMYK or YCCK; all sampling
// factors; restart intervals. Files that are cut off or damaged give what can be
// read of them, the rest grey, and say so in [Picture.Damaged].
//
// # Bounds
//
// Nothing here limits the size of a picture: the caller reads it from the header
// and decides. The work is limited by the number of blocks in the picture, and of
// scans, tables and decisions in the file; each segment and each row of blocks asks
// the context.
//
// Sections and figures named in comments are those of ITU-T T.81 (ISO/IEC
// 10918-1).
package jpeg

import "image"

// Colour says what the components of a picture are.
type Colour uint8

// The colours of JPEG files.
const (
	Grey         Colour = iota // Y
	YCbCr                      // as T.871 defines it, of the full range
	RGB                        // in this order
	CMYK                       // 255 is full ink
	InvertedCMYK               // 0 is full ink, as Adobe writes it
	InvertedYCCK               // YCbCr whose RGB is CMY, and inverted K, as Adobe writes it
)

// Plane holds the samples of one component.
type Plane struct {
	Pix           []uint8 // row by row
	Stride        int     // from one row to the next
	Width, Height int     // samples
	// ExtentX and ExtentY are the size of the whole picture in samples of this
	// plane. They differ from Width and Height by less than 1, where the picture's
	// own size is no multiple of what one sample stands for.
	ExtentX, ExtentY float64
}

// Picture is a picture in planes. They may have different sizes; all cover the
// same area, with samples centred (T.81, A.1.1).
type Picture struct {
	Colour Colour
	Planes []Plane
	// Damaged says that part of the file could not be read. Grey is in its place,
	// or a coarse picture where the file is progressive.
	Damaged bool
}

// newPlane returns a plane of that many samples.
func newPlane(width, height int, extentX, extentY float64) Plane {
	return Plane{
		Pix: make([]uint8, width*height), Stride: width, Width: width, Height: height,
		ExtentX: extentX, ExtentY: extentY,
	}
}

// NewPicture returns a picture of that size whose planes all have it: one of them
// where it is grey, otherwise three.
func NewPicture(c Colour, size image.Point) *Picture {
	p := &Picture{Colour: c}
	planes := 3
	if c == Grey {
		planes = 1
	}
	for range planes {
		p.Planes = append(p.Planes, newPlane(size.X, size.Y, float64(size.X), float64(size.Y)))
	}
	return p
}

// Size returns the size of the plane that has the most samples.
func (p *Picture) Size() image.Point {
	return image.Pt(p.Planes[0].Width, p.Planes[0].Height)
}

// row returns the samples of a row.
func (p *Plane) row(y int) []uint8 { return p.Pix[y*p.Stride:][:p.Width] }
