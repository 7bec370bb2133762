package webp

import (
	"os"
	"path/filepath"
	"testing"
)

func seed(f *testing.F) {
	for _, pattern := range []string{"../../testdata/*.webp", "../../../testdata/images/*.webp"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(names), err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			f.Add(data[:len(data)*3/4])
		}
	}
}

// FuzzDecode decodes whatever a header admits, as long as it is small.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(data)
		if err != nil || int64(h.Width)*int64(h.Height) > 1<<16 {
			return
		}
		if h.Width < 1 || h.Height < 1 || h.Frames < 1 {
			t.Fatalf("%+v", h)
		}
		if h.Animated {
			n := 0
			for frame, err := range Play(t.Context(), data, h, 1<<18) {
				if err == nil && (frame.Rect.Dx() != h.Width || frame.Rect.Dy() != h.Height) {
					t.Fatalf("a frame of %v", frame.Rect)
				}
				if n++; n > h.Frames {
					t.Fatal("more frames than were counted")
				}
			}
			return
		}
		if img, _, err := Pixels(t.Context(), data); err == nil && (img.Rect.Dx() != h.Width || img.Rect.Dy() != h.Height) {
			t.Fatalf("%v for %d × %d", img.Rect, h.Width, h.Height)
		}
		if h.Planar {
			if p, err := Planes(t.Context(), data); err == nil && (p.Size().X != h.Width || p.Size().Y != h.Height) {
				t.Fatalf("%v for %d × %d", p.Size(), h.Width, h.Height)
			}
		}
	})
}
