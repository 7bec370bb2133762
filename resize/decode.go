package resize

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"io"
)

// decoders are the decoders of the formats that are decoded whole, and their
// reading of its header. There is no other way to one: registered formats are not
// asked.
var decoders = map[string]struct {
	decode func(io.Reader) (image.Image, error)
	config func(io.Reader) (image.Config, error)
}{
	typeGIF: {gif.Decode, gif.DecodeConfig}, // the first picture alone
}

// found is what a decode found out about a file besides its pixels.
type found struct {
	lost     bool   // part of the picture could not be read
	odd      bool   // it could, but strict decoders would not read the file
	repaired []byte // the file as they do; nil where that cannot be had
	profile  []byte // the ICC profile that the colours are of, if any
}

// decodeRaster decodes any format but JPEG to a canvas. It ends soon after the
// context, whose error it then wraps; all other errors, a panic of the decoder
// among them, are an UnfitError.
func decodeRaster(ctx context.Context, j job, to *canvas) (_ found, err error) {
	defer recovered(j.ContentType, &err)
	switch j.ContentType {
	case typePNG:
		return decodePNG(ctx, j, to)
	case typeBMP:
		return decodeBMP(ctx, j, to)
	case typeWebP:
		return decodeWebP(ctx, j, to)
	case typeHEIC, typeHEIF, typeAVIF:
		return paintHEIF(ctx, j, to)
	}
	img, err := decode(ctx, j.data, j.header)
	if err == nil && to.to != (image.Point{}) {
		to.pixels, err = shrink(ctx, img, to.to)
	}
	return found{}, err
}

// decode returns the pixels of a picture as they are coded, not upright yet.
func decode(ctx context.Context, data []byte, h header) (*image.NRGBA, error) {
	// Limits were checked against our own reading of the header. A decoder that
	// reads another size from the same bytes would escape them.
	config, err := decoders[h.ContentType].config(bytes.NewReader(data))
	if err != nil {
		return nil, decodeError(ctx, h, err)
	}
	if config.Width != h.width || config.Height != h.height {
		return nil, unfit("damaged: the header of %s is ambiguous", h.ContentType)
	}
	img, err := decoders[h.ContentType].decode(&contextReader{ctx: ctx, r: bytes.NewReader(data)})
	if err != nil {
		return nil, decodeError(ctx, h, err)
	}
	if !img.Bounds().In(image.Rect(0, 0, h.width, h.height)) {
		return nil, unfit("damaged: the picture of %s lies outside its bounds", h.ContentType)
	}
	return toNRGBA(img, h.width, h.height), nil
}

func decodeError(ctx context.Context, h header, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("decode picture: %w", ctx.Err())
	}
	return unfit("damaged: %v", err)
}

// contextReader ends a decoder when the context ends.
type contextReader struct {
	ctx context.Context
	r   *bytes.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// toNRGBA puts a decoded picture on a transparent ground of that size, as the
// one type that is handed to imaging: its goroutines index palettes without a
// check, and a panic there ends the process. The decoder's own memory is used
// where it has this form already. Cases beyond the last are there for speed:
// draw takes each pixel through interfaces where the target is NRGBA.
func toNRGBA(img image.Image, width, height int) *image.NRGBA {
	bounds := image.Rect(0, 0, width, height)
	switch src := img.(type) {
	case *image.NRGBA:
		if src.Rect == bounds && src.Stride == 4*width {
			return src
		}
	case *image.RGBA:
		if src.Rect == bounds && src.Stride == 4*width && src.Opaque() {
			return (*image.NRGBA)(src) // equal where nothing is transparent
		}
	case *image.NRGBA64:
		return fromNRGBA64(src, bounds)
	case *image.Paletted:
		return fromPaletted(src, bounds)
	}
	if o, ok := img.(interface{ Opaque() bool }); ok && o.Opaque() && img.Bounds() == bounds {
		dst := image.NewRGBA(bounds)
		draw.Draw(dst, bounds, img, bounds.Min, draw.Src)
		return (*image.NRGBA)(dst)
	}
	dst := image.NewNRGBA(bounds)
	draw.Draw(dst, img.Bounds(), img, img.Bounds().Min, draw.Src)
	return dst
}

// fromNRGBA64 keeps the upper eight bits of each sample.
func fromNRGBA64(src *image.NRGBA64, bounds image.Rectangle) *image.NRGBA {
	dst := image.NewNRGBA(bounds)
	for y := src.Rect.Min.Y; y < src.Rect.Max.Y; y++ {
		from := src.Pix[src.PixOffset(src.Rect.Min.X, y):][:8*src.Rect.Dx()]
		to := dst.Pix[dst.PixOffset(src.Rect.Min.X, y):][:4*src.Rect.Dx()]
		for i := range to {
			to[i] = from[2*i]
		}
	}
	return dst
}

// fromPaletted looks colours up in a palette that has all 256; those that the
// picture has not are black.
func fromPaletted(src *image.Paletted, bounds image.Rectangle) *image.NRGBA {
	var palette [256]color.NRGBA
	for i := range palette {
		palette[i] = color.NRGBA{A: 0xff}
		if i < len(src.Palette) {
			palette[i] = color.NRGBAModel.Convert(src.Palette[i]).(color.NRGBA)
		}
	}
	dst := image.NewNRGBA(bounds)
	for y := src.Rect.Min.Y; y < src.Rect.Max.Y; y++ {
		from := src.Pix[src.PixOffset(src.Rect.Min.X, y):][:src.Rect.Dx()]
		to := dst.Pix[dst.PixOffset(src.Rect.Min.X, y):]
		for x, index := range from {
			c := palette[index]
			to[4*x], to[4*x+1], to[4*x+2], to[4*x+3] = c.R, c.G, c.B, c.A
		}
	}
	return dst
}
