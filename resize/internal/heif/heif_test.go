package heif

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func files(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"../../testdata/heif/*.*", "../../../testdata/images/*.heic", "../../../testdata/images/*.avif"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(names), err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = data
		}
	}
	return all
}

// A worker ends by itself where a picture takes longer than it may, and the next
// picture gets another.
func TestDecodeEndsWhatTakesTooLong(t *testing.T) {
	h, err := Parse(files(t)["flat.heic"])
	if err != nil {
		t.Fatal(err)
	}
	w, err := takeWorker()
	if err != nil {
		t.Fatal(err)
	}
	j := h.image.job(h.image.tiles[0])
	j.CPU = time.Nanosecond
	if _, failed, err := w.do(t.Context(), j); !failed || !errors.Is(err, errSlow) {
		t.Fatalf("failed %v, %v", failed, err)
	}
	if p, err := h.Decode(t.Context()); err != nil || p.Damaged || p.Size().X != 4096 {
		t.Fatalf("the next one: %v", err)
	}
}

// An instance gets no more memory than the bound, and its worker goes on.
func TestDecodeStaysInItsMemory(t *testing.T) {
	for _, name := range []string{"flat.heic", "flat.avif"} {
		h, err := Parse(files(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		w, err := takeWorker()
		if err != nil {
			t.Fatal(err)
		}
		j := h.image.job(h.image.tiles[0])
		j.Memory = 32 << 20
		if p, failed, err := w.do(t.Context(), j); failed || err == nil || p != nil {
			t.Fatalf("%s in 32 MiB: failed %v, %v", name, failed, err)
		}
		if _, failed, err := w.do(t.Context(), h.image.job(h.image.tiles[0])); failed || err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.leave()
	}
}

func TestDecodeEndsWithItsContext(t *testing.T) {
	h, err := Parse(files(t)["flat.heic"])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Decode(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Turns follow each other: after the first the second is of what it made.
func TestAfter(t *testing.T) {
	for _, tt := range [][3]int{
		{1, 6, 6},
		{6, 1, 6},
		{6, 6, 3},
		{6, 8, 1},
		{2, 2, 1},
		{4, 4, 1},
		{2, 4, 3},
		{8, 2, 7},
		{2, 8, 5},
		{6, 2, 5},
		{5, 5, 1},
		{7, 7, 1},
	} {
		if got := after(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%d and then %d is %d, want %d", tt[0], tt[1], got, tt[2])
		}
	}
}

// Files that are damaged in one byte or cut off are read or refused, and what they
// would take is known before.
func FuzzParse(f *testing.F) {
	for _, data := range files(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add(box("meta", numbers(4, 0), bytes.Repeat(box("iloc", numbers(4, 1<<24), numbers(2, 0x8888, 0xffff)), 8)))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Parse(data)
		if err != nil {
			return
		}
		if h.Width < 1 || h.Height < 1 || h.Width > maxSide || h.Height > maxSide || h.Orientation < 1 || h.Orientation > 8 || h.Frames < 1 {
			t.Fatalf("%+v", h)
		}
		if pixels := int64(h.Width) * int64(h.Height); h.Pixels() < pixels || h.Memory() < pixels {
			t.Fatalf("%d pixels in %d bytes for %d × %d", h.Pixels(), h.Memory(), h.Width, h.Height)
		}
		for _, tile := range h.image.tiles {
			if len(tile.data) > len(data) {
				t.Fatalf("a tile of %d bytes in a file of %d", len(tile.data), len(data))
			}
		}
	})
}
