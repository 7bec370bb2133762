package resize

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
)

const (
	// maxQuality is above which bytes grow and nothing is seen of it.
	maxQuality = 95
	// minQuality is below which the blocks of the coding show, so that a smaller
	// picture looks better in as many bytes.
	minQuality = 50
	// enough ends the search for a quality: in percent of the bytes allowed. Each
	// further step is one more encoding for less than one more step of quality.
	enough = 97
	// maxProfile is the largest colour profile that is carried over, in bytes:
	// those of cameras and screens have 500 to 3,200, those of printers that go
	// with CMYK up to a megabyte.
	maxProfile = 8 << 10
)

// fitJPEG makes the pictures of a job that came as JPEG.
func (f *Fitter) fitJPEG(ctx context.Context, j job) ([]Result, error) {
	img, err := decode(ctx, j.data, j.header)
	if err != nil {
		return nil, err
	}
	return f.fitRaster(ctx, j, img, colourProfile(j.data, j.header))
}

// encodeJPEG returns the picture as a JPEG of the highest quality that fits into
// maxBytes, transparency on white, and that quality. The error is an *overError
// where not even the lowest fits.
func encodeJPEG(ctx context.Context, img *image.NRGBA, profile []byte, maxBytes int) ([]byte, int, error) {
	if len(profile) > maxBytes/8 {
		profile = nil
	}
	planes := toYCbCr(img)
	best, err := encodeQuality(ctx, planes, profile, maxQuality, maxBytes)
	var over *overError
	if err == nil || !errors.As(err, &over) {
		return best, maxQuality, err
	}
	best, err = encodeQuality(ctx, planes, profile, minQuality, maxBytes)
	if err != nil {
		return nil, 0, err
	}
	fits, fails := minQuality, maxQuality
	for fails-fits > 1 && len(best) < maxBytes/100*enough {
		middle := (fits + fails) / 2
		data, err := encodeQuality(ctx, planes, profile, middle, maxBytes)
		switch {
		case err == nil:
			best, fits = data, middle
		case errors.As(err, &over):
			fails = middle
		default:
			return nil, 0, err
		}
	}
	return best, fits, nil
}

// encodeQuality encodes at one quality, with the colour profile behind SOI.
func encodeQuality(ctx context.Context, img *image.YCbCr, profile []byte, quality, maxBytes int) ([]byte, error) {
	w := &limitedBuffer{ctx: ctx, max: maxBytes - len(profile)}
	if err := jpeg.Encode(w, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode JPEG: %w", err)
	}
	data, err := w.result()
	if err != nil || len(profile) == 0 {
		return data, err
	}
	out := make([]byte, 0, len(data)+len(profile))
	return append(append(append(out, data[:2]...), profile...), data[2:]...), nil
}

// colourProfile returns the segments of a JPEG's colour profile, if it is one of
// the colours that the result has and small.
func colourProfile(data []byte, h header) []byte {
	var profile []byte
	for marker, segment := range segments(data) {
		if marker == markerSOS {
			break
		}
		if isICC(marker, segment) {
			profile = append(profile, segment...)
		}
	}
	if h.components != 3 || len(profile) > maxProfile {
		return nil
	}
	return profile
}

// toYCbCr converts a picture once for all encodings, at half the resolution of
// colour in both directions, which is all that image/jpeg encodes (4:2:0).
func toYCbCr(img *image.NRGBA) *image.YCbCr {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	out := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	sums := make([][3]int, out.CStride) // of Cb, of Cr, and how many
	for y := range height {
		row := img.Pix[y*img.Stride:][:4*width]
		luma := out.Y[y*out.YStride:][:width]
		for x := range luma {
			r, g, b := onWhite(row[4*x], row[4*x+3]), onWhite(row[4*x+1], row[4*x+3]), onWhite(row[4*x+2], row[4*x+3])
			yy, cb, cr := color.RGBToYCbCr(r, g, b)
			luma[x] = yy
			sum := &sums[x/2]
			sum[0] += int(cb)
			sum[1] += int(cr)
			sum[2]++
		}
		if y%2 == 0 && y+1 < height {
			continue
		}
		chroma := y / 2 * out.CStride
		for x, sum := range sums {
			out.Cb[chroma+x] = uint8((sum[0] + sum[2]/2) / sum[2])
			out.Cr[chroma+x] = uint8((sum[1] + sum[2]/2) / sum[2])
		}
		clear(sums)
	}
	return out
}

// onWhite lays a sample of that opacity on a white ground.
func onWhite(sample, alpha uint8) uint8 {
	if alpha == 0xff {
		return sample
	}
	return uint8((int(sample)*int(alpha) + 255*(255-int(alpha)) + 127) / 255)
}
