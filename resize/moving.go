package resize

import (
	"context"
	"errors"
	"image"
	"iter"
	"slices"
	"time"

	"mmspipe/resize/internal/gif"
	"mmspipe/resize/internal/icc"
)

const (
	// maxAnimation is how many times [Options.MaxPixels] the pictures of an
	// animation may have together to be decoded and to pass through: far beyond
	// what anybody sends, and a bound on what a file of few bytes can ask of the
	// phone that shows it. What is beyond is left as a still picture.
	maxAnimation = 10
	// maxMoving is the same for an animation that is encoded anew, each picture of
	// which is gone through several times. 80,000,000 pixels are 40 seconds of 640 ×
	// 480 at six pictures a second, and take some 5 s of CPU.
	maxMoving = 2
	// maxFrames bounds the same by what each frame takes however small it is: about
	// a millisecond, for its colours.
	maxFrames = 1000
	// movingWork is the CPU that encoding an animation anew takes for each of its
	// pixels, in nanoseconds: those 5 s.
	movingWork = 60
	// stillPixels is how many pixels of an animation are decoded that becomes a still
	// picture, to find the one that shows the most: less than a second of CPU.
	stillPixels = 20_000_000
)

// animation is a GIF, or an animated WebP, of which every picture has been decoded
// once.
type animation struct {
	gif.Animation // as it is coded, not upright yet

	profile []byte // the ICC profile that its colours are of, if any
}

// fitMoving makes the pictures of a job that may move. Targets that take no GIF, or
// into which no animation fits, get a still picture.
func (f *Fitter) fitMoving(ctx context.Context, j job) (_ []Result, d found, err error) {
	defer recovered(j.ContentType, &err)
	a, d, err := decodeMoving(ctx, j, f.decodedPixels(j))
	if err != nil {
		return nil, d, err
	}
	if j.passing > 0 && d.odd && !d.lost {
		if d.repaired, d.recoded, err = f.repairGIF(ctx, j, a); err != nil {
			return nil, d, err
		}
	}
	results := make([]Result, len(j.targets))
	var stills []Target
	for i, t := range j.targets {
		r, err := f.move(ctx, j, a, d, t)
		switch {
		case err != nil:
			return nil, d, err
		case r.ContentType == "":
			stills = append(stills, t)
		default:
			r.Elapsed = time.Since(j.start)
			results[i] = r
		}
	}
	made, err := f.fitStill(ctx, j, a, d, stills)
	if err != nil {
		return nil, d, err
	}
	for i := range results {
		if results[i].ContentType == "" {
			results[i], made = made[0], made[1:]
		}
	}
	return results, d, nil
}

// move makes an animation inside the limits. The result has no type where there is
// none.
func (f *Fitter) move(ctx context.Context, j job, a animation, d found, t Target) (Result, error) {
	width, height := fitSize(j.Width, j.Height, t)
	o := gif.Options{Size: image.Pt(width, height), MaxBytes: t.MaxBytes}
	o.Exact = d.odd && width == j.Width && height == j.Height
	if !f.movesTo(j, t) || a.Frames == 1 && !o.Exact {
		return Result{}, nil
	}
	upright := f.upright(j, a)
	made, err := (*gif.Result)(nil), error(&gif.SizeError{})
	var over *gif.SizeError
	if o.Exact {
		made, err = gif.Fit(ctx, &upright, o)
	}
	if o.Exact = false; errors.As(err, &over) && a.Frames > 1 {
		if j.ContentType == typeGIF { // it does not become larger
			o.MaxBytes = min(t.MaxBytes, len(j.data))
		}
		made, err = gif.Fit(ctx, &upright, o)
	}
	switch {
	case errors.As(err, &over):
		return Result{}, nil
	case err != nil:
		return Result{}, err
	}
	r := j.result(t, made.Size.X, made.Size.Y)
	r.Data, r.ContentType = made.Data, typeGIF
	if made.Every > 1 {
		r.Lost = append(r.Lost, LostRate)
	}
	if j.metadata {
		r.Lost = append(r.Lost, LostMetadata)
	}
	if d.lost {
		r.Lost = append(r.Lost, LostPart)
	}
	return r, nil
}

// upright returns an animation as it is seen, in the colours of sRGB.
func (f *Fitter) upright(j job, a animation) gif.Animation {
	transform, err := icc.Parse(a.profile)
	if err != nil { // none, or one that cannot be read is left out
		transform = nil
	}
	if transform == nil && j.Orientation == 1 {
		return a.Animation
	}
	out := a.Animation
	out.Size = image.Pt(j.Width, j.Height)
	out.Play = func(ctx context.Context) iter.Seq2[gif.Frame, error] {
		return func(yield func(gif.Frame, error) bool) {
			img := image.NewNRGBA(image.Rect(0, 0, j.width, j.height))
			for frame, err := range a.Play(ctx) {
				if err == nil {
					copy(img.Pix, frame.Pix)
					if transform != nil {
						transform.NRGBA(img)
					}
					frame.NRGBA, err = f.orient(ctx, img, j.Orientation)
				}
				if !yield(frame, err) {
					return
				}
			}
		}
	}
	return out
}

// fitStill makes still pictures of the one that shows the most.
func (f *Fitter) fitStill(ctx context.Context, j job, a animation, d found, targets []Target) ([]Result, error) {
	j.targets = targets
	if err := refuseTypes(targets); err != nil || len(targets) == 0 {
		return nil, err
	}
	img, err := a.Still(ctx)
	if err != nil {
		return nil, decodeError(ctx, j.header, err)
	}
	width, height := largest(j.header, targets)
	if img, err = shrink(ctx, img, image.Pt(width, height)); err != nil {
		return nil, err
	}
	d.profile = a.profile
	return f.fitPixels(ctx, j, img, d)
}

// canMove says whether an animation may be encoded anew.
func (f *Fitter) canMove(j job) bool {
	return j.moving > 0 && j.moving <= maxMoving*f.maxPixels && j.Frames <= maxFrames
}

// movesTo says whether an animation may be encoded anew for a target.
func (f *Fitter) movesTo(j job, t Target) bool {
	return slices.Contains(t.Types, typeGIF) && f.canMove(j)
}

// decodedPixels returns how many pixels of an animation are decoded.
func (f *Fitter) decodedPixels(j job) int64 {
	for _, t := range j.targets {
		if f.movesTo(j, t) {
			return maxAnimation * f.maxPixels
		}
	}
	if j.passing > 0 {
		return maxAnimation * f.maxPixels
	}
	return max(stillPixels, j.pixels())
}

// movingMemory estimates the bytes that an animation takes to be planned and
// encoded, for the targets where it may be, besides what decoding takes.
func (f *Fitter) movingMemory(j job) int64 {
	need, source := int64(0), image.Pt(j.width, j.height)
	const codes, head = 2, 1 << 10 // what a pixel takes at most, and a frame besides, with colours of its own
	largest := codes*j.moving + head*int64(j.Frames)
	for _, t := range j.targets {
		if f.movesTo(j, t) {
			width, height := fitSize(j.Width, j.Height, t)
			need = max(need, gif.Memory(source, image.Pt(width, height))+min(int64(t.MaxBytes), largest))
		}
	}
	if j.passing > 0 && f.canMove(j) { // it may have to be mended
		need = max(need, gif.Memory(source, source)+min(int64(j.passing), largest))
	}
	if j.Orientation != 1 || j.ContentType == typeWebP {
		need += 8 * j.pixels()
	}
	return need
}

// cpu estimates the nanoseconds that a job takes.
func (f *Fitter) cpu(j job) int64 {
	for _, t := range j.targets {
		if f.movesTo(j, t) && j.Frames > 1 {
			return j.cost + movingWork*j.moving
		}
	}
	return j.cost
}
