// Package icc converts pixels from the colours of an ICC profile to sRGB, so that
// they look the same without the profile. It knows profiles of screens and
// cameras, which consist of a matrix and curves (ICC.1:2022, sections 8.3.3 and
// F.3), and those of greys; of others, such as those of presses, it says so.
package icc

import (
	"encoding/binary"
	"errors"
	"image"
	"math"
)

// Transform converts from one profile to sRGB.
type Transform struct {
	curves [3][256]float32 // from a sample to light, 0 to 1
	matrix [3][3]float32   // from the profile's light to that of sRGB
	grey   bool
	same   bool
}

var (
	errProfile = errors.New("the ICC profile is damaged")
	// ErrKind is the error of a profile that is not made of a matrix and curves.
	ErrKind = errors.New("the ICC profile is of another kind than a matrix and curves")
)

// Parse reads a profile.
func Parse(profile []byte) (*Transform, error) {
	if len(profile) < 132 || string(profile[36:40]) != "acsp" {
		return nil, errProfile
	}
	t := &Transform{}
	space, connection := string(profile[16:20]), string(profile[20:24])
	if space == "GRAY" && tag(profile, "kTRC") != nil {
		t.grey = true
		if !readCurve(tag(profile, "kTRC"), &t.curves[0]) {
			return nil, errProfile
		}
		t.same = t.isSame()
		return t, nil
	}
	if space != "RGB " || connection != "XYZ " {
		return nil, ErrKind
	}
	var toXYZ [3][3]float64
	for i, colour := range []string{"r", "g", "b"} {
		xyz, curve := tag(profile, colour+"XYZ"), tag(profile, colour+"TRC")
		if xyz == nil || curve == nil {
			return nil, ErrKind
		}
		if len(xyz) < 20 || !readCurve(curve, &t.curves[i]) {
			return nil, errProfile
		}
		for row := range 3 {
			toXYZ[row][i] = fixed(xyz[8+4*row:])
		}
	}
	for row := range 3 {
		for column := range 3 {
			sum := 0.0
			for i := range 3 {
				sum += fromXYZ[row][i] * toXYZ[i][column]
			}
			t.matrix[row][column] = float32(sum)
		}
	}
	t.same = t.isSame()
	return t, nil
}

// fromXYZ is from the connection space, whose white is D50, to the light of sRGB:
// the inverse of the matrix that sRGB's own profile has (ICC, "sRGB profiles").
var fromXYZ = [3][3]float64{
	{3.1341359, -1.6173863, -0.4906619},
	{-0.9787955, 1.9162544, 0.0334427},
	{0.0719554, -0.2289768, 1.4053860},
}

// tag returns the data of a tag, nil if it is not there (ICC.1, 7.3).
func tag(profile []byte, name string) []byte {
	n := min(binary.BigEndian.Uint32(profile[128:]), 200)
	for i := range uint64(n) {
		at := 132 + 12*i
		if at+12 > uint64(len(profile)) {
			return nil
		}
		entry := profile[at:]
		if string(entry[:4]) != name {
			continue
		}
		from := uint64(binary.BigEndian.Uint32(entry[4:]))
		to := from + uint64(binary.BigEndian.Uint32(entry[8:]))
		if to > uint64(len(profile)) || to-from < 8 {
			return nil
		}
		return profile[from:to]
	}
	return nil
}

// fixed reads an s15Fixed16Number.
func fixed(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) / 65536 }

// readCurve reads a curve of samples, a gamma or a formula (ICC.1, 10.6 and
// 10.18).
func readCurve(data []byte, curve *[256]float32) bool {
	if len(data) < 12 {
		return false
	}
	var f func(x float64) float64
	switch string(data[:4]) {
	case "curv":
		f = sampled(data)
	case "para":
		f = parametric(data)
	}
	if f == nil {
		return false
	}
	for i := range curve {
		v := f(float64(i) / 255)
		if math.IsNaN(v) {
			return false
		}
		curve[i] = float32(min(max(v, 0), 1))
	}
	return true
}

func sampled(data []byte) func(float64) float64 {
	n := int(min(binary.BigEndian.Uint32(data[8:]), 1<<16))
	values := data[12:]
	if len(values) < 2*n {
		return nil
	}
	switch n {
	case 0:
		return func(x float64) float64 { return x }
	case 1:
		gamma := float64(binary.BigEndian.Uint16(values)) / 256
		return func(x float64) float64 { return math.Pow(x, gamma) }
	}
	return func(x float64) float64 {
		place := x * float64(n-1)
		i := min(int(place), n-2)
		low := float64(binary.BigEndian.Uint16(values[2*i:])) / 65535
		high := float64(binary.BigEndian.Uint16(values[2*i+2:])) / 65535
		return low + (high-low)*(place-float64(i))
	}
}

// parametric returns one of the five formulas of parametricCurveType.
func parametric(data []byte) func(float64) float64 {
	kind := int(binary.BigEndian.Uint16(data[8:]))
	counts := []int{1, 3, 4, 5, 7}
	if kind >= len(counts) || len(data) < 12+4*counts[kind] {
		return nil
	}
	p := [7]float64{0, 1} // g a b c d e f
	for i := range counts[kind] {
		p[i] = fixed(data[12+4*i:])
	}
	g, a, b, c, d, e, f := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
	power := func(x float64) float64 { return math.Pow(max(a*x+b, 0), g) }
	switch kind {
	case 0:
		return power
	case 1, 2:
		if a == 0 {
			return nil
		}
		offset := 0.0
		if kind == 2 {
			offset = c
		}
		return func(x float64) float64 {
			if x >= -b/a {
				return power(x) + offset
			}
			return offset
		}
	}
	return func(x float64) float64 {
		if x >= d {
			return power(x) + e
		}
		return c*x + f
	}
}

// toSRGB gives the sample of a light in so many steps from 0 to 1: they are fine
// enough that no sample that was sRGB changes.
var toSRGB = func() (table [1<<14 + 1]uint8) {
	for i := range table {
		x := float64(i) / (1 << 14)
		if x <= 0.0031308 {
			x *= 12.92
		} else {
			x = 1.055*math.Pow(x, 1/2.4) - 0.055
		}
		table[i] = uint8(math.Round(255 * x))
	}
	return table
}()

// encode returns the sample of a light.
func encode(light float32) uint8 {
	return toSRGB[int(min(max(light, 0), 1)*(1<<14)+0.5)]
}

// RGB converts one colour. A grey one has three equal samples.
func (t *Transform) RGB(r, g, b uint8) (uint8, uint8, uint8) {
	if t.grey {
		v := encode(t.curves[0][r])
		return v, v, v
	}
	x, y, z, m := t.curves[0][r], t.curves[1][g], t.curves[2][b], &t.matrix
	return encode(m[0][0]*x + m[0][1]*y + m[0][2]*z),
		encode(m[1][0]*x + m[1][1]*y + m[1][2]*z),
		encode(m[2][0]*x + m[2][1]*y + m[2][2]*z)
}

// NRGBA converts all pixels in place. A profile that is sRGB's changes none.
func (t *Transform) NRGBA(img *image.NRGBA) {
	if t.same {
		return
	}
	last, converted := [3]uint8{}, [3]uint8{}
	converted[0], converted[1], converted[2] = t.RGB(0, 0, 0)
	for y := range img.Rect.Dy() {
		row := img.Pix[y*img.Stride:][:4*img.Rect.Dx()]
		for ; len(row) >= 4; row = row[4:] {
			if c := [3]uint8(row); c != last { // neighbours are often the same
				last = c
				converted[0], converted[1], converted[2] = t.RGB(c[0], c[1], c[2])
			}
			copy(row, converted[:])
		}
	}
}

// isSame reports whether nothing visible changes: profiles of sRGB differ from it
// by their rounding.
func (t *Transform) isSame() bool {
	const step, tolerance = 51, 2
	off := func(a, b uint8) bool { return max(a, b)-min(a, b) > tolerance }
	for r := 0; r < 256; r += step {
		for g := 0; g < 256; g += step {
			for b := 0; b < 256; b += step {
				c := [3]uint8{uint8(r), uint8(g), uint8(b)}
				if t.grey {
					c = [3]uint8{uint8(r), uint8(r), uint8(r)}
				}
				x, y, z := t.RGB(c[0], c[1], c[2])
				if off(x, c[0]) || off(y, c[1]) || off(z, c[2]) {
					return false
				}
			}
		}
	}
	return true
}
