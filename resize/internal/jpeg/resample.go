package jpeg

import (
	"context"
	"fmt"
	"image"

	"mmspipe/resize/internal/scale"
)

// Resize returns the picture in that size as seen, after it is turned upright
// from the given EXIF orientation. Planes that are so already are shared. With
// half, planes of colour of a YCbCr picture have half the size in both directions (4:2:0), otherwise the same (4:4:4). The
// error is the context's.
func (p *Picture) Resize(ctx context.Context, size image.Point, half bool, orientation int) (*Picture, error) {
	how := turns[orientation&15]
	if how.transpose {
		size = image.Pt(size.Y, size.X)
	}
	out := &Picture{Colour: p.Colour, Damaged: p.Damaged}
	for i := range p.Planes {
		width, height, extentX, extentY := size.X, size.Y, float64(size.X), float64(size.Y)
		if half && i > 0 && p.Colour == YCbCr {
			width, height, extentX, extentY = (width+1)/2, (height+1)/2, extentX/2, extentY/2
		}
		from := &p.Planes[i]
		if how == (turn{}) && from.Width == width && from.Height == height && from.ExtentX == extentX && from.ExtentY == extentY {
			out.Planes = append(out.Planes, *from)
			continue
		}
		to := newPlane(width, height, extentX, extentY)
		columns := scale.NewTaps(width, extentX, from.Width, from.ExtentX, how.mirrorX)
		rows := scale.NewTaps(height, extentY, from.Height, from.ExtentY, how.mirrorY)
		if err := scale.Plane(ctx, to.samples(), from.samples(), columns, rows); err != nil {
			return nil, fmt.Errorf("resample JPEG: %w", err)
		}
		if how.transpose {
			to = transposed(&to)
		}
		out.Planes = append(out.Planes, to)
	}
	return out, nil
}

// samples returns the plane as package scale takes it.
func (p *Plane) samples() scale.Samples {
	return scale.Samples{Pix: p.Pix, Stride: p.Stride, Width: p.Width, Height: p.Height}
}
