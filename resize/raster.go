package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"time"

	"github.com/disintegration/imaging"
)

const (
	// ladder is the step to the next smaller size where a picture does not fit
	// at the lowest quality: from 1600 pixels to 1280, 1024, 819, 655 and on.
	ladder = 0.8
	// smallestSide is the longest side in pixels at which the steps end. What
	// does not fit there is told by how much.
	smallestSide = 64
	// maxSide is the longest side that a JPEG can say (ITU-T T.81, B.2.2).
	maxSide = 1<<16 - 1
)

// picture is a decoded picture, upright, from which all targets are made.
type picture struct {
	*image.NRGBA        // at least as large as the largest target needs it
	source       header // of the file it came from
	transparent  bool   // some of it is
	drawn        bool   // it is a drawing, a screenshot or the like
}

// fitRaster makes the pictures of a job that came as a still picture of pixels. It is
// brought to the size of the largest target as it is decoded; the others are made
// from that.
func (f *Fitter) fitRaster(ctx context.Context, j job) ([]Result, found, error) {
	width, height := largest(j.header, j.targets)
	base := canvas{from: image.Pt(j.width, j.height), to: image.Pt(width, height)}
	d, err := decodeRaster(ctx, j, &base)
	if err != nil || len(j.targets) == 0 {
		return nil, d, err
	}
	results, err := f.fitPixels(ctx, j, base.pixels, d)
	return results, d, err
}

// fitPixels makes the pictures of all targets from pixels as they are coded, in the
// size of the largest.
func (f *Fitter) fitPixels(ctx context.Context, j job, img *image.NRGBA, d found) ([]Result, error) {
	img, err := f.orient(ctx, img, j.Orientation)
	if err != nil {
		return nil, err
	}
	toSRGB(img, d.profile)
	p := picture{NRGBA: img, source: j.header, transparent: !img.Opaque(), drawn: isDrawn(img)}
	results := make([]Result, len(j.targets))
	for i, t := range j.targets {
		if results[i], err = f.encode(ctx, p, t); err != nil {
			return nil, err
		}
		if d.lost {
			results[i].Lost = append(results[i].Lost, LostPart)
		}
		results[i].Elapsed = time.Since(j.start)
	}
	return results, nil
}

// largest returns the size as coded from which all targets can be made.
func largest(h header, targets []Target) (width, height int) {
	for _, t := range targets {
		w, h := fitSize(h.Width, h.Height, t)
		width, height = max(width, w), max(height, h)
	}
	if h.Orientation >= 5 {
		width, height = height, width
	}
	return width, height
}

// fitSize returns the largest size inside the target with the aspect ratio of
// width × height, never larger than that.
func fitSize(width, height int, t Target) (int, int) {
	maxWidth, maxHeight := min(width, maxSide), min(height, maxSide)
	if t.MaxWidth > 0 {
		maxWidth = min(maxWidth, t.MaxWidth)
	}
	if t.MaxHeight > 0 {
		maxHeight = min(maxHeight, t.MaxHeight)
	}
	w, h := int64(width), int64(height)
	if int64(maxWidth)*h <= int64(maxHeight)*w { // the width binds
		return maxWidth, int(max(1, (2*h*int64(maxWidth)+w)/(2*w)))
	}
	return int(max(1, (2*w*int64(maxHeight)+h)/(2*h))), maxHeight
}

// memoryFor estimates the bytes that fitting takes at its peak: what the decoder
// keeps, the same as NRGBA where it does not give rows, the canvas, what encoding
// takes, and the file, twice where it may have to be put together anew.
func (f *Fitter) memoryFor(j job) int64 {
	if j.ContentType == typeJPEG {
		return jpegMemory(j)
	}
	width, height := largest(j.header, j.targets)
	if j.planar {
		return j.memory + int64(len(j.data)) + encodeMemory(width, height, j.targets)
	}
	total := j.memory + canvasMemory(image.Pt(j.width, j.height), image.Pt(width, height)) + 2*int64(len(j.data))
	if j.ContentType != typePNG && j.ContentType != typeBMP {
		total += 4 * j.pixels()
	}
	return total + max(encodeMemory(width, height, j.targets), f.movingMemory(j))
}

// encodeMemory estimates what encoding takes: 16 bytes for each pixel of the
// largest target, for a smaller picture of it, for planes and coefficients; for
// the tokens of JPEG's coding sixteen for each byte they end as; and weights of
// the resampler.
func encodeMemory(width, height int, targets []Target) int64 {
	bytes, pixels := int64(0), int64(width)*int64(height)
	for _, t := range targets {
		bytes = max(bytes, int64(t.MaxBytes))
	}
	const weights = 16 * 8
	return 16*pixels + min(12*pixels, 16*min(bytes, 1<<40)) + weights*int64(width+height)
}

// resample returns the picture in that size, itself where it has it.
func (f *Fitter) resample(ctx context.Context, img *image.NRGBA, width, height int) (*image.NRGBA, error) {
	if img.Rect.Dx() == width && img.Rect.Dy() == height {
		return img, nil
	}
	if err := f.resampler.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait to resample a picture: %w", err)
	}
	defer f.resampler.Release(1)
	return imaging.Resize(img, width, height, imaging.Lanczos), nil
}

// orient turns a picture upright. imaging turns counter-clockwise; what each
// value asks for is in CIPA DC-008, section 4.6.4 A.
func (f *Fitter) orient(ctx context.Context, img *image.NRGBA, orientation int) (*image.NRGBA, error) {
	turn := map[int]func(image.Image) *image.NRGBA{
		2: imaging.FlipH, 3: imaging.Rotate180, 4: imaging.FlipV, 5: imaging.Transpose,
		6: imaging.Rotate270, 7: imaging.Transverse, 8: imaging.Rotate90,
	}[orientation]
	if turn == nil {
		return img, nil
	}
	if err := f.resampler.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait to turn a picture: %w", err)
	}
	defer f.resampler.Release(1)
	return turn(img), nil
}

// encode makes the picture of one target: at the full size if it fits there in
// any way, otherwise at the first smaller size where it does.
func (f *Fitter) encode(ctx context.Context, p picture, t Target) (Result, error) {
	width, height := fitSize(p.source.Width, p.source.Height, t)
	full, err := f.resample(ctx, p.NRGBA, width, height)
	if err != nil {
		return Result{}, err
	}
	return stepDown(t, width, height, func(w, h int) (Result, error) {
		img, err := f.resample(ctx, full, w, h)
		if err != nil {
			return Result{}, err
		}
		return encodeAt(ctx, p, img, t, w == width && h == height)
	})
}

// stepDown encodes at that size and, as long as the result is an *overError, at
// smaller ones.
func stepDown(t Target, width, height int, encode func(width, height int) (Result, error)) (Result, error) {
	w, h := width, height
	for scale := ladder; ; scale *= ladder {
		r, err := encode(w, h)
		var over *overError
		if err == nil || !errors.As(err, &over) {
			return r, err
		}
		if max(w, h) <= smallestSide {
			return Result{}, unfit("%s is missed by %d bytes: %d even at %d × %d pixels, %d are allowed",
				t.Name, over.size-t.MaxBytes, over.size, w, h, t.MaxBytes)
		}
		w = max(1, int(math.Round(float64(width)*scale)))
		h = max(1, int(math.Round(float64(height)*scale)))
	}
}

// encodeAt encodes at the size of img. Drawings, and what is transparent, become
// PNG without loss where the target takes it and they fit; where they do not, one
// of 256 colours or a JPEG, whichever differs less from the picture. All else
// becomes JPEG. Below the full size PNG is not tried in place of JPEG: of what is
// too large for it at full size, JPEG keeps more. The error is an *overError where
// the picture is too large.
func encodeAt(ctx context.Context, p picture, img *image.NRGBA, t Target, full bool) (Result, error) {
	r := p.source.result(t, img.Rect.Dx(), img.Rect.Dy())
	if p.source.Frames > 1 {
		r.Lost = append(r.Lost, LostFrames)
	}
	takesJPEG, takesPNG := slices.Contains(t.Types, typeJPEG), slices.Contains(t.Types, typePNG)
	var err error
	if takesPNG && (!takesJPEG || full && (p.drawn || p.transparent)) {
		r.ContentType = typePNG
		r.Data, err = encodePNG(ctx, img, t.MaxBytes)
		var over *overError
		if errors.As(err, &over) && takesJPEG && !p.transparent {
			err = r.encodeLossy(ctx, img, t.MaxBytes)
		} else if errors.As(err, &over) {
			if r.Data, err = encodePalette(ctx, img, t.MaxBytes); errors.As(err, &over) && takesJPEG {
				err = r.encodeJPEG(ctx, img, true, t.MaxBytes)
			}
		}
	} else {
		err = r.encodeJPEG(ctx, img, p.drawn, t.MaxBytes)
	}
	if p.transparent && r.ContentType == typeJPEG {
		r.Lost = append(r.Lost, LostAlpha)
	}
	if p.source.metadata {
		r.Lost = append(r.Lost, LostMetadata)
	}
	return r, err
}

// encodeJPEG makes a JPEG the result's data.
func (r *Result) encodeJPEG(ctx context.Context, img *image.NRGBA, drawn bool, maxBytes int) (err error) {
	r.ContentType = typeJPEG
	r.Data, r.Quality, err = encodeJPEG(ctx, img, drawn, maxBytes)
	return err
}

// encodeLossy makes of a JPEG and a PNG of 256 colours whichever differs less from
// the picture the result's data.
func (r *Result) encodeLossy(ctx context.Context, img *image.NRGBA, maxBytes int) error {
	errJPEG := r.encodeJPEG(ctx, img, true, maxBytes)
	var over *overError
	if errJPEG != nil && !errors.As(errJPEG, &over) {
		return errJPEG
	}
	few, err := encodePalette(ctx, img, maxBytes)
	switch {
	case errors.As(err, &over):
		return errJPEG
	case err != nil:
		return err
	}
	if errJPEG == nil {
		if better, err := paletteIsBetter(ctx, img, few, r.Data); err != nil || !better {
			return err
		}
	}
	r.ContentType, r.Data, r.Quality = typePNG, few, 0
	return nil
}

// result returns what is known of the result of that size, before it is encoded.
func (h header) result(t Target, width, height int) Result {
	return Result{Name: t.Name, Width: width, Height: height, Scale: float64(width) / float64(h.Width)}
}

// overError says that an encoding is larger than was allowed.
type overError struct {
	size int // bytes it would have had; at least that where it was given up early
}

func (e *overError) Error() string { return fmt.Sprintf("%d bytes are too many", e.size) }

// limitedBuffer takes what an encoder writes until that is too much by far, or
// the context ends.
type limitedBuffer struct {
	ctx  context.Context
	max  int
	data bytes.Buffer
}

// countedBytes is up to which size an encoding that is too large is still
// written to its end, so that an error can say by how much.
const countedBytes = 64 << 10

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if size := b.data.Len() + len(p); size > max(b.max, countedBytes) {
		return 0, &overError{size: size}
	}
	return b.data.Write(p)
}

// result returns what was written, or an *overError.
func (b *limitedBuffer) result() ([]byte, error) {
	if b.data.Len() > b.max {
		return nil, &overError{size: b.data.Len()}
	}
	return b.data.Bytes(), nil
}
