package resize_test

import (
	"image"
	"testing"

	"mmspipe/resize"

	"golang.org/x/image/draw"
)

// large draws a photograph of a size that phones take. It is a small one made
// larger, with noise, so that it is made in little time and compresses like one.
func large(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	small := photo(width/8, height/8, false)
	draw.ApproxBiLinear.Scale(img, img.Rect, small, small.Rect, draw.Src, nil)
	for i := range img.Pix {
		if i%4 != 3 {
			img.Pix[i] ^= byte(i*2654435761>>13) & 3
		}
	}
	return img
}

// Fit as a worker calls it: the carrier's picture and the thumb from one decode.
func benchmarkFit(b *testing.B, data []byte) {
	us, err := resize.ProfileNamed("us")
	if err != nil {
		b.Fatal(err)
	}
	f := resize.New(resize.Options{})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Fit(b.Context(), data, us.Target(1), resize.Thumb); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFitJPEG12MP(b *testing.B) { benchmarkFit(b, asJPEG(large(4032, 3024))) }

func BenchmarkFitPNG3MP(b *testing.B) { benchmarkFit(b, asPNG(large(1170, 2532))) }

func BenchmarkFitWebP3MP(b *testing.B) { benchmarkFit(b, asWebP(large(2048, 1536))) }

func BenchmarkFitPassThrough(b *testing.B) {
	data := asJPEG(large(300, 200))
	f := resize.New(resize.Options{})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Fit(b.Context(), data, resize.Thumb); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	data := asJPEG(large(4032, 3024))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resize.Inspect(data); err != nil {
			b.Fatal(err)
		}
	}
}
