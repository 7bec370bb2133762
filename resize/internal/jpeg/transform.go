package jpeg

import (
	"context"
	"fmt"
)

// transformed is a picture as the coefficients of its DCT, before quantisation,
// in zigzag order, block behind block as an interleaved scan has them (T.81,
// A.2.3). It does not depend on a quality, so that all are tried on the same one.
type transformed struct {
	components []sampled
	owners     []int    // component of each block of an MCU
	units      int      // MCUs
	blocks     []uint16 // 64 for each block
}

// sampled is a component as it is coded: its plane and its sampling factor, the
// same in both directions.
type sampled struct {
	*Plane
	factor int
}

// newTransformed transforms a picture that is grey, or YCbCr with colour of the
// full size (4:4:4) or of half of it in both directions (4:2:0). It asks the
// context for each row of MCUs.
func newTransformed(ctx context.Context, p *Picture) (*transformed, error) {
	t := &transformed{}
	largest := 1
	if p.Colour == YCbCr && (p.Planes[1].Width < p.Planes[0].Width || p.Planes[1].Height < p.Planes[0].Height) {
		largest = 2
	}
	for i := range p.Planes {
		factor := 1
		if i == 0 {
			factor = largest
		}
		t.components = append(t.components, sampled{&p.Planes[i], factor})
		for range factor * factor {
			t.owners = append(t.owners, i)
		}
	}
	columns := ceilDiv(p.Planes[0].Width, 8*largest)
	rows := ceilDiv(p.Planes[0].Height, 8*largest)
	t.units = columns * rows
	t.blocks = make([]uint16, 64*len(t.owners)*t.units)
	rest := t.blocks
	for y := range rows {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("encode JPEG: %w", err)
		}
		for x := range columns {
			for _, c := range t.components {
				for i := range c.factor * c.factor {
					fdct(c.Plane, x*c.factor+i%c.factor, y*c.factor+i/c.factor, (*[64]uint16)(rest))
					rest = rest[64:]
				}
			}
		}
	}
	return t, nil
}
