package resize

import (
	"context"
	"errors"
	"image"
	"slices"

	"mmspipe/resize/internal/heif"
	"mmspipe/resize/internal/icc"
	"mmspipe/resize/internal/jpeg"
	"mmspipe/resize/internal/webp"
)

// heifType returns the media type of a file of the HEIF family, from the brands
// that it begins with (ISO/IEC 23008-12, annex B, and AV1 Image File Format, section
// 7), or "". The general brands say nothing of the coding; where one of those comes
// first the others are asked.
func heifType(head []byte) string {
	if len(head) < 12 || string(head[4:8]) != "ftyp" {
		return ""
	}
	general := false
	for at := 8; at+4 <= len(head) && at < int(head[3])+int(head[2])<<8; at += 4 {
		if at == 12 {
			continue // a version
		}
		switch string(head[at : at+4]) {
		case "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs":
			return typeHEIC
		case "avif", "avis":
			return typeAVIF
		case "mif1", "mif2", "msf1":
			general = true
		}
		if !general {
			return "" // a film, or a format of a camera
		}
	}
	if general {
		return typeHEIF
	}
	return ""
}

// readHEIF reads the container.
func (h *header) readHEIF(data []byte) error {
	c, err := heif.Parse(data)
	switch {
	case errors.Is(err, heif.ErrUnsupported):
		return unfit("format %s: %v", h.ContentType, err)
	case err != nil:
		return unfit("damaged: %v", err)
	}
	h.heif = c
	h.width, h.height, h.Orientation, h.Frames = c.Width, c.Height, c.Orientation, c.Frames
	h.metadata = c.Metadata
	h.planar = !c.Alpha
	h.memory = c.Memory()
	h.cost = 200 * c.Pixels()
	return nil
}

// decodeHEIF decodes the picture. Its samples are T.871's, and its colours sRGB's
// but for the profile that found has.
func decodeHEIF(ctx context.Context, j job) (*heif.Picture, found, error) {
	p, err := j.heif.Decode(ctx)
	if err != nil {
		return nil, found{}, decodeError(ctx, j.header, err)
	}
	return p, found{lost: p.Damaged, profile: j.heif.Profile}, nil
}

// paintHEIF gives the rows of a transparent picture to a canvas.
func paintHEIF(ctx context.Context, j job, to *canvas) (found, error) {
	p, d, err := decodeHEIF(ctx, j)
	if err != nil {
		return d, err
	}
	p.FromVideo(p.Video)
	return d, to.paint(ctx, p.Picture, &p.Alpha.Planes[0], p.Premultiplied)
}

// paint gives the rows of planes, and of the transparency that goes with them, to
// a canvas.
func (c *canvas) paint(ctx context.Context, p *jpeg.Picture, alpha *jpeg.Plane, premultiplied bool) error {
	size := p.Size()
	c.begin(4)
	row := make([]uint8, 4*size.X)
	for y := range size.Y {
		if err := ctx.Err(); err != nil {
			return decodeError(ctx, header{}, err)
		}
		opacity := alpha.Pix[y*alpha.Stride:]
		for x := range size.X {
			r, g, b := p.RGB(x, y)
			a := opacity[x]
			if premultiplied && a > 0 {
				whole := func(v uint8) uint8 { return uint8(min(255, (int(v)*255+int(a)/2)/int(a))) }
				r, g, b = whole(r), whole(g), whole(b)
			}
			row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = r, g, b, a
		}
		if err := c.write(row); err != nil {
			return err
		}
	}
	return nil
}

// fitPlanar makes the pictures of a job that came opaque and in planes as video
// has them: HEIC, AVIF and lossy WebP. Planes are brought to the size of the largest
// target, and only then understood.
func (f *Fitter) fitPlanar(ctx context.Context, j job) ([]Result, found, error) {
	base, d, err := decodePlanar(ctx, j)
	if err != nil || len(j.targets) == 0 {
		return nil, d, err
	}
	results, err := f.fitTargets(ctx, j, base, jpeg.ProfileSegment(d.profile))
	return results, d, err
}

// decodePlanar returns the picture upright, in the size of the largest target, with
// colour of half the resolution.
func decodePlanar(ctx context.Context, j job) (_ *jpeg.Picture, d found, err error) {
	defer recovered(j.ContentType, &err)
	width, height := largest(j.header, j.targets)
	size := image.Pt(width, height)
	if j.Orientation >= 5 {
		size = image.Pt(height, width)
	}
	var p *jpeg.Picture
	video := webp.Video
	var wide *icc.Transform
	if j.heif != nil {
		var decoded *heif.Picture
		if decoded, d, err = decodeHEIF(ctx, j); err != nil {
			return nil, d, err
		}
		p, video = decoded.Picture, decoded.Video
		if d.profile == nil {
			wide = icc.Primaries(j.heif.Primaries)
		}
	} else if p, d, err = decodeWebPPlanes(ctx, j); err != nil || len(j.targets) == 0 {
		return nil, d, err
	}
	if p, err = p.Resize(ctx, size, true, j.Orientation); err != nil {
		return nil, d, err
	}
	p.FromVideo(video)
	if d.profile != nil && !carries(j.targets, d.profile) {
		wide, _ = icc.Parse(d.profile) // one that cannot be read is left out
		d.profile = nil
	}
	if wide != nil {
		pixels := toPixels(p)
		wide.NRGBA(pixels)
		p, err = toPlanes(pixels).Resize(ctx, size, true, 1)
	}
	return p, d, err
}

// carries reports whether the results of all targets can have the profile, so that
// colours need not be converted.
func carries(targets []Target, profile []byte) bool {
	for _, t := range targets {
		if !slices.Contains(t.Types, typeJPEG) || len(profile) > min(t.MaxBytes/8, maxProfile)-32 {
			return false
		}
	}
	return true
}
