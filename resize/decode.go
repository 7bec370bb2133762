package resize

import (
	"context"
	"fmt"
)

// found is what a decode found out about a file besides its pixels.
type found struct {
	lost     bool   // part of the picture could not be read
	odd      bool   // it could, but strict decoders would not read the file
	repaired []byte // the file as they do; nil where that cannot be had
	recoded  bool   // that one has the pixels of the file, but not as they were coded
	profile  []byte // the ICC profile that the colours are of, if any
}

// decodeAndFit decodes a picture in the way of its format, and makes those of the
// job's targets.
func (f *Fitter) decodeAndFit(ctx context.Context, j job) ([]Result, found, error) {
	switch {
	case j.ContentType == typeJPEG:
		return f.fitJPEG(ctx, j)
	case j.planar: // HEIC, AVIF, WebP
		return f.fitPlanar(ctx, j)
	case j.moving > 0: // GIF, WebP
		return f.fitMoving(ctx, j)
	}
	return f.fitRaster(ctx, j)
}

// decodeRaster decodes a still picture of pixels to a canvas. It ends soon after
// the context, whose error it then wraps; all other errors, a panic of the decoder
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
	}
	return paintHEIF(ctx, j, to)
}

// decodeMoving decodes every picture of an animation once, up to that many pixels.
// Its errors are those of decodeRaster.
func decodeMoving(ctx context.Context, j job, maxPixels int64) (_ animation, _ found, err error) {
	defer recovered(j.ContentType, &err)
	if j.ContentType == typeGIF {
		return decodeGIF(ctx, j, maxPixels)
	}
	return decodeMovingWebP(ctx, j, maxPixels)
}

func decodeError(ctx context.Context, h header, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("decode picture: %w", ctx.Err())
	}
	return unfit("damaged: %v", err)
}

// recovered turns a decoder's panic into an error.
func recovered(contentType string, err *error) {
	if p := recover(); p != nil {
		*err = unfit("damaged: the decoder of %s panicked: %v", contentType, p)
	}
}
