package jpeg

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"testing"
)

// benchFile is a photograph of 12 megapixels, from MMSPIPE_BENCH_JPEG where that
// names one, otherwise drawn.
func benchFile(b *testing.B) []byte {
	b.Helper()
	if name := os.Getenv("MMSPIPE_BENCH_JPEG"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	var out bytes.Buffer
	if err := stdjpeg.Encode(&out, drawn(4032, 3024), &stdjpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// drawn is a picture with gradients, edges and noise.
func drawn(width, height int) *image.YCbCr {
	img := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	noise := uint32(1)
	sample := func(x, y, period int) uint8 {
		noise = noise*1664525 + 1013904223
		return uint8(60 + 120*x/width + (x/period+y/period)%2*40 + int(noise>>28))
	}
	for i := range img.Y {
		img.Y[i] = sample(i%img.YStride, i/img.YStride, 37)
	}
	for i := range img.Cb {
		img.Cb[i] = sample(i%img.CStride, i/img.CStride, 90)
		img.Cr[i] = sample(i%img.CStride, i/img.CStride, 70)
	}
	return img
}

var (
	halfSize = image.Pt(2016, 1512)
	fitSize  = image.Pt(1600, 1200)
)

func half(p image.Point) image.Point { return image.Pt((p.X+1)/2, (p.Y+1)/2) }

func benchPlanes(b *testing.B) *Picture {
	p, err := Decode(b.Context(), benchFile(b), halfSize, half(halfSize))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkDecodeHalf(b *testing.B) {
	data := benchFile(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(b.Context(), data, halfSize, half(halfSize)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResize(b *testing.B) {
	p := benchPlanes(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Resize(b.Context(), fitSize, true, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func benchFitted(b *testing.B) *Picture {
	p, err := benchPlanes(b).Resize(b.Context(), fitSize, true, 1)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkTransform(b *testing.B) {
	p := benchFitted(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newTransformed(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEncoder(b *testing.B) *encoder {
	t, err := newTransformed(b.Context(), benchFitted(b))
	if err != nil {
		b.Fatal(err)
	}
	return &encoder{transformed: t, estimates: map[int]float64{}}
}

func BenchmarkEstimate(b *testing.B) {
	e := benchEncoder(b)
	for b.Loop() {
		clear(e.estimates)
		e.estimate(85 * steps)
	}
}

func BenchmarkCount(b *testing.B) {
	e := benchEncoder(b)
	for b.Loop() {
		if _, err := e.count(b.Context(), 85*steps); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	e := benchEncoder(b)
	if _, err := e.count(b.Context(), 85*steps); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e.write()
	}
}

func BenchmarkEncode(b *testing.B) {
	p := benchFitted(b)
	b.ReportAllocs()
	for b.Loop() {
		data, quality, err := Encode(b.Context(), p, Options{MaxBytes: 300_000, MinQuality: 1, MaxQuality: 95})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(quality), "quality")
		b.ReportMetric(float64(len(data)), "bytes")
	}
}
