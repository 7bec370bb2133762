package heif

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"slices"
	"time"

	"mmspipe/resize/internal/jpeg"
)

// Picture is what was decoded.
type Picture struct {
	*jpeg.Picture // grey or YCbCr, as Video says
	Video         jpeg.Video
	Alpha         *jpeg.Picture // grey and of the same size, or nil
	Premultiplied bool
}

// Memory returns how many bytes Decode takes at its peak, in this process and in
// the worker: an instance of the codec, and the planes, which are in both and on
// their way between them.
func (h *Header) Memory() int64 {
	need := workerMemory + max(h.image.instance(), h.alpha.instance())
	for _, l := range []*layer{&h.image, &h.alpha} {
		whole := int64(l.width) * int64(l.height)
		need += l.samples * (whole + 3*int64(l.tile.width)*int64(l.tile.height)) / 4
	}
	return need
}

// Pixels returns how many pixels are decoded, tiles at the edge in full.
func (h *Header) Pixels() int64 {
	return int64(h.image.tile.width) * int64(h.image.tile.height) * int64(len(h.image.tiles))
}

// What an instance takes, in bytes. Measured were 7.2 for a pixel of 4:2:0 of HEVC,
// 12.7 with 10 bits and 10.9 of 4:4:4, 21 of AV1 and 38 with 10 bits.
const (
	av1PerPixel     = 24
	av1DeepPerPixel = 40
	instanceFixed   = 16 << 20
	pageSize        = 1 << 16
	// workerMemory is what the process takes beside the instance: the compiled
	// codecs and the result on its way.
	workerMemory = 64 << 20
)

// instance returns the bound on an instance's memory.
func (l *layer) instance() int64 {
	longest := 0
	for _, t := range l.tiles {
		longest = max(longest, len(t.data))
	}
	n := instanceFixed + l.perPixel*int64(l.tile.width)*int64(l.tile.height) + 4*int64(longest)
	return min((n+pageSize-1)/pageSize*pageSize, 1<<32-pageSize)
}

// Decode returns the pixels, cropped and not upright. It ends soon after ctx,
// whose error it then wraps. CPU time is bounded by the size of the picture and of
// the file: what takes more is damaged.
func (h *Header) Decode(ctx context.Context) (*Picture, error) {
	p, err := h.decode(ctx)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("decode picture: %w", ctx.Err())
	}
	return p, err
}

func (h *Header) decode(ctx context.Context) (*Picture, error) {
	pixels, video, err := h.image.decode(ctx)
	if err != nil {
		return nil, err
	}
	p := &Picture{Picture: cropped(pixels, h.crop), Video: video, Premultiplied: h.premultiplied}
	if !h.Alpha {
		return p, nil
	}
	alpha, _, err := h.alpha.decode(ctx)
	if err != nil {
		return nil, err
	}
	if size := image.Pt(h.image.width, h.image.height); alpha.Size() != size {
		if alpha, err = alpha.Resize(ctx, size, false, 1); err != nil {
			return nil, err
		}
	}
	p.Damaged = p.Damaged || alpha.Damaged
	alpha.Colour, alpha.Planes = jpeg.Grey, alpha.Planes[:1]
	p.Alpha = cropped(alpha, h.crop)
	return p, nil
}

// decode decodes all tiles. Those that cannot be decoded are grey, as long as
// there is one that can.
func (l *layer) decode(ctx context.Context) (*jpeg.Picture, jpeg.Video, error) {
	video := jpeg.Video{Full: true}
	if !l.av1 {
		video = l.colour.video()
	}
	w, err := takeWorker()
	if err != nil {
		return nil, video, err
	}
	var whole *jpeg.Picture
	var sampling []image.Point
	var failure error
	for i, t := range l.tiles {
		p, failed, err := w.do(ctx, l.job(t))
		if failed {
			return nil, video, err
		}
		if err == nil && whole == nil {
			sampling = steps(p)
			if len(l.tiles) == 1 {
				p.Damaged = !t.whole
				w.leave()
				return p, video, nil
			}
			whole = newCanvas(l, p)
		}
		if err == nil && (p.Colour != whole.Colour || !slices.Equal(steps(p), sampling)) {
			err = errCodec
		}
		if err != nil {
			failure = err
			continue
		}
		paste(whole, p, image.Pt(i%l.columns*l.tile.width, i/l.columns*l.tile.height))
		whole.Damaged = whole.Damaged || !t.whole
	}
	w.leave()
	if whole == nil {
		return nil, video, failure
	}
	whole.Damaged = whole.Damaged || failure != nil
	return whole, video, nil
}

// job returns what a worker needs to decode a tile. Measured on one core were 0.1
// to 0.2 µs for a pixel of ordinary pictures; slower machines and pictures of more
// bytes have a multiple of that.
func (l *layer) job(t tile) job {
	pixels := l.tile.width * l.tile.height
	return job{
		AV1: l.av1, Width: l.tile.width, Height: l.tile.height,
		File: l.still(t), Memory: l.instance(),
		CPU: 2*time.Second + time.Duration(pixels+len(t.data))*time.Microsecond/2,
	}
}

// steps returns how many pixels across and down a sample of each plane stands
// for.
func steps(p *jpeg.Picture) []image.Point {
	full := p.Size()
	all := make([]image.Point, len(p.Planes))
	for i, q := range p.Planes {
		all[i] = image.Pt((full.X+q.Width-1)/q.Width, (full.Y+q.Height-1)/q.Height)
	}
	return all
}

// part returns size and extent of a plane for a picture of that size.
func part(size, step image.Point) jpeg.Plane {
	return jpeg.Plane{
		Width: (size.X + step.X - 1) / step.X, Height: (size.Y + step.Y - 1) / step.Y,
		ExtentX: float64(size.X) / float64(step.X), ExtentY: float64(size.Y) / float64(step.Y),
	}
}

// newCanvas returns a grey picture of the layer's size, in planes like a tile's.
func newCanvas(l *layer, tile *jpeg.Picture) *jpeg.Picture {
	canvas := &jpeg.Picture{Colour: tile.Colour}
	for _, step := range steps(tile) {
		q := part(image.Pt(l.width, l.height), step)
		q.Stride = q.Width
		q.Pix = bytes.Repeat([]byte{128}, q.Stride*q.Height)
		canvas.Planes = append(canvas.Planes, q)
	}
	return canvas
}

// paste copies a tile to where that pixel of the picture is.
func paste(to, from *jpeg.Picture, at image.Point) {
	for i, step := range steps(from) {
		p, q := &to.Planes[i], &from.Planes[i]
		x, y := at.X/step.X, at.Y/step.Y
		for row := range min(q.Height, p.Height-y) {
			copy(p.Pix[(y+row)*p.Stride:][x:p.Width], q.Pix[row*q.Stride:][:q.Width])
		}
	}
}

// cropped returns a part of a picture. It shares the samples. Planes of colour of
// half the resolution begin at most half a pixel beside it.
func cropped(p *jpeg.Picture, r image.Rectangle) *jpeg.Picture {
	out := &jpeg.Picture{Colour: p.Colour, Damaged: p.Damaged}
	for i, step := range steps(p) {
		q, from := part(r.Size(), step), p.Planes[i]
		q.Stride = from.Stride
		q.Pix = from.Pix[r.Min.Y/step.Y*q.Stride+r.Min.X/step.X:]
		// One sample less is there where both the start and the size are odd.
		q.Width = min(q.Width, from.Width-r.Min.X/step.X)
		q.Height = min(q.Height, from.Height-r.Min.Y/step.Y)
		out.Planes = append(out.Planes, q)
	}
	return out
}

// video says what is needed to understand samples; without a matrix, they are
// BT.601's, as every decoder takes them.
func (c nclx) video() jpeg.Video {
	v := jpeg.Video{Full: c.full}
	switch c.matrix {
	case matrixBT709:
		v.Matrix = jpeg.BT709
	case matrixBT2020:
		v.Matrix = jpeg.BT2020
	}
	return v
}
