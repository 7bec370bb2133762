package jpeg

// turn is what makes a picture upright: mirrored first, then reflected at the
// diagonal, so that rows become columns.
type turn struct{ mirrorX, mirrorY, transpose bool }

// turns are what each value of EXIF's orientation asks for (CIPA DC-008, section
// 4.6.4 A). Those there are no values for are upright.
var turns = [16]turn{
	2: {mirrorX: true},
	3: {mirrorX: true, mirrorY: true},
	4: {mirrorY: true},
	5: {transpose: true},
	6: {mirrorY: true, transpose: true},
	7: {mirrorX: true, mirrorY: true, transpose: true},
	8: {mirrorX: true, transpose: true},
}

// transposed returns the plane reflected at the diagonal. It goes in squares
// whose lines stay in the processor's first cache.
func transposed(p *Plane) Plane {
	const side = 32
	out := newPlane(p.Height, p.Width, p.ExtentY, p.ExtentX)
	for top := 0; top < p.Height; top += side {
		for left := 0; left < p.Width; left += side {
			for y := top; y < min(top+side, p.Height); y++ {
				row := p.row(y)
				for x := left; x < min(left+side, p.Width); x++ {
					out.Pix[x*out.Stride+y] = row[x]
				}
			}
		}
	}
	return out
}
