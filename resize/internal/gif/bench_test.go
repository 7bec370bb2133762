package gif

import (
	"image"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	a := drawn(image.Pt(480, 360), 24, 20, false)
	data := fit(b, a, Options{MaxBytes: 1 << 30}).Data
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		decode(b, data)
	}
}

// A photograph, or video, into a tenth of what it has.
func BenchmarkFit(b *testing.B) {
	a := drawn(image.Pt(480, 360), 24, 20, false)
	data := fit(b, a, Options{MaxBytes: 1 << 30}).Data
	f := decode(b, data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		fit(b, &f.Animation, Options{MaxBytes: len(data) / 10})
	}
}
