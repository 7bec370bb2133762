package jpeg

import (
	"image"
	"math/rand/v2"
	"testing"
)

// What Memory says is what Decode allocates, whatever the sampling: a component
// of few rows may need all of its columns.
func TestMemory(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		file := newSample(r, 1+r.IntN(300), 1+r.IntN(300), randomFactors(r, []int{1, 3, 4}[seed%3]), seed%2 == 1).file(r)
		for _, asked := range []image.Point{whole, {40, 60}, nothing} {
			p, err := Decode(t.Context(), file, asked, asked)
			if err != nil {
				t.Fatal(err)
			}
			planes := int64(0)
			for _, plane := range p.Planes {
				planes += int64(len(plane.Pix))
			}
			got := Memory(file, asked, asked)
			if seed%2 == 0 && got != planes || seed%2 == 1 && got < 3*planes {
				t.Errorf("file %d, %v: %d bytes for planes of %d", seed, asked, got, planes)
			}
		}
	}
	if got := Memory([]byte("\xff\xd8\xff\xd9"), whole, whole); got != 0 {
		t.Errorf("%d bytes for no picture", got)
	}
}
