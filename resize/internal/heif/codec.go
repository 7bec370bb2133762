package heif

import (
	"image"
	"image/color"

	"mmspipe/resize/internal/jpeg"
)

// decode decodes one coded picture in an instance of its own.
func (j *job) decode(code program) (*jpeg.Picture, error) {
	i, err := code.start(make(memory, j.Memory))
	if err != nil {
		return nil, err
	}
	if j.AV1 {
		return j.decodeAV1(i)
	}
	return j.decodeHEVC(i)
}

// What libheif calls the kinds of planes (heif_colorspace and heif_chroma).
const (
	heifYCbCr, heifRGB, heifGrey = 0, 1, 2
	heif420, heif422, heif444    = 1, 2, 3
)

// heifStride returns the length of a line of that many bytes in memory of
// libheif.
func heifStride(width, bytesPerPixel int) int {
	return (max(64, width+width%2)*bytesPerPixel + 15) &^ 15
}

// decodeHEVC runs libheif. Its function decode takes address and length of the
// file, 1 to get no more than the header, addresses for five numbers, and that of
// the samples, whose size depends on those numbers.
func (j *job) decodeHEVC(i instance) (*jpeg.Picture, error) {
	in, err := i.put(j.File)
	if err != nil {
		return nil, err
	}
	at, err := i.allocate(5 * 4)
	if err != nil {
		return nil, err
	}
	decode := func(headerOnly, out uint64) error {
		ok, err := i.call("decode", in, uint64(len(j.File)), headerOnly, at, at+4, at+8, at+12, at+16, out)
		if err == nil && ok == 0 {
			err = errCodec
		}
		return err
	}
	if err := decode(1, 0); err != nil {
		return nil, err
	}
	head := i.numbers(at, 4)
	width, height, space, chroma := head[0], head[1], head[2], head[3]
	if width != j.Width || height != j.Height {
		return nil, errCodec
	}
	planes := []jpeg.Plane{{Width: width, Height: height, Stride: heifStride(width, 1)}}
	switch {
	case space == heifRGB:
		planes[0].Stride = heifStride(width, 4)
	case space == heifYCbCr && chroma >= heif420 && chroma <= heif444:
		c := planes[0]
		if chroma != heif444 {
			c.Width = (width + 1) / 2
		}
		if chroma == heif420 {
			c.Height = (height + 1) / 2
		}
		c.Stride = heifStride(c.Width, 1)
		planes = append(planes, c, c)
	case space != heifGrey:
		return nil, errCodec
	}
	size := 0
	for _, p := range planes {
		size += p.Stride * p.Height
	}
	out, err := i.allocate(size)
	if err != nil {
		return nil, err
	}
	if err := decode(0, out); err != nil {
		return nil, err
	}
	samples, err := i.take(out, size)
	if err != nil {
		return nil, err
	}
	if space == heifRGB {
		return fromRGBA(samples, width, height, planes[0].Stride, 1), nil
	}
	p := &jpeg.Picture{Colour: jpeg.YCbCr}
	if space == heifGrey {
		p.Colour = jpeg.Grey
	}
	for _, q := range planes {
		q.Pix, samples = samples[:q.Stride*q.Height], samples[q.Stride*q.Height:]
		p.Planes = append(p.Planes, q)
	}
	return p, nil
}

// decodeAV1 runs libavif. Its function decode takes address and length of the
// file, 1 to get no more than the header, 1 for all pictures of a sequence,
// addresses for four numbers and for the delays, and that of the pixels, RGBA of 8
// bits, or of 16 where the file has more than 8.
func (j *job) decodeAV1(i instance) (*jpeg.Picture, error) {
	in, err := i.put(j.File)
	if err != nil {
		return nil, err
	}
	at, err := i.allocate(4*4 + 8)
	if err != nil {
		return nil, err
	}
	decode := func(headerOnly, out uint64) error {
		ok, err := i.call("decode", in, uint64(len(j.File)), headerOnly, 0, at, at+4, at+8, at+12, at+16, out)
		if err == nil && ok == 0 {
			err = errCodec
		}
		return err
	}
	if err := decode(1, 0); err != nil {
		return nil, err
	}
	head := i.numbers(at, 3)
	width, height, depth := head[0], head[1], head[2]
	if width != j.Width || height != j.Height {
		return nil, errCodec
	}
	bytesPerSample := either(depth > 8, 2, 1)
	size := width * height * 4 * bytesPerSample
	out, err := i.allocate(size)
	if err != nil {
		return nil, err
	}
	// The function reports success where there was no picture. A picture is opaque:
	// transparency is in a file of its own.
	pixels, err := i.take(out, size)
	if err != nil {
		return nil, err
	}
	clear(pixels[size-bytesPerSample:])
	if err := decode(0, out); err != nil {
		return nil, err
	}
	// The memory may have moved its end, not what was in it.
	if pixels[size-1] != 0xff {
		return nil, errCodec
	}
	return fromRGBA(pixels, width, height, width*4*bytesPerSample, bytesPerSample), nil
}

// fromRGBA converts opaque pixels to planes, of colour with half the resolution: no
// picture that is made of them has more. Of samples of two bytes the second is taken.
func fromRGBA(pixels []byte, width, height, stride, bytesPerSample int) *jpeg.Picture {
	size := image.Pt(width, height)
	p := &jpeg.Picture{Colour: jpeg.YCbCr}
	for _, step := range []image.Point{{X: 1, Y: 1}, {X: 2, Y: 2}, {X: 2, Y: 2}} {
		q := part(size, step)
		q.Stride = q.Width
		q.Pix = make([]uint8, q.Stride*q.Height)
		p.Planes = append(p.Planes, q)
	}
	luma, cb, cr := &p.Planes[0], &p.Planes[1], &p.Planes[2]
	sums := make([][3]int, cb.Width) // of Cb and Cr, and of how many
	for y := range height {
		row := pixels[y*stride:][:4*width*bytesPerSample]
		for x := range width {
			at := 4*x*bytesPerSample + bytesPerSample - 1
			l, b, r := color.RGBToYCbCr(row[at], row[at+bytesPerSample], row[at+2*bytesPerSample])
			luma.Pix[y*luma.Stride+x] = l
			s := &sums[x/2]
			s[0], s[1], s[2] = s[0]+int(b), s[1]+int(r), s[2]+1
		}
		if y%2 == 0 && y+1 < height {
			continue
		}
		for x, s := range sums {
			at := y/2*cb.Stride + x
			cb.Pix[at], cr.Pix[at] = uint8((s[0]+s[2]/2)/s[2]), uint8((s[1]+s[2]/2)/s[2])
		}
		clear(sums)
	}
	return p
}
