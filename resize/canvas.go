package resize

import (
	"context"
	"image"

	"mmspipe/resize/internal/scale"
)

// canvas takes the rows of a picture as a decoder gives them, and makes of them a
// picture that is no larger than is needed. Without a size it takes them and
// makes nothing, for a decode that is only to find out whether a file is whole.
type canvas struct {
	from, to image.Point
	pixels   *image.NRGBA // nil without a size
	stream   *scale.Stream
	channels int
}

// begin says how many channels the rows have: 1, 3 or 4.
func (c *canvas) begin(channels int) {
	if c.to == (image.Point{}) {
		return
	}
	c.channels = channels
	c.pixels = image.NewNRGBA(image.Rectangle{Max: c.to})
	c.stream = scale.NewStream(channels, c.from, c.to, c.put)
}

// write takes the next row.
func (c *canvas) write(row []uint8) error {
	if c.stream != nil {
		c.stream.Write(row)
	}
	return nil
}

// put takes a row of the result.
func (c *canvas) put(y int, row []uint8) {
	to := c.pixels.Pix[y*c.pixels.Stride:][:4*c.to.X]
	switch c.channels {
	case 1:
		for x, v := range row {
			p := to[4*x : 4*x+4]
			p[0], p[1], p[2], p[3] = v, v, v, 0xff
		}
	case 3:
		for i := 0; len(row) >= 3; row, i = row[3:], i+4 {
			p := to[i : i+4]
			p[0], p[1], p[2], p[3] = row[0], row[1], row[2], 0xff
		}
	default:
		copy(to, row)
	}
}

// canvasMemory returns how many bytes a canvas takes at most.
func canvasMemory(from, to image.Point) int64 {
	if to == (image.Point{}) {
		return 0
	}
	return scale.StreamMemory(4, from, to) + 4*int64(to.X)*int64(to.Y)
}

// shrink brings decoded pixels to a size, row by row.
func shrink(ctx context.Context, img *image.NRGBA, to image.Point) (*image.NRGBA, error) {
	if img.Rect.Size() == to {
		return img, nil
	}
	c := canvas{from: img.Rect.Size(), to: to}
	c.begin(4)
	for y := range c.from.Y {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.stream.Write(img.Pix[y*img.Stride:])
	}
	return c.pixels, nil
}
