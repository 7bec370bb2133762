package icc

import (
	"encoding/binary"
	"errors"
	"image"
	"math"
	"testing"
)

// profile makes a profile of these tags.
func profile(space, connection string, tags map[string][]byte) []byte {
	head := make([]byte, 128)
	copy(head[16:], space)
	copy(head[20:], connection)
	copy(head[36:], "acsp")
	table := binary.BigEndian.AppendUint32(nil, uint32(len(tags)))
	var data []byte
	for name, body := range tags {
		table = append(table, name...)
		table = binary.BigEndian.AppendUint32(table, uint32(128+4+12*len(tags)+len(data)))
		table = binary.BigEndian.AppendUint32(table, uint32(len(body)))
		data = append(data, body...)
	}
	return append(append(head, table...), data...)
}

func numbers(kind string, values ...float64) []byte {
	out := append([]byte(kind), 0, 0, 0, 0)
	for _, v := range values {
		out = binary.BigEndian.AppendUint32(out, uint32(int32(math.Round(v*65536))))
	}
	return out
}

// srgbCurve is the curve of sRGB as a formula (IEC 61966-2-1).
func srgbCurve() []byte {
	curve := numbers("para", 0, 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045)
	copy(curve[8:], "\x00\x03\x00\x00")
	return curve
}

func gamma(g float64) []byte {
	return binary.BigEndian.AppendUint16([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"), uint16(math.Round(g*256)))
}

func matrixProfile(r, g, b [3]float64, curve []byte) []byte {
	return profile("RGB ", "XYZ ", map[string][]byte{
		"rXYZ": numbers("XYZ ", r[:]...), "gXYZ": numbers("XYZ ", g[:]...), "bXYZ": numbers("XYZ ", b[:]...),
		"rTRC": curve, "gTRC": curve, "bTRC": curve,
	})
}

// The columns of the profiles of sRGB and Display P3, as their makers write them.
var (
	srgb = matrixProfile([3]float64{0.43607, 0.22249, 0.01392}, [3]float64{0.38515, 0.71687, 0.09708},
		[3]float64{0.14307, 0.06061, 0.71410}, srgbCurve())
	displayP3 = matrixProfile([3]float64{0.51512, 0.24120, -0.00105}, [3]float64{0.29198, 0.69225, 0.04189},
		[3]float64{0.15710, 0.06657, 0.78407}, srgbCurve())
)

func TestSRGBStaysAsItIs(t *testing.T) {
	tr, err := Parse(srgb)
	if err != nil || !tr.same {
		t.Fatalf("%v", err)
	}
	img := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	copy(img.Pix, []byte{1, 2, 3, 4})
	if tr.NRGBA(img); string(img.Pix) != "\x01\x02\x03\x04" {
		t.Errorf("%v", img.Pix)
	}
}

// Against the matrix from one light to the other that CSS Color 4 gives.
func TestDisplayP3(t *testing.T) {
	tr, err := Parse(displayP3)
	if err != nil || tr.same {
		t.Fatalf("same %v, %v", tr.same, err)
	}
	light := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	sample := func(x float64) float64 {
		x = min(max(x, 0), 1)
		if x <= 0.0031308 {
			return 255 * 12.92 * x
		}
		return 255 * (1.055*math.Pow(x, 1/2.4) - 0.055)
	}
	for _, c := range [][3]uint8{{255, 255, 255}, {0, 0, 0}, {128, 128, 128}, {255, 0, 0}, {200, 100, 50}, {30, 140, 90}, {90, 60, 220}} {
		r, g, b := light(c[0]), light(c[1]), light(c[2])
		want := [3]float64{
			sample(1.2249402*r - 0.2249402*g), sample(-0.0420569*r + 1.0420569*g),
			sample(-0.0196376*r - 0.0786361*g + 1.0982735*b),
		}
		x, y, z := tr.RGB(c[0], c[1], c[2])
		for i, got := range []uint8{x, y, z} {
			if off := math.Abs(float64(got) - want[i]); off > 1.5 {
				t.Errorf("%v: sample %d is %d, want %.1f", c, i, got, want[i])
			}
		}
	}
}

// Primaries that change places change the colours.
func TestSwapped(t *testing.T) {
	tr, err := Parse(matrixProfile([3]float64{0.14307, 0.06061, 0.71410}, [3]float64{0.38515, 0.71687, 0.09708},
		[3]float64{0.43607, 0.22249, 0.01392}, srgbCurve()))
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	copy(img.Pix, []byte{255, 0, 0, 255, 255, 0, 0, 7})
	tr.NRGBA(img)
	for _, p := range [][]uint8{img.Pix[:4], img.Pix[4:]} {
		if p[0] > 3 || p[1] > 3 || p[2] < 252 {
			t.Errorf("red became %v", p)
		}
	}
	if img.Pix[7] != 7 {
		t.Error("transparency changed")
	}
}

func TestGrey(t *testing.T) {
	tr, err := Parse(profile("GRAY", "XYZ ", map[string][]byte{"kTRC": gamma(1)}))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b := tr.RGB(55, 55, 55); r != 128 && r != 127 || g != r || b != r { // 0.2157 of the light
		t.Errorf("%d %d %d", r, g, b)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, p := range map[string][]byte{
		"nothing": nil, "too short": srgb[:140], "no profile": make([]byte, 300),
		"no curve":  matrixProfile([3]float64{1}, [3]float64{1}, [3]float64{1}, []byte("what is it?!")),
		"two tones": matrixProfile([3]float64{1}, [3]float64{1}, [3]float64{1}, []byte("curv\x00\x00\x00\x00\x00\x00\x00\x09ab")),
	} {
		if _, err := Parse(p); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := Parse(profile("CMYK", "Lab ", map[string][]byte{"A2B0": make([]byte, 40)})); !errors.Is(err, ErrKind) {
		t.Errorf("a press: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(srgb)
	f.Add(displayP3)
	f.Add(profile("GRAY", "XYZ ", map[string][]byte{"kTRC": gamma(2.2)}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if tr, err := Parse(data); err == nil {
			tr.RGB(1, 2, 3)
			tr.NRGBA(image.NewNRGBA(image.Rect(0, 0, 2, 2)))
		}
	})
}
