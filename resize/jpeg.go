package resize

import (
	"context"
	"errors"
	"image"
	"image/color"
	"slices"
	"time"

	"mmspipe/resize/internal/jpeg"
)

const (
	// maxQuality is above which bytes grow and nothing is seen of it. Where 95 is
	// said of other encoders, 96 takes as many bytes of this one, which rounds to
	// smaller coefficients.
	maxQuality = 96
	// minQuality is below which the blocks of the coding show, so that a smaller
	// picture looks better in as many bytes.
	minQuality = 45
	// fullColour is from which quality on what was no JPEG before, a screenshot or
	// a drawing, has colour at its full resolution: letters in colour stay sharp.
	// Below it the bytes are better spent on the quality.
	fullColour = 85
	// maxProfile is the largest colour profile that is carried over, in bytes:
	// those of cameras and screens have 500 to 3,200, those of printers that go
	// with CMYK up to a megabyte.
	maxProfile = 8 << 10
)

// fitJPEG makes the pictures of a job that came as JPEG. It is decoded no larger
// than the largest target needs it, and brought to that size; the others are made
// from it.
func (f *Fitter) fitJPEG(ctx context.Context, j job) ([]Result, found, error) {
	if len(j.targets) == 0 {
		whole, err := checkJPEG(ctx, j)
		return nil, found{lost: !whole}, err
	}
	base, err := decodeJPEG(ctx, j)
	if err != nil {
		return nil, found{}, err
	}
	d := found{lost: base.Damaged}
	if j.passing > 0 && j.progressive && !d.lost { // of scans not all were read
		whole, err := checkJPEG(ctx, j)
		if err != nil {
			return nil, d, err
		}
		d.lost = !whole
	}
	var profile []byte
	if j.components == 3 {
		profile = jpeg.ColourProfile(j.data)
	}
	results, err := f.fitTargets(ctx, j, base, profile)
	return results, d, err
}

// fitTargets makes the pictures of all targets from planes that are upright.
func (f *Fitter) fitTargets(ctx context.Context, j job, base *jpeg.Picture, profile []byte) ([]Result, error) {
	results := make([]Result, len(j.targets))
	var err error
	for i, t := range j.targets {
		if results[i], err = f.fitPlanes(ctx, j, base, profile, t); err != nil {
			return nil, err
		}
		if j.metadata {
			results[i].Lost = append(results[i].Lost, LostMetadata)
		}
		if base.Damaged {
			results[i].Lost = append(results[i].Lost, LostPart)
		}
		results[i].Elapsed = time.Since(j.start)
	}
	return results, nil
}

// checkJPEG reports whether all of a picture can be read.
func checkJPEG(ctx context.Context, j job) (whole bool, err error) {
	defer recovered(j.ContentType, &err)
	if whole, err = jpeg.Check(ctx, j.data); err != nil {
		return false, decodeError(ctx, j.header, err)
	}
	return whole, nil
}

// decodeJPEG returns the picture upright, in the size of the largest target, grey
// or YCbCr with colour of half the resolution.
func decodeJPEG(ctx context.Context, j job) (_ *jpeg.Picture, err error) {
	defer recovered(j.ContentType, &err)
	width, height := largest(j.header, j.targets)
	size := image.Pt(width, height)
	p, err := jpeg.Decode(ctx, j.data, size, halfOf(size))
	if err != nil {
		return nil, decodeError(ctx, j.header, err)
	}
	if j.Orientation >= 5 {
		size = image.Pt(height, width)
	}
	if p, err = p.Resize(ctx, size, true, j.Orientation); err != nil {
		return nil, err
	}
	if p.Colour == jpeg.Grey || p.Colour == jpeg.YCbCr {
		return p, nil
	}
	p.ToYCbCr()
	return p.Resize(ctx, size, true, 1)
}

// halfOf returns the size of planes of half the resolution.
func halfOf(size image.Point) image.Point { return image.Pt((size.X+1)/2, (size.Y+1)/2) }

// fitPlanes makes the picture of one target. Of a JPEG it takes no more bytes than the file
// had where a quality that is fit to look at allows it: what a coding has lost does
// not come back with more of them.
func (f *Fitter) fitPlanes(ctx context.Context, j job, base *jpeg.Picture, profile []byte, t Target) (Result, error) {
	if !slices.Contains(t.Types, typeJPEG) {
		source := j.header
		source.metadata = false // the caller sees to it
		return f.encode(ctx, picture{NRGBA: toPixels(base), source: source}, t)
	}
	if len(profile) > min(t.MaxBytes/8, maxProfile) {
		profile = nil
	}
	width, height := fitSize(j.Width, j.Height, t)
	return stepDown(t, width, height, func(w, h int) (Result, error) {
		r := j.result(t, w, h)
		r.ContentType = typeJPEG
		if j.Frames > 1 {
			r.Lost = append(r.Lost, LostFrames)
		}
		p, err := base.Resize(ctx, image.Pt(w, h), true, 1)
		if err != nil {
			return Result{}, err
		}
		o := jpeg.Options{
			MaxBytes: t.MaxBytes, MinQuality: minQuality, MaxQuality: maxQuality, Segments: profile,
		}
		if j.ContentType == typeJPEG {
			o.MaxBytes = min(o.MaxBytes, len(j.data))
		}
		r.Data, r.Quality, err = encodePlanes(ctx, p, o)
		if _, over := errors.AsType[*overError](err); over && o.MaxBytes < t.MaxBytes {
			o.MaxBytes = t.MaxBytes
			r.Data, r.Quality, err = encodePlanes(ctx, p, o)
		}
		return r, err
	})
}

// encodePlanes encodes. The error is an *overError where not even the lowest
// quality fits.
func encodePlanes(ctx context.Context, p *jpeg.Picture, o jpeg.Options) ([]byte, int, error) {
	data, quality, err := jpeg.Encode(ctx, p, o)
	if size, ok := errors.AsType[*jpeg.SizeError](err); ok {
		return nil, 0, &overError{size: size.Size}
	}
	return data, quality, err
}

// encodeJPEG returns pixels as a JPEG of the highest quality that fits into
// maxBytes, transparency on white, and that quality. What is drawn has colour at
// its full resolution where the quality allows it. The error is an *overError where
// not even the lowest fits.
func encodeJPEG(ctx context.Context, img *image.NRGBA, drawn bool, maxBytes int) ([]byte, int, error) {
	p := toPlanes(img)
	o := jpeg.Options{MaxBytes: maxBytes, MinQuality: fullColour, MaxQuality: maxQuality}
	if drawn {
		data, quality, err := encodePlanes(ctx, p, o)
		if _, ok := errors.AsType[*overError](err); !ok {
			return data, quality, err
		}
	}
	p, err := p.Resize(ctx, img.Rect.Size(), true, 1)
	if err != nil {
		return nil, 0, err
	}
	o.MinQuality = minQuality
	return encodePlanes(ctx, p, o)
}

// toPlanes converts pixels to planes of the full size (4:4:4), on white.
func toPlanes(img *image.NRGBA) *jpeg.Picture {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	p := jpeg.NewPicture(jpeg.YCbCr, img.Rect.Size())
	luma, cb, cr := p.Planes[0].Pix, p.Planes[1].Pix, p.Planes[2].Pix
	for y := range height {
		row := img.Pix[y*img.Stride:][:4*width]
		for x := range width {
			alpha := row[4*x+3]
			r, g, b := onWhite(row[4*x], alpha), onWhite(row[4*x+1], alpha), onWhite(row[4*x+2], alpha)
			i := y*width + x
			luma[i], cb[i], cr[i] = color.RGBToYCbCr(r, g, b)
		}
	}
	return p
}

// toPixels converts planes to pixels.
func toPixels(p *jpeg.Picture) *image.NRGBA {
	size := p.Size()
	img := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		row := img.Pix[y*img.Stride:]
		for x := range size.X {
			r, g, b := p.RGB(x, y)
			row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = r, g, b, 0xff
		}
	}
	return img
}

// onWhite lays a sample of that opacity on a white ground.
func onWhite(sample, alpha uint8) uint8 {
	if alpha == 0xff {
		return sample
	}
	return uint8((int(sample)*int(alpha) + 255*(255-int(alpha)) + 127) / 255)
}
