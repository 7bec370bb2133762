package resize

import (
	"context"
	"errors"
	"image"

	"mmspipe/resize/internal/gif"
)

// readGIF walks the blocks of the file.
func (h *header) readGIF(data []byte) {
	info := gif.Inspect(data)
	h.width, h.height = info.Size.X, info.Size.Y
	h.Frames = max(info.Frames, 1)
	h.metadata = info.Metadata
	h.whole = info.Frames > 0 && !info.Mended
	h.memory = gif.DecodeMemory(info)
	h.moving = max(info.Pixels, 1)
}

// decodeGIF decodes a file whose size and need of memory have been checked.
func decodeGIF(ctx context.Context, j job, maxPixels int64) (animation, found, error) {
	file, err := gif.Decode(ctx, j.data, maxPixels)
	if err != nil {
		return animation{}, found{}, decodeError(ctx, j.header, err)
	}
	return animation{Animation: file.Animation}, found{lost: file.Missing, odd: !file.Clean}, nil
}

// repairGIF codes a file anew that not every decoder reads, with the pixels that it
// has. Where it has too many for that, or is a still picture that would be too large,
// it is returned without its metadata as it is: browsers read it. There is no file
// where neither is small enough for all the targets that it passes through for.
func (f *Fitter) repairGIF(ctx context.Context, j job, a animation) (_ []byte, recoded bool, _ error) {
	if f.canMove(j) {
		o := gif.Options{Size: image.Pt(j.Width, j.Height), MaxBytes: j.passing, Exact: true}
		made, err := gif.Fit(ctx, &a.Animation, o)
		var over *gif.SizeError
		switch {
		case err == nil:
			return made.Data, true, nil
		case !errors.As(err, &over):
			return nil, false, err
		case a.Frames > 1: // there is a way to make it smaller
			return nil, false, nil
		}
	}
	if data := gif.Strip(j.data); len(data) <= j.passing {
		return data, false, nil
	}
	return nil, false, nil
}
