package jpeg

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// appSegment is a segment with its length.
func appSegment(marker byte, payload string) []byte {
	n := len(payload) + 2
	return append([]byte{0xff, marker, byte(n >> 8), byte(n)}, payload...)
}

// What is cut out is all that says more than the picture; what is left is in its
// order and byte for byte what it was.
func TestStrip(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	s := newSample(r, 60, 40, [][2]int{{2, 1}, {1, 1}, {1, 1}}, true)
	s.adobe = 1
	bare := s.file(r)
	icc := appSegment(markerAPP0+2, "ICC_PROFILE\x00\x01\x02first")
	icc2 := appSegment(markerAPP0+2, "ICC_PROFILE\x00\x02\x02second")
	head := 2 + len(jfifHeader)
	want := slices.Concat(bare[:head], icc, icc2, bare[head:])
	full := slices.Concat(bare[:head],
		appSegment(markerAPP0, "JFXX\x00\x10thumb"),
		appSegment(markerAPP0+1, "Exif\x00\x00MM\x00*secret"),
		icc, appSegment(markerAPP0+2, "MPF\x00secret"), icc2,
		appSegment(markerAPP0+13, "Photoshop 3.0\x00secret"),
		appSegment(markerCOM, "secret"), bare[head:], []byte("secret video"))
	got := Strip(full, 1)
	if !bytes.Equal(got, want) {
		t.Errorf("stripped to %d bytes, want %d", len(got), len(want))
	}
	if !bytes.Equal(ColourProfile(full), slices.Concat(icc, icc2)) {
		t.Error("the colour profile is not found")
	}
	for orientation := 2; orientation <= 8; orientation++ {
		got := Strip(full, orientation)
		if len(got) != len(want)+len(orientationHead)+1+len(orientationTail) || bytes.Contains(got, []byte("secret")) {
			t.Errorf("orientation %d: %d bytes", orientation, len(got))
		}
		if again := Strip(got, orientation); !bytes.Equal(got, again) {
			t.Errorf("orientation %d: stripped twice it is not the same", orientation)
		}
		for marker, segment := range Segments(got) {
			if !bytes.Equal(PictureSegment(marker, segment), segment) {
				t.Errorf("orientation %d: marker %x is taken for metadata", orientation, marker)
			}
		}
	}
}

func FuzzStrip(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 3))
		f.Add(newSample(r, 1+r.IntN(30), 1+r.IntN(30), randomFactors(r, 3), seed%2 == 1).file(r), int(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte, orientation int) {
		orientation = 1 + orientation&7
		out := Strip(data, orientation)
		if again := Strip(out, orientation); !bytes.Equal(out, again) {
			t.Fatal("stripped twice it is not the same")
		}
	})
}
