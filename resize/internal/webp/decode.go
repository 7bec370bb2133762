package webp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/draw"
	"io"
	"iter"

	"golang.org/x/image/webp"

	"mmspipe/resize/internal/jpeg"
)

// Video is what the samples of lossy pictures mean.
var Video = jpeg.Video{Matrix: jpeg.BT601}

// find returns the picture of a file that is no animation.
func find(data []byte) coded {
	var c coded
	for part, rest, ok := next(data[min(begin, len(data)):]); ok; part, rest, ok = next(rest) {
		c.add(part)
	}
	return c
}

// decode decodes a picture. Of one that is cut off, lost is true: behind the end are
// zeros, which the coding takes for a picture that goes on somehow.
func (c *coded) decode(ctx context.Context) (img image.Image, lost bool, err error) {
	width, height := c.size()
	if width == 0 || height == 0 {
		return nil, false, errHeader
	}
	name, body := "VP8 ", c.lossy
	if c.bits != nil {
		name, body = "VP8L", c.bits
	}
	if missing := min(c.length, 4*width*height+1<<16) - len(body); missing > 0 {
		body, lost = append(bytes.Clone(body), make([]byte, missing)...), true
	}
	var file []byte
	if c.alpha != nil && c.bits == nil {
		canvas := uint64(width-1) | uint64(height-1)<<24
		file = riffChunk(file, "VP8X", binary.LittleEndian.AppendUint64([]byte{0x10, 0, 0, 0}, canvas)[:10])
		file = riffChunk(file, "ALPH", c.alpha)
	}
	file = riffChunk(file, name, body)
	head := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(file)))
	r := &reader{ctx: ctx, r: io.MultiReader(bytes.NewReader(append(head, "WEBP"...)), bytes.NewReader(file))}
	img, err = webp.Decode(r)
	if err != nil && c.alpha != nil && ctx.Err() == nil { // the colours may still be right
		colours := coded{lossy: c.lossy, length: c.length}
		img, _, err = colours.decode(ctx)
		return img, true, err
	}
	if err == nil && img.Bounds() != image.Rect(0, 0, width, height) {
		err = errHeader
	}
	return img, lost, err
}

func riffChunk(file []byte, name string, body []byte) []byte {
	file = binary.LittleEndian.AppendUint32(append(file, name...), uint32(len(body)))
	file = append(file, body...)
	return append(file, make([]byte, len(body)%2)...)
}

// reader ends a decoder when the context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Planes decodes a picture that is lossy and opaque. Its samples are as Video says.
func Planes(ctx context.Context, data []byte) (*jpeg.Picture, error) {
	c := find(data)
	img, lost, err := c.decode(ctx)
	if err != nil {
		return nil, err
	}
	p, ok := img.(*image.YCbCr)
	if !ok {
		return nil, errHeader
	}
	picture := fromYCbCr(p)
	picture.Damaged = lost
	return picture, nil
}

// fromYCbCr takes the planes of a picture of 4:2:0.
func fromYCbCr(p *image.YCbCr) *jpeg.Picture {
	size := p.Rect.Size()
	half := image.Pt((size.X+1)/2, (size.Y+1)/2)
	plane := func(pix []uint8, stride int, n image.Point, step float64) jpeg.Plane {
		return jpeg.Plane{
			Pix: pix, Stride: stride, Width: n.X, Height: n.Y,
			ExtentX: float64(size.X) / step, ExtentY: float64(size.Y) / step,
		}
	}
	return &jpeg.Picture{Colour: jpeg.YCbCr, Planes: []jpeg.Plane{
		plane(p.Y, p.YStride, size, 1), plane(p.Cb, p.CStride, half, 2), plane(p.Cr, p.CStride, half, 2),
	}}
}

// Pixels decodes any picture that is no animation. lost says that part of it could
// not be read.
func Pixels(ctx context.Context, data []byte) (img *image.NRGBA, lost bool, err error) {
	c := find(data)
	return c.pixels(ctx)
}

func (c *coded) pixels(ctx context.Context) (*image.NRGBA, bool, error) {
	img, lost, err := c.decode(ctx)
	if err != nil {
		return nil, lost, err
	}
	switch p := img.(type) {
	case *image.YCbCr:
		return toPixels(p, nil, 0), lost, nil
	case *image.NYCbCrA:
		return toPixels(&p.YCbCr, p.A, p.AStride), lost, nil
	case *image.NRGBA:
		if c.opaque() {
			for i := 3; i < len(p.Pix); i += 4 {
				p.Pix[i] = 0xff
			}
		}
		return p, lost, nil
	}
	return nil, lost, errHeader
}

// toPixels converts planes and transparency.
func toPixels(p *image.YCbCr, alpha []uint8, stride int) *image.NRGBA {
	planes := fromYCbCr(p)
	planes.FromVideo(Video)
	img := image.NewNRGBA(p.Rect)
	size := p.Rect.Size()
	for y := range size.Y {
		row := img.Pix[y*img.Stride:][:4*size.X]
		for x := range size.X {
			at := row[4*x : 4*x+4]
			at[0], at[1], at[2] = planes.RGB(x, y)
			at[3] = 0xff
			if alpha != nil {
				at[3] = alpha[y*stride+x]
			}
		}
	}
	return img
}

// Frame is what is seen of an animation for a time.
type Frame struct {
	*image.NRGBA      // of the size of the animation; it changes when the next is asked for
	Delay        int  // milliseconds
	Damaged      bool // part of what came for it could not be read
}

// Play yields the frames of an animation, each with everything on it that is seen.
// It ends with an error, or without one where the rest is damaged, and after so many
// pixels were decoded.
func Play(ctx context.Context, data []byte, h Header, maxPixels int64) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		screen := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height))
		var before frame
		shown := 0
		for c, rest, ok := next(data[min(begin, len(data)):]); ok; c, rest, ok = next(rest) {
			f, whole := readFrame(c.body)
			if string(c.name) != "ANMF" || !whole {
				continue
			}
			maxPixels -= int64(f.place.Dx()) * int64(f.place.Dy())
			damaged, err := f.paint(ctx, screen, before)
			switch {
			case ctx.Err() != nil:
				yield(Frame{}, ctx.Err())
				return
			case maxPixels < 0, err != nil && shown > 0:
				return
			case err != nil:
				yield(Frame{}, err)
				return
			case !yield(Frame{screen, f.delay, damaged}, nil):
				return
			}
			before, shown = f, shown+1
		}
		if shown == 0 {
			yield(Frame{}, errors.New("the animation has no picture"))
		}
	}
}

// paint lays a frame on the screen, after the one before it is disposed of. It
// reports whether part of it could not be read.
func (f *frame) paint(ctx context.Context, screen *image.NRGBA, before frame) (damaged bool, err error) {
	if !f.place.In(screen.Rect) {
		return false, errFrame
	}
	if w, h := f.coded.size(); image.Pt(w, h) != f.place.Size() {
		return false, errFrame
	}
	img, damaged, err := f.coded.pixels(ctx)
	if err != nil {
		return false, err
	}
	if before.dispose {
		draw.Draw(screen, before.place, image.Transparent, image.Point{}, draw.Src)
	}
	for y := range f.place.Dy() {
		from := img.Pix[y*img.Stride:][:4*f.place.Dx()]
		to := screen.Pix[screen.PixOffset(f.place.Min.X, f.place.Min.Y+y):]
		if f.overwrite {
			copy(to, from)
			continue
		}
		for i := 0; i < len(from); i += 4 {
			over(to[i:i+4:i+4], from[i:i+4:i+4])
		}
	}
	return damaged, nil
}

// over lays one pixel on another, neither multiplied by its opacity (RFC 9649,
// section 2.7.1.1, "blending method").
func over(to, from []uint8) {
	a, below := int(from[3]), int(to[3])
	switch {
	case a == 0:
		return
	case a == 255 || below == 0:
		copy(to, from)
		return
	}
	rest := below * (255 - a) / 255
	sum := a + rest
	for k := range 3 {
		to[k] = uint8((int(from[k])*a + int(to[k])*rest + sum/2) / sum)
	}
	to[3] = uint8(sum)
}
