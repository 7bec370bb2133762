package resize

import (
	"context"
	"errors"

	"mmspipe/resize/internal/bmp"
)

// readBMP reads the headers of a BMP.
func (h *header) readBMP(data []byte) error {
	header, err := bmp.ReadHeader(data)
	if err != nil && !errors.Is(err, bmp.ErrCoding) {
		return unfit("damaged: %v", err)
	}
	h.width, h.height = header.Width, header.Height
	switch {
	case err != nil:
		h.refused = "format BMP is not decoded in this coding"
	case max(h.width, h.height) > maxSide: // refused for that; products would not fit
	case !header.Possible(len(data)):
		h.refused = "damaged: the BMP is cut off"
	default:
		h.memory, h.cost = header.Memory(), 10*h.pixels()
	}
	return nil
}

// decodeBMP gives the rows of a BMP to a canvas.
func decodeBMP(ctx context.Context, j job, to *canvas) (found, error) {
	header, err := bmp.Open(j.data)
	if err != nil {
		return found{}, decodeError(ctx, j.header, err)
	}
	to.begin(header.Channels)
	lost, err := bmp.Decode(ctx, j.data, header, to.write)
	if err != nil {
		return found{}, decodeError(ctx, j.header, err)
	}
	return found{lost: lost}, nil
}
