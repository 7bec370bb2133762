// Package resize fits pictures into a carrier's limits.
//
// A [Profile] says what a carrier lets through, a [Target] what one picture may
// have, and [Fitter.Fit] makes the best picture inside it. What it returns is
// never more bytes or pixels than the target asks, never larger than the
// source, the right way up, and free of metadata: no position, no camera, no
// hidden second picture. Equal bytes and targets give equal results, and what was
// fitted once passes through a second time as it is.
//
// # What is decoded
//
// JPEG of Huffman and of arithmetic coding, PNG, GIF, WebP, BMP, HEIC and AVIF, told
// apart by their bytes, never by what they were called. Everything else is refused
// with an [UnfitError] before a decoder sees it, and so is lossless or hierarchical
// JPEG. A picture that is refused is to be kept as it came. What other decoders
// forgive is forgiven. Of a file that is cut off or damaged, what is there is
// fitted, and grey is in place of the rest: [LostPart] says so.
//
// HEIC and AVIF are decoded by codecs in WebAssembly, which run in a process of
// their own: the program starts itself for that when the first such picture comes,
// and ends it when none has come for a minute. Whoever imports this package agrees to
// that: its main function is not reached in such a process.
//
// # What comes out
//
// A JPEG, PNG or GIF that is inside the target's limits already passes through,
// once it has been decoded whole: its coded pixels are not touched, its metadata
// is cut out; of a JPEG's EXIF the orientation stays, in place of turning the
// pixels. A PNG that strict decoders would not read is put together anew from the
// same coded pixels.
//
// All else is encoded anew, and what comes out is chosen by what is seen. Drawings,
// screenshots and what is transparent become PNG without loss where the target
// takes PNG and they fit at the full size; where they do not, PNG of 256 colours or
// JPEG, whichever differs less. Photographs become JPEG, transparency on white, at
// the highest quality that fits. Where even the lowest quality that is fit to look
// at does not, a smaller size is tried. [Result.Lost] names
// what the picture had and the result has not.
//
// Colours look as they did: a JPEG keeps its ICC profile where that is small, the
// pixels of a PNG are converted to sRGB. A JPEG does not become more bytes than it
// was where that can be had, and a damaged file never does.
//
// An animated GIF or WebP stays animated where the target takes GIF, and becomes one: with pixels that are
// less exact, fewer colours, a smaller size, and at the last every second or third
// picture only, whichever is measured to look most like the source inside the
// limits. Loop count, time and transparency stay. Where nothing of that fits, and
// where the target takes no GIF, the picture of the animation is left that shows
// the most: the first if there is something on it. Of an animated PNG, HEIC or AVIF
// the first is left.
//
// # Bounds
//
// Pixels are counted from the header and refused over [Options.MaxPixels] before
// anything is allocated, and so are sides of more than 65,535 pixels. What a decode
// and its resampling will take is estimated from the header and waited for in
// [Options.Memory], which all calls of one Fitter share; a picture that needs more
// than the whole of it is refused, for the bound would be none otherwise. PNG and
// BMP are decoded row by row and scaled on the way. The estimate leaves out what
// the garbage collector has not taken back yet. Decoders bound their work by the
// pixels there are, and ask the context all along. Pictures that take little work
// overtake those that take much, so that files which were made to take long hold up
// others of their kind alone. A decoder's panic ends as an UnfitError.
package resize

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"
)

// The media types that are decoded.
const (
	typeJPEG = "image/jpeg"
	typePNG  = "image/png"
	typeGIF  = "image/gif"
	typeWebP = "image/webp"
	typeBMP  = "image/bmp"
	typeHEIC = "image/heic"
	typeHEIF = "image/heif"
	typeAVIF = "image/avif"
)

// What a result may lack of its source, as [Result.Lost] says it.
const (
	LostFrames   = "frames"   // that it moved: one picture of an animation is left
	LostRate     = "rate"     // every second or third picture of an animation, in the time of all
	LostAlpha    = "alpha"    // transparency, now white
	LostMetadata = "metadata" // EXIF, XMP, IPTC, comments, text, appended data
	LostPart     = "part"     // what could not be read of a damaged file, now grey
)

// Target is what one picture is to be fitted into.
type Target struct {
	Name     string
	MaxBytes int
	// MaxWidth and MaxHeight bound the picture as seen, in pixels; 0 is no bound.
	MaxWidth, MaxHeight int
	// Types are the media types that may come out. Of those that are encoded,
	// JPEG and PNG, it must hold one.
	Types []string
}

// Result is one fitted picture.
type Result struct {
	Name        string // the target's
	Data        []byte // may be the input itself, or share its memory
	ContentType string
	// Width and Height are the picture's as seen, in pixels.
	Width, Height int
	// Quality is the JPEG quality, 1 to 100; 0 of other types and where the
	// picture passed through.
	Quality int
	// Scale is the width by that of the source as seen; at most 1.
	Scale float64
	// PassThrough says that the coded pixels are those of the source.
	PassThrough bool
	// Lost is what the source had and this has not: LostFrames, LostRate, LostAlpha,
	// LostMetadata, LostPart, in this order. An empty one is nil.
	Lost []string
	// Elapsed is the time from the call of Fit until this result was there: its
	// own work, the decode it shares with others, and the wait for memory.
	Elapsed time.Duration
}

// UnfitError says that a picture cannot be fitted, and will not be at another
// attempt: it is to be kept as it came.
type UnfitError struct {
	// Reason says why in words fit for a record: what is damaged, over a limit,
	// not decoded, or by how many bytes the target was missed.
	Reason string
}

// Error returns the reason.
func (e *UnfitError) Error() string { return "picture cannot be fitted: " + e.Reason }

func unfit(format string, args ...any) error {
	return &UnfitError{Reason: fmt.Sprintf(format, args...)}
}

// Options bound what a Fitter takes.
type Options struct {
	// Memory is how many bytes all decodes may take together; 512 MiB when 0.
	Memory int64
	// MaxPixels is the largest picture that is decoded, width times height. When
	// 0 it is 100,000,000 for JPEG, of which no more is decoded than a smaller
	// picture can show, and 40,000,000 for all else.
	MaxPixels int
}

// Fitter fits pictures within one bound on memory. It may be used by many
// goroutines.
type Fitter struct {
	maxPixels int64
	maxJPEG   int64 // pixels
	memory    int64
	admission *admission
	resampler *semaphore.Weighted // 1: imaging puts every core to work by itself
}

// New returns a Fitter.
func New(o Options) *Fitter {
	if o.Memory <= 0 {
		o.Memory = 512 << 20
	}
	maxJPEG := o.MaxPixels
	if o.MaxPixels <= 0 {
		o.MaxPixels, maxJPEG = 40_000_000, 100_000_000
	}
	return &Fitter{
		maxPixels: int64(o.MaxPixels),
		maxJPEG:   int64(maxJPEG),
		memory:    o.Memory,
		admission: newAdmission(o.Memory),
		resampler: semaphore.NewWeighted(1),
	}
}

// Fit makes a picture for each target, in their order, from one decode; a file
// that was to pass through and turns out damaged takes a second one. The error is
// an *[UnfitError] where the picture is not to be had for one of the targets, and
// wraps the context's where that ended; there are no results then. data is not
// changed.
func (f *Fitter) Fit(ctx context.Context, data []byte, targets ...Target) ([]Result, error) {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("fit picture: %w", err)
	}
	h, err := readHeader(data)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(targets))
	j := job{header: h, start: start, data: data}
	for i, t := range targets {
		r, ok := f.passThrough(data, h, t)
		if !ok {
			j.targets = append(j.targets, t)
			continue
		}
		results[i] = r
		if j.passing == 0 || t.MaxBytes < j.passing {
			j.passing = t.MaxBytes
		}
	}
	made, found, err := f.encodeAnew(ctx, j)
	if err != nil {
		return nil, err
	}
	if j.passing > 0 && !found.passes(results) {
		// None of it is to become more bytes than it was.
		j.passing, j.targets = 0, nil
		for i, t := range targets {
			if results[i].PassThrough {
				t.MaxBytes = min(t.MaxBytes, len(data))
				j.targets = append(j.targets, t)
			}
		}
		again, _, err := f.encodeAnew(ctx, j)
		if err != nil {
			return nil, err
		}
		for i := range results {
			if results[i].PassThrough {
				results[i], again = again[0], again[1:]
			}
		}
	}
	for i := range results {
		if results[i].ContentType == "" {
			results[i], made = made[0], made[1:]
		}
		if results[i].Elapsed == 0 {
			results[i].Elapsed = time.Since(start)
		}
	}
	return results, nil
}

// pixelLimit returns how many pixels a picture of that format may have.
func (f *Fitter) pixelLimit(contentType string) int64 {
	if contentType == typeJPEG {
		return f.maxJPEG
	}
	return f.maxPixels
}

// job is what is to be made of one picture's pixels.
type job struct {
	header
	start   time.Time
	data    []byte
	targets []Target
	// passing is the fewest bytes that a target allows for which the file passes
	// through, if it is whole. It is 0 where there is none.
	passing int
}

// refuse returns an error for what is not decoded.
func (f *Fitter) refuse(j job) error {
	still := slices.DeleteFunc(slices.Clone(j.targets), func(t Target) bool { return f.movesTo(j, t) })
	if err := refuseTypes(still); err != nil {
		return err
	}
	if max(j.width, j.height) > maxSide {
		return unfit("%d × %d pixels have a side of more than the %d that are decoded", j.Width, j.Height, maxSide)
	}
	if limit := f.pixelLimit(j.ContentType); j.pixels() > limit {
		return unfit("%d × %d pixels are more than the %d that are decoded", j.Width, j.Height, limit)
	}
	if j.refused != "" {
		return &UnfitError{Reason: j.refused}
	}
	return nil
}

// refuseTypes returns an error where a target takes nothing that a still picture
// could be.
func refuseTypes(targets []Target) error {
	for _, t := range targets {
		if !slices.Contains(t.Types, typeJPEG) && !slices.Contains(t.Types, typePNG) {
			return unfit("target %s takes neither JPEG nor PNG", t.Name)
		}
	}
	return nil
}

// encodeAnew decodes a picture and makes those of the job's targets, within the
// bounds on pixels and memory. Without targets it only decodes.
func (f *Fitter) encodeAnew(ctx context.Context, j job) ([]Result, found, error) {
	if err := f.refuse(j); err != nil {
		return nil, found{}, err
	}
	need := f.memoryFor(j)
	if need > f.memory {
		return nil, found{}, unfit("%d × %d pixels take some %d KiB to decode, more than the %d KiB there are",
			j.Width, j.Height, need>>10, f.memory>>10)
	}
	release, err := f.admission.acquire(ctx, need, f.cpu(j) > slowWork)
	if err != nil {
		return nil, found{}, fmt.Errorf("wait for memory to fit a picture: %w", err)
	}
	defer release()
	return f.decodeAndFit(ctx, j)
}
