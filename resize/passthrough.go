package resize

import (
	"slices"

	"mmspipe/resize/internal/gif"
	"mmspipe/resize/internal/jpeg"
	"mmspipe/resize/internal/png"
)

// passThrough returns the picture with its coded pixels as they are, if it is
// inside the target's limits already. Whether they can be decoded is found out
// after that.
func (f *Fitter) passThrough(data []byte, h header, t Target) (Result, bool) {
	switch {
	case !h.whole, h.refused != "",
		h.Orientation != 1 && h.ContentType != typeJPEG,
		h.ContentType == typeJPEG && (h.arithmetic || h.components != 1 && h.components != 3),
		!slices.Contains(t.Types, h.ContentType),
		t.MaxWidth > 0 && h.Width > t.MaxWidth,
		t.MaxHeight > 0 && h.Height > t.MaxHeight,
		h.pixels() > f.pixelLimit(h.ContentType),
		max(h.moving, h.pixels()*int64(h.Frames)) > maxAnimation*f.maxPixels:
		return Result{}, false
	}
	r := Result{
		Name: t.Name, Data: data, ContentType: h.ContentType,
		Width: h.Width, Height: h.Height, Scale: 1, PassThrough: true,
	}
	if h.metadata {
		r.Data = strip(data, h)
		r.Lost = []string{LostMetadata}
	}
	return r, len(r.Data) <= t.MaxBytes
}

// strip returns a JPEG, PNG or GIF without its metadata, a JPEG's orientation
// apart: all that shows JPEG turns it by that, which is not so of PNG.
func strip(data []byte, h header) []byte {
	switch h.ContentType {
	case typeJPEG:
		return jpeg.Strip(data, h.Orientation)
	case typePNG:
		return png.Strip(data)
	}
	return gif.Strip(data)
}

// passes reports whether the file may pass through, and if so puts the file as
// strict decoders read it into the results that do, where it is not that already.
func (d found) passes(results []Result) bool {
	if d.lost || d.odd && d.repaired == nil {
		return false
	}
	for i := range results {
		if r := &results[i]; r.PassThrough && d.repaired != nil {
			r.Data, r.PassThrough = d.repaired, !d.recoded
		}
	}
	return true
}
