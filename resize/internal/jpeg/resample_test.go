package jpeg

import (
	"context"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

// coded says where in a picture as coded a place of it as seen is, both from 0
// to 1 (CIPA DC-008, section 4.6.4 A).
func coded(orientation int, x, y float64) (float64, float64) {
	switch orientation {
	case 2:
		return 1 - x, y
	case 3:
		return 1 - x, 1 - y
	case 4:
		return x, 1 - y
	case 5:
		return y, x
	case 6:
		return y, 1 - x
	case 7:
		return 1 - y, 1 - x
	case 8:
		return 1 - y, x
	}
	return x, y
}

// lanczos is the filter of three lobes.
func lanczos(x float64) float64 {
	switch x = math.Abs(x) * math.Pi; {
	case x == 0:
		return 1
	case x >= 3*math.Pi:
		return 0
	}
	return 3 * math.Sin(x) * math.Sin(x/3) / (x * x)
}

// slowSample is one sample of a plane, at a place in it from 0 to 1, resampled
// to a plane of the extent toX × toY.
func slowSample(p *Plane, x, y, toX, toY float64) float64 {
	stretchX, stretchY := max(p.ExtentX/toX, 1), max(p.ExtentY/toY, 1)
	centreX, centreY := x*p.ExtentX, y*p.ExtentY
	sum, total := 0.0, 0.0
	for j := int(centreY-4*stretchY) - 1; j <= int(centreY+4*stretchY); j++ { // further than any filter reaches
		for i := int(centreX-4*stretchX) - 1; i <= int(centreX+4*stretchX); i++ {
			w := lanczos((float64(i)+0.5-centreX)/stretchX) * lanczos((float64(j)+0.5-centreY)/stretchY)
			sum += w * float64(p.row(min(max(j, 0), p.Height-1))[min(max(i, 0), p.Width-1)])
			total += w
		}
	}
	return min(max(sum/total, 0), 255)
}

func noisePlane(r *rand.Rand, width, height int, extentX, extentY float64) Plane {
	p := newPlane(width, height, extentX, extentY)
	for i := range p.Pix {
		p.Pix[i] = uint8(r.IntN(256))
	}
	return p
}

// All sizes, odd ones above all, and all orientations, with colour in half the
// size and in the whole one.
func TestResizeAgainstDefinition(t *testing.T) {
	worst := 0.0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		width, height := 1+r.IntN(70), 1+r.IntN(50)
		p := &Picture{Colour: YCbCr, Planes: []Plane{noisePlane(r, width, height, float64(width), float64(height))}}
		for range 2 {
			p.Planes = append(p.Planes, noisePlane(r, (width+1)/2, (height+1)/2, float64(width)/2, float64(height)/2))
		}
		orientation := 1 + int(seed%8)
		size := image.Pt(1+r.IntN(60), 1+r.IntN(60))
		half := r.IntN(2) == 0
		out, err := p.Resize(t.Context(), size, half, orientation)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out.Planes {
			extentX, extentY := float64(size.X), float64(size.Y)
			if half && i > 0 {
				extentX, extentY = extentX/2, extentY/2
			}
			got := &out.Planes[i]
			if got.Width != int(math.Ceil(extentX)) || got.Height != int(math.Ceil(extentY)) {
				t.Fatalf("plane %d of %v: %d × %d", i, size, got.Width, got.Height)
			}
			worst = max(worst, comparePlaces(got, &p.Planes[i], orientation, extentX, extentY))
		}
		if worst > 1 {
			t.Fatalf("%d × %d to %v, orientation %d, half %v: a sample is off by %.2f", width, height, size, orientation, half, worst)
		}
	}
	t.Logf("largest difference %.3f", worst)
}

// comparePlaces returns the largest difference from the definition.
func comparePlaces(got, from *Plane, orientation int, extentX, extentY float64) (worst float64) {
	toX, toY := extentX, extentY
	if orientation >= 5 {
		toX, toY = toY, toX
	}
	for y := range got.Height {
		for x := range got.Width {
			fromX, fromY := coded(orientation, (float64(x)+0.5)/extentX, (float64(y)+0.5)/extentY)
			want := slowSample(from, fromX, fromY, toX, toY)
			worst = max(worst, math.Abs(want-float64(got.row(y)[x])))
		}
	}
	return worst
}

func TestResizeKeepsFlat(t *testing.T) {
	for _, v := range []uint8{0, 1, 127, 254, 255} {
		p := newPlane(301, 97, 301, 97)
		for i := range p.Pix {
			p.Pix[i] = v
		}
		for _, size := range []image.Point{{300, 96}, {151, 49}, {7, 3}, {1, 1}, {600, 100}} {
			out, err := (&Picture{Planes: []Plane{p}}).Resize(t.Context(), size, true, 1)
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range out.Planes[0].Pix {
				if got != v {
					t.Fatalf("%v: sample %d is %d, want %d", size, i, got, v)
				}
			}
		}
	}
}

func TestResizeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &Picture{Planes: []Plane{newPlane(20, 20, 20, 20)}}
	if _, err := p.Resize(ctx, image.Pt(10, 10), true, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
