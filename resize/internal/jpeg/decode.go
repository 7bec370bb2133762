package jpeg

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
)

const (
	// maxScans is how many scans are read. Each makes the decoder walk the picture
	// again for as little as some dozen bytes; the usual script for progressive
	// files has ten.
	maxScans = 100
	// maxVisits is how often each block may be visited by all scans together,
	// where the picture has more than smallWork visits in it. Ten scans of the usual
	// script visit a block of luminance six times.
	maxVisits = 32
	smallWork = 8 << 20
	// maxTables is how many tables are read. Encoders that make the best ones for
	// each scan write as many as four for it.
	maxTables = 4 * maxScans
	// How many decisions of arithmetic coding are decoded, by the blocks and by the
	// bytes of the file. Photographs take 10 to 100 for a block, and 8 to 12 for a
	// byte.
	decisionsPerBlock = 100
	decisionsPerByte  = 12
)

// decoder holds what the segments of a file have said so far.
type decoder struct {
	frame
	quantization [4]*[64]uint16 // in zigzag order
	dc, ac       [4]*huffman
	restart      int // units between restart markers; 0: none
	jfif, adobe  bool
	transform    byte // Adobe's
	scans        int
	visits       int64 // of blocks, by all scans
	conditioning conditioning
	decisions    int64 // of arithmetic coding that may still be decoded
	tables       int   // that were read
	all          bool  // scans are read that the reduced picture has no use for
	needed       []bool
	damaged      bool
}

// Decode decodes a file to planes at least as large as asked: luma is for the
// first component and, where the picture has no luminance, for all; chroma is
// for the other components. Planes are the smallest of 1/1, 1/2, 1/4 and 1/8 of
// what the file has, and the whole of it where it has less than was asked.
//
// The error wraps the context's where that ended; all others say why nothing can
// be read of the file.
func Decode(ctx context.Context, data []byte, luma, chroma image.Point) (*Picture, error) {
	d := &decoder{}
	if err := d.readFile(ctx, data, luma, chroma); err != nil {
		return nil, err
	}
	if d.progressive {
		if err := d.reconstruct(ctx); err != nil {
			return nil, err
		}
	}
	return d.picture(), nil
}

// Check reports whether all of a file can be read, those scans too that a reduced
// picture would have no use for. It allocates as much as a Decode that asks for no
// size. Errors are those of Decode.
func Check(ctx context.Context, data []byte) (whole bool, err error) {
	d := &decoder{all: true}
	if err := d.readFile(ctx, data, image.Point{}, image.Point{}); err != nil {
		return false, err
	}
	return !d.picture().Damaged, nil
}

// readFile reads the segments of a file.
func (d *decoder) readFile(ctx context.Context, data []byte, luma, chroma image.Point) error {
	d.standardHuffman()
	d.conditioning = standardConditioning
	ended := false
	for marker, segment := range Segments(data) {
		err := d.segment(ctx, data, marker, segment, luma, chroma)
		if err != nil && (d.scans == 0 || ctx.Err() != nil) {
			return err
		}
		if err != nil { // what was read before it is a picture still
			d.damaged = true
			break
		}
		ended = marker == markerEOI
		if d.scans == maxScans {
			break
		}
	}
	if !slices.ContainsFunc(d.components, func(c component) bool { return c.seen }) {
		return errors.New("the JPEG has no picture in it that can be read")
	}
	// Without its end, what else a sequential file lacks is known; of a progressive
	// one it may be any number of scans, and arithmetic coding reads on in zeros.
	d.damaged = d.damaged || (d.progressive || d.arithmeticCoding) && !ended
	return nil
}

// Memory returns how many bytes [Decode] allocates for planes and coefficients of
// a file, which it reads up to the first scan; 0 where it finds no picture.
func Memory(data []byte, luma, chroma image.Point) int64 {
	d := &decoder{}
	for marker, segment := range Segments(data) {
		if isFrameHeader(marker) && d.readFrame(marker, segment) != nil || marker == markerSOS || d.components != nil {
			break
		}
	}
	d.reduce(luma, chroma)
	total := int64(0)
	for i := range d.components {
		c := &d.components[i]
		size := int64(c.kept())
		if d.progressive {
			size += 2*size + 8
		}
		total += size * int64(c.blocksX) * int64(c.blocksY)
	}
	return total
}

// segment takes in one segment.
func (d *decoder) segment(ctx context.Context, data []byte, marker byte, segment []byte, luma, chroma image.Point) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("decode JPEG: %w", err)
	}
	switch {
	case marker == markerDQT:
		return d.readQuantization(segment[4:])
	case marker == markerDHT:
		return d.readHuffman(segment[4:])
	case marker == markerDAC:
		return d.readConditioning(segment[4:])
	case marker == markerDRI && len(segment) >= 6:
		d.restart = int(segment[4])<<8 | int(segment[5])
	case marker == markerAPP0 && len(segment) >= 9 && string(segment[4:9]) == "JFIF\x00":
		d.jfif = true
	case marker == markerAPP0+14 && len(segment) >= 16 && string(segment[4:9]) == "Adobe":
		d.adobe, d.transform = true, segment[15]
	case isFrameHeader(marker) && d.components == nil:
		if err := d.readFrame(marker, segment); err != nil {
			return err
		}
	case marker == markerSOS:
		if d.components == nil {
			return errors.New("the JPEG has a scan before its frame header")
		}
		if d.components[0].pix == nil {
			d.reduce(luma, chroma)
			if d.progressive && !d.all {
				d.needed = d.neededScans(data)
			}
			d.allocate()
			d.decisions = decisionsPerBlock*d.blocks() + decisionsPerByte*int64(len(data))
		}
		return d.readScan(ctx, segment)
	}
	return nil
}

// readScan decodes one scan. Damage ends the scan and is noted.
func (d *decoder) readScan(ctx context.Context, segment []byte) error {
	s, err := d.parseScan(segment)
	if err != nil {
		d.damaged = true
		return nil //nolint:nilerr // a scan that says nonsense is passed over like one that was lost
	}
	d.scans++
	if d.needed != nil && (d.scans > len(d.needed) || !d.needed[d.scans-1]) {
		return nil
	}
	if err := s.decode(ctx); err != nil {
		return fmt.Errorf("decode JPEG: %w", err)
	}
	d.decisions -= s.arithmetic.steps
	return nil
}

// reduce chooses by how much each component is reduced.
func (d *decoder) reduce(luma, chroma image.Point) {
	colour := d.colour()
	for i := range d.components {
		c, want := &d.components[i], luma
		if i > 0 && (colour == YCbCr || colour == InvertedYCCK && i < 3) {
			want = chroma
		}
		for c.shift = 3; c.shift > 0; c.shift-- {
			if shifted(c.width, c.shift) >= want.X && shifted(c.height, c.shift) >= want.Y {
				break
			}
		}
	}
}

// shifted divides by a power of two, rounding up.
func shifted(n int, shift uint) int { return (n + 1<<shift - 1) >> shift }

// allocate makes the planes, grey, and in progressive files the coefficients.
func (d *decoder) allocate() {
	for i := range d.components {
		c := &d.components[i]
		c.stride = c.blocksX * 8 >> c.shift
		c.pix = make([]uint8, c.stride*(c.blocksY*8>>c.shift))
		c.pix[0] = 128
		for filled := 1; filled < len(c.pix); filled *= 2 {
			copy(c.pix[filled:], c.pix[:filled])
		}
		c.place = &places[c.shift]
		if d.progressive {
			blocks := c.blocksX * c.blocksY
			c.coefficients = make([]int16, blocks*c.kept())
			c.nonzero = make([]uint64, blocks)
		}
	}
}

// picture returns the planes, without what fills up the last blocks.
func (d *decoder) picture() *Picture {
	p := &Picture{Colour: d.colour(), Damaged: d.damaged}
	for i := range d.components {
		c := &d.components[i]
		if !c.seen {
			p.Damaged = true
		}
		scale := float64(int(1) << c.shift)
		p.Planes = append(p.Planes, Plane{
			Pix: c.pix, Stride: c.stride,
			Width: shifted(c.width, c.shift), Height: shifted(c.height, c.shift),
			ExtentX: float64(d.width*c.h) / float64(d.hMax) / scale,
			ExtentY: float64(d.height*c.v) / float64(d.vMax) / scale,
		})
	}
	return p
}

// colour says what the components are, none being grey too. JFIF has YCbCr only (T.871); Adobe's
// segment says (Adobe Technical Note 5116, section 18); without either, RGB is
// told by the components' names.
func (d *decoder) colour() Colour {
	switch len(d.components) {
	case 0, 1:
		return Grey
	case 3:
		c := d.components
		named := c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B'
		if !d.jfif && (d.adobe && d.transform == 0 || !d.adobe && named) {
			return RGB
		}
		return YCbCr
	}
	switch {
	case !d.adobe:
		return CMYK
	case d.transform == 0:
		return InvertedCMYK
	}
	return InvertedYCCK
}
