package resize

import (
	"context"

	"mmspipe/resize/internal/png"
)

// readPNG reads IHDR and walks the file to its end, counting the pictures of an
// animation.
func (h *header) readPNG(data []byte) error {
	pixelData, animated, frames := false, false, 0
	for chunk := range png.Chunks(data) {
		if len(chunk.Picture()) != len(chunk) {
			h.metadata = true
		}
		switch {
		case h.width == 0:
			if err := h.readIHDR(chunk, len(data)); err != nil {
				return err
			}
		case chunk.Is("acTL"):
			animated = true
		case chunk.Is("fcTL"):
			frames++
		case chunk.Is("eXIf") && chunk.Whole():
			h.Orientation = max(1, exifOrientation(chunk.Body()))
		case chunk.Is("IDAT"):
			pixelData = true
		}
	}
	h.whole = pixelData // a decode tells
	if animated {       // the count that acTL gives need not be true
		h.Frames = max(frames, 1)
	}
	return nil
}

// readIHDR reads size and kind of pixels of a PNG of fileSize bytes.
func (h *header) readIHDR(chunk png.Chunk, fileSize int) error {
	ihdr, err := png.ReadHeader(chunk)
	if err != nil {
		return unfit("damaged: %v", err)
	}
	h.width, h.height = ihdr.Width, ihdr.Height
	if max(h.width, h.height) > maxSide {
		return nil // refused for that; products would not fit
	}
	h.memory = ihdr.Memory()
	h.cost = ihdr.Work()
	if !ihdr.Possible(fileSize) {
		h.refused = "damaged: the PNG is too short for its pixels"
	}
	return nil
}

// decodePNG gives the rows of a PNG to a canvas.
func decodePNG(ctx context.Context, j job, to *canvas) (found, error) {
	r, err := png.Open(j.data)
	if err != nil {
		return found{}, decodeError(ctx, j.header, err)
	}
	to.begin(r.Channels)
	outcome, err := r.Decode(ctx, to.write)
	if err != nil {
		return found{}, decodeError(ctx, j.header, err)
	}
	f := found{lost: outcome.Lost, profile: png.Profile(j.data)}
	if outcome.Odd {
		f.odd = true
		f.repaired, _ = r.Repair(outcome)
	}
	return f, nil
}
