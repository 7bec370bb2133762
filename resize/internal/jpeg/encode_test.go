package jpeg

import (
	"math"
	"math/rand/v2"
	"testing"
)

// slowFDCT is the forward transform as T.81, A.3.3 has it.
func slowFDCT(samples *[64]float64) (out [64]float64) {
	c := func(u int) float64 {
		if u == 0 {
			return math.Sqrt2 / 2
		}
		return 1
	}
	for v := range 8 {
		for u := range 8 {
			sum := 0.0
			for y := range 8 {
				for x := range 8 {
					sum += samples[8*y+x] * math.Cos(float64((2*x+1)*u)*math.Pi/16) * math.Cos(float64((2*y+1)*v)*math.Pi/16)
				}
			}
			out[8*v+u] = c(u) * c(v) / 4 * sum
		}
	}
	return out
}

func TestFDCTAgainstDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := newPlane(8, 8, 8, 8)
	worst := 0.0
	for n := range 2000 {
		var samples [64]float64
		for i := range p.Pix {
			switch n % 3 {
			case 0:
				p.Pix[i] = uint8(random.IntN(256))
			case 1:
				p.Pix[i] = uint8(255 * random.IntN(2))
			default: // the sign of one basis function: its coefficient is the largest there can be
				k := n / 3 % 64
				p.Pix[i] = 0
				if math.Cos(float64((2*(i%8)+1)*(k%8))*math.Pi/16)*math.Cos(float64((2*(i/8)+1)*(k/8))*math.Pi/16) > 0 {
					p.Pix[i] = 255
				}
			}
			samples[i] = float64(p.Pix[i]) - 128
		}
		want := slowFDCT(&samples)
		var got [64]uint16
		fdct(&p, 0, 0, &got)
		for k, v := range got {
			worst = max(worst, math.Abs((float64(v)-zero)/coefficientScale-want[zigzag[k]]))
		}
	}
	if worst > 0.2 {
		t.Errorf("a coefficient is off by %.3f", worst)
	}
	t.Logf("largest error %.3f", worst)
}
