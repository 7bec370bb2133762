package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// frame is what the frame header says (T.81, B.2.2).
type frame struct {
	progressive      bool
	arithmeticCoding bool
	width, height    int
	hMax, vMax       int // largest sampling factors
	unitsX           int // units (MCUs) of interleaved scans in a row
	unitsY           int
	components       []component
}

// component is one component of the picture, and its planes.
type component struct {
	id            byte
	h, v          int   // sampling factors
	table         uint8 // quantization table's destination
	width, height int   // samples that belong to the picture (T.81, A.1.1)
	// Blocks that an interleaved scan has, and those of them that one of this
	// component alone has (T.81, A.2).
	blocksX, blocksY int
	ownX, ownY       int

	quantization *[64]uint16 // as it was when the first scan began
	seen         bool        // some scan had it
	shift        uint        // the plane is reduced by two to the power of this
	place        *[128]uint8
	pix          []uint8
	stride       int
	prediction   int32 // of the DC coefficient

	// Of progressive files: what is kept of the coefficients of each block, and
	// for all 64 whether they are zero so far, by their place in zigzag order.
	coefficients []int16
	nonzero      []uint64
}

// kept returns how many coefficients of a block the reduced plane has.
func (c *component) kept() int { return 64 >> (2 * c.shift) }

var errTables = fmt.Errorf("the JPEG has more than %d tables", maxTables)

var errFrame = errors.New("the JPEG's frame header is damaged")

// readFrame reads the frame header.
func (d *decoder) readFrame(marker byte, segment []byte) error {
	if marker > markerSOF2 && marker != markerSOF9 && marker != markerSOF10 {
		return errors.New("the JPEG's coding is not known: lossless or hierarchical")
	}
	if len(segment) < 10 || len(segment) < 10+3*int(segment[9]) {
		return errFrame
	}
	if segment[4] != 8 {
		return errors.New("the JPEG has not 8 bits to a sample")
	}
	f := frame{
		progressive:      marker == markerSOF2 || marker == markerSOF10,
		arithmeticCoding: marker >= markerSOF9,
		height:           int(binary.BigEndian.Uint16(segment[5:])),
		width:            int(binary.BigEndian.Uint16(segment[7:])),
	}
	n := int(segment[9])
	if f.width == 0 || f.height == 0 || n != 1 && n != 3 && n != 4 {
		return errFrame
	}
	for i := range n {
		spec := segment[10+3*i:]
		c := component{id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15), table: spec[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.table > 3 {
			return errFrame
		}
		f.hMax, f.vMax = max(f.hMax, c.h), max(f.vMax, c.v)
		f.components = append(f.components, c)
	}
	f.unitsX = ceilDiv(f.width, 8*f.hMax)
	f.unitsY = ceilDiv(f.height, 8*f.vMax)
	for i := range f.components {
		c := &f.components[i]
		c.width, c.height = ceilDiv(f.width*c.h, f.hMax), ceilDiv(f.height*c.v, f.vMax)
		c.ownX, c.ownY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.blocksX, c.blocksY = f.unitsX*c.h, f.unitsY*c.v
	}
	d.frame = f
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// blocks returns how many blocks the picture has.
func (f *frame) blocks() int64 {
	n := int64(0)
	for i := range f.components {
		n += int64(f.components[i].blocksX) * int64(f.components[i].blocksY)
	}
	return n
}

// readQuantization reads quantization tables (T.81, B.2.4.1).
func (d *decoder) readQuantization(b []byte) error {
	for len(b) > 0 {
		if d.tables++; d.tables > maxTables {
			return errTables
		}
		precision, destination := int(b[0]>>4), b[0]&15
		size := 64 << min(precision, 1)
		if precision > 1 || destination > 3 || len(b) < 1+size {
			return errors.New("a quantization table of the JPEG is damaged")
		}
		table := &[64]uint16{}
		for i := range table {
			if precision == 0 {
				table[i] = uint16(b[1+i])
			} else {
				table[i] = binary.BigEndian.Uint16(b[1+2*i:])
			}
		}
		d.quantization[destination] = table
		b = b[1+size:]
	}
	return nil
}

// readHuffman reads Huffman tables (T.81, B.2.4.2).
func (d *decoder) readHuffman(b []byte) error {
	for len(b) > 0 {
		if d.tables++; d.tables > maxTables {
			return errTables
		}
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return errors.New("a Huffman table of the JPEG is damaged")
		}
		counts, n := [16]uint8(b[1:17]), 0
		for _, count := range counts {
			n += int(count)
		}
		if n > 256 || len(b) < 17+n {
			return errors.New("a Huffman table of the JPEG is cut off")
		}
		h, err := newHuffman(&counts, b[17:17+n])
		if err != nil {
			return err
		}
		if b[0]>>4 == 0 {
			d.dc[b[0]&15] = h
		} else {
			d.ac[b[0]&15] = h
		}
		b = b[17+n:]
	}
	return nil
}

// standardHuffman sets the tables that a file may leave out.
func (d *decoder) standardHuffman() {
	for destination := range 2 {
		for class, tables := range [2]*[4]*huffman{&d.dc, &d.ac} {
			t := &standardTables[class][destination]
			h, err := newHuffman(&t.counts, []byte(t.values))
			if err != nil {
				panic(err) // the tables are constants
			}
			tables[destination] = h
		}
	}
}
