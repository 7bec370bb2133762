package scale

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// slow is one channel of one pixel of the result, as the filter is defined.
func slow(pix []uint8, channels int, from, to image.Point, x, y, channel int) float64 {
	stepX, stepY := float64(from.X)/float64(to.X), float64(from.Y)/float64(to.Y)
	stretchX, stretchY := max(stepX, 1), max(stepY, 1)
	centreX, centreY := (float64(x)+0.5)*stepX, (float64(y)+0.5)*stepY
	sum, total := 0.0, 0.0
	for j := int(centreY-4*stretchY) - 1; j <= int(centreY+4*stretchY); j++ {
		for i := int(centreX-4*stretchX) - 1; i <= int(centreX+4*stretchX); i++ {
			w := filter((float64(i)+0.5-centreX)/stretchX) * filter((float64(j)+0.5-centreY)/stretchY)
			at := min(max(j, 0), from.Y-1)*from.X + min(max(i, 0), from.X-1)
			sum += w * float64(pix[at*channels+channel])
			total += w
		}
	}
	return min(max(sum/total, 0), 255)
}

// stream scales pixels row by row.
func stream(pix []uint8, channels int, from, to image.Point) (out []uint8) {
	s := NewStream(channels, from, to, func(y int, row []uint8) {
		if y*to.X*channels != len(out) {
			panic("rows do not follow each other")
		}
		out = append(out, row...)
	})
	for y := range from.Y {
		s.Write(pix[y*from.X*channels:][:from.X*channels])
	}
	return out
}

func TestStreamAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, channels := range []int{1, 3, 4} {
		for _, size := range [][4]int{
			{1, 1, 1, 1},
			{40, 30, 20, 15},
			{40, 30, 17, 13},
			{33, 57, 7, 31},
			{9, 200, 9, 3},
			{200, 9, 3, 9},
			{10, 10, 23, 19},
			{64, 64, 1, 1},
			{5, 70, 5, 69},
			{31, 17, 31, 8},
		} {
			from, to := image.Pt(size[0], size[1]), image.Pt(size[2], size[3])
			t.Run(fmt.Sprintf("%d %v %v", channels, from, to), func(t *testing.T) {
				pix := make([]uint8, from.X*from.Y*channels)
				for i := range pix {
					pix[i] = uint8(r.IntN(256))
					if i%4 == 3 && channels == 4 {
						pix[i] = 0xff
					}
				}
				got := stream(pix, channels, from, to)
				if len(got) != to.X*to.Y*channels {
					t.Fatalf("%d samples", len(got))
				}
				for i, v := range got {
					at := i / channels
					if want := slow(pix, channels, from, to, at%to.X, at/to.X, i%channels); math.Abs(float64(v)-want) > 1.2 {
						t.Fatalf("sample %d is %d, want %.1f", i, v, want)
					}
				}
			})
		}
	}
}

// The colour of what is not seen does not show at the edges of what is.
func TestStreamTransparency(t *testing.T) {
	from, to := image.Pt(16, 16), image.Pt(5, 5)
	var pix []uint8
	for i := range from.X * from.Y {
		if i%16 < 8 {
			pix = append(pix, 255, 0, 0, 255)
		} else {
			pix = append(pix, 0, 255, 0, 0)
		}
	}
	for out := stream(pix, 4, from, to); len(out) > 0; out = out[4:] {
		if out[3] > 8 && (out[0] < 250 || out[1] > 5) {
			t.Errorf("%v", out[:4])
		}
	}
	if same := stream(pix, 4, from, from); string(same) != string(pix) {
		t.Error("pixels of an equal size changed")
	}
}

// What a stream allocates is what was said of it, and no more than a few rows of
// its source.
func TestStreamMemory(t *testing.T) {
	for _, size := range [][4]int{{4000, 3000, 1600, 1200}, {60000, 3, 600, 1}, {3, 60000, 1, 600}, {8000, 600, 320, 24}} {
		from, to := image.Pt(size[0], size[1]), image.Pt(size[2], size[3])
		want := StreamMemory(4, from, to)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		NewStream(4, from, to, func(int, []uint8) {})
		runtime.ReadMemStats(&after)
		got := int64(after.TotalAlloc - before.TotalAlloc)
		if got > want*11/10+4096 || got < want/3 {
			t.Errorf("%v to %v allocates %d bytes, %d were said", from, to, got, want)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	from, to := image.Pt(2048, 1536), image.Pt(1600, 1200)
	row := make([]uint8, 3*from.X)
	for b.Loop() {
		s := NewStream(3, from, to, func(int, []uint8) {})
		for range from.Y {
			s.Write(row)
		}
	}
}
