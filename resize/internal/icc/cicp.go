package icc

import "math"

// Primaries returns the transform from colours that a file declares by their number
// instead of a profile (ITU-T H.273, table 2), with the curve of sRGB: Display P3
// (11 and 12, whose whites are taken for the same) and BT.2020 (9). It is nil for
// those of sRGB, and for what is not declared.
func Primaries(number uint16) *Transform {
	t := &Transform{}
	switch number {
	case 9: // ITU-R BT.2087-0, section 4.3, inverted
		t.matrix = [3][3]float32{
			{1.6604910, -0.5876411, -0.0728499},
			{-0.1245505, 1.1328999, -0.0083494},
			{-0.0181508, -0.1005789, 1.1187297},
		}
	case 11, 12: // SMPTE EG 432-1 with the white of D65, through XYZ
		t.matrix = [3][3]float32{
			{1.2249402, -0.2249402, 0},
			{-0.0420570, 1.0420570, 0},
			{-0.0196376, -0.0786361, 1.0982737},
		}
	default:
		return nil
	}
	for i := range t.curves[0] {
		x := float64(i) / 255
		if x <= 0.04045 {
			x /= 12.92
		} else {
			x = math.Pow((x+0.055)/1.055, 2.4)
		}
		for k := range t.curves {
			t.curves[k][i] = float32(x)
		}
	}
	return t
}
