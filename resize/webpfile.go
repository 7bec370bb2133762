package resize

import (
	"bytes"
	"context"
	"image"

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
	var img *image.NRGBA
	if h.Animated {
		img, err = bestFrame(ctx, j, h)
	} else {
		img, d.lost, err = webp.Pixels(ctx, j.data)
	}
	if err != nil {
		return d, decodeError(ctx, j.header, err)
	}
	to.begin(4)
	for y := range img.Rect.Dy() {
		if err := to.write(img.Pix[y*img.Stride:][:4*img.Rect.Dx()]); err != nil {
			return d, err
		}
	}
	return d, nil
}

// bestFrame returns the frame of an animation that shows most: the first is often
// empty. Of a long one those are looked at that a still picture of the largest size
// could have the pixels of.
func bestFrame(ctx context.Context, j job, h webp.Header) (*image.NRGBA, error) {
	best, most := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height)), -1
	for f, err := range webp.Play(ctx, j.data, h, max(h.Pixels/int64(h.Frames), animationPixels)) {
		if err != nil {
			return nil, err
		}
		if n := edges(f.NRGBA); n > most {
			most = n
			copy(best.Pix, f.Pix)
		}
	}
	return best, nil
}

// animationPixels is how many pixels of an animation are decoded to find a frame,
// less than a second of CPU.
const animationPixels = 20_000_000

// edges counts neighbours in a row that differ clearly, in every eighth row.
func edges(img *image.NRGBA) int {
	n := 0
	for y := 0; y < img.Rect.Dy(); y += 8 {
		row := img.Pix[y*img.Stride:][:4*img.Rect.Dx()]
		for i := 4; i < len(row); i += 4 {
			if a, b := int(row[i+1])*int(row[i+3]), int(row[i-3])*int(row[i-1]); max(a, b)-min(a, b) > 16*255 {
				n++
			}
		}
	}
	return n
}
