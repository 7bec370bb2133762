package resize

import (
	"bytes"
	"context"
	"image"
	"iter"

	"mmspipe/resize/internal/gif"
	"mmspipe/resize/internal/jpeg"
	"mmspipe/resize/internal/webp"
)

// readWebP reads the header and walks the file.
func (h *header) readWebP(data []byte) error {
	w, err := webp.ReadHeader(data)
	if err != nil {
		return unfit("damaged: %v", err)
	}
	h.width, h.height, h.Frames = w.Width, w.Height, w.Frames
	h.metadata, h.planar = w.Metadata, w.Planar
	// Some writers keep the identifier that JPEG has before EXIF.
	h.Orientation = max(1, exifOrientation(bytes.TrimPrefix(w.EXIF, []byte("Exif\x00\x00"))))
	// Planes or pixels as decoded, and as much again for transparency and the
	// tables of the lossless coding; and the screen of an animation, with the frame
	// that is kept.
	h.memory = 8 * h.pixels()
	if w.Animated {
		h.memory += 8 * h.pixels()
		h.moving = max(int64(h.Frames)*h.pixels(), webpWork*w.Pixels)
	}
	h.cost = 30 * w.Pixels
	return nil
}

// decodeWebPPlanes decodes what is lossy and opaque, in planes as webp.Video says.
func decodeWebPPlanes(ctx context.Context, j job) (*jpeg.Picture, found, error) {
	p, err := webp.Planes(ctx, j.data)
	if err != nil {
		return nil, found{}, decodeError(ctx, j.header, err)
	}
	h, err := webp.ReadHeader(j.data)
	return p, found{lost: p.Damaged, profile: h.Profile}, err
}

// decodeWebP decodes all else to a canvas.
func decodeWebP(ctx context.Context, j job, to *canvas) (d found, err error) {
	h, err := webp.ReadHeader(j.data)
	if err != nil {
		return d, decodeError(ctx, j.header, err)
	}
	d.profile = h.Profile
	img, lost, err := webp.Pixels(ctx, j.data)
	if err != nil {
		return d, decodeError(ctx, j.header, err)
	}
	d.lost = lost
	to.begin(4)
	for y := range img.Rect.Dy() {
		if err := to.write(img.Pix[y*img.Stride:][:4*img.Rect.Dx()]); err != nil {
			return d, err
		}
	}
	return d, nil
}

// webpWork is how many times as long as a pixel of GIF a pixel of WebP takes to decode.
const webpWork = 4

// decodeMovingWebP decodes the pictures of an animation.
func decodeMovingWebP(ctx context.Context, j job, maxPixels int64) (animation, found, error) {
	h, err := webp.ReadHeader(j.data)
	if err != nil {
		return animation{}, found{}, decodeError(ctx, j.header, err)
	}
	a := animation{Animation: gif.Animation{Size: image.Pt(h.Width, h.Height), Loop: h.Loop}, profile: h.Profile}
	damaged := false
	a.Play = func(ctx context.Context) iter.Seq2[gif.Frame, error] {
		return func(yield func(gif.Frame, error) bool) {
			shown, time := 0, 0 // of GIF, hundredths of a second; of WebP, thousandths
			for frame, err := range webp.Play(ctx, j.data, h, maxPixels) {
				time += frame.Delay
				delay := (time+5)/10 - shown
				shown += delay
				damaged = damaged || frame.Damaged
				if !yield(gif.Frame{NRGBA: frame.NRGBA, Delay: delay}, err) {
					return
				}
			}
		}
	}
	if err := a.Watch(ctx); err != nil {
		return animation{}, found{}, decodeError(ctx, j.header, err)
	}
	return a, found{lost: damaged || h.Cut || a.Frames < h.Frames && h.Pixels <= maxPixels, profile: h.Profile}, nil
}
