package jpeg

import (
	"context"
	"math/bits"
	"slices"
)

// Progressive files send each coefficient in several scans: first the upper
// bits, then one more bit at a time, and bands of frequencies apart (T.81, annex
// G). All scans must be read before a block can be transformed, so that the
// coefficients of the whole picture are to be kept.
//
// Of those that the reduced picture has no use for, one thing matters still: a
// refining scan has a bit for each coefficient that is not zero so far, and none
// for the others. One bit in a mask of 64 says so. With four coefficients kept
// of each block, at 1/4, a block takes 16 bytes instead of 128.

// progressiveBlock decodes what a scan has of one block.
func (s *scan) progressiveBlock(part *scanPart, block int) bool {
	switch {
	case s.start == 0 && s.high == 0:
		return s.firstDC(part, block)
	case s.start == 0:
		if s.bits.bit() {
			part.coefficients[block*part.kept()] |= 1 << s.low
		}
		return true
	case s.high == 0:
		return s.firstAC(part, block)
	}
	return s.refineAC(part, block)
}

// firstDC decodes the upper bits of a DC coefficient (T.81, G.1.2.1).
func (s *scan) firstDC(part *scanPart, block int) bool {
	size, ok := s.bits.symbol(part.dc)
	if !ok || size > 15 {
		return false
	}
	part.prediction = int32(int16(part.prediction + s.bits.signed(int(size))))
	part.coefficients[block*part.kept()] = int16(part.prediction << s.low)
	return true
}

// firstAC decodes the upper bits of a band (T.81, G.1.2.2).
func (s *scan) firstAC(part *scanPart, block int) bool {
	if s.endOfBand > 0 {
		s.endOfBand--
		return true
	}
	kept := part.coefficients[block*part.kept():][:part.kept()]
	for k := s.start; k <= s.end; k++ {
		symbol, ok := s.bits.symbol(part.ac)
		if !ok {
			return false
		}
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 && run < 15 {
			s.endOfBand = 1<<run + int(s.bits.bits(run)) - 1
			break
		}
		k += run
		if size == 0 {
			continue
		}
		value := s.bits.signed(size)
		if k > s.end {
			return false
		}
		part.nonzero[block] |= 1 << k
		if at := part.place[k]; at < spare {
			kept[at] = int16(value << s.low)
		}
	}
	return true
}

// refineAC decodes one more bit of a band (T.81, G.1.2.3).
func (s *scan) refineAC(part *scanPart, block int) bool {
	kept := part.coefficients[block*part.kept():][:part.kept()]
	k := s.start
	for s.endOfBand == 0 && k <= s.end {
		symbol, ok := s.bits.symbol(part.ac)
		if !ok {
			return false
		}
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 && run < 15 {
			s.endOfBand = 1<<run + int(s.bits.bits(run))
			break
		}
		value := int16(-1)
		if size != 0 && s.bits.bit() {
			value = 1
		}
		k = s.refineRun(part, block, kept, k, run)
		if size != 0 {
			if k > s.end {
				return false
			}
			part.nonzero[block] |= 1 << k
			if at := part.place[k]; at < spare {
				kept[at] = value << s.low
			}
		}
		k++
	}
	if s.endOfBand > 0 {
		s.endOfBand--
		s.refineRun(part, block, kept, k, 64)
	}
	return true
}

// refineRun refines the coefficients from k on that are not zero, going over as
// many that are. It returns the index of the zero behind those, or one behind
// the band.
func (s *scan) refineRun(part *scanPart, block int, kept []int16, k, zeros int) int {
	rest := part.nonzero[block] >> k
	for {
		step := bits.TrailingZeros64(rest) // zeros up to the next that is not
		if step > zeros {
			return min(k+zeros, s.end+1)
		}
		k += step
		if k > s.end {
			return s.end + 1
		}
		zeros -= step
		if s.bits.bit() {
			if at := part.place[k]; at < spare {
				refine(&kept[at], 1<<s.low)
			}
		}
		k++
		rest >>= step & 63
		rest >>= 1
	}
}

// refine adds a bit to a coefficient's magnitude, once.
func refine(c *int16, bit int16) {
	switch {
	case *c&bit != 0: // damaged: it has that bit already
	case *c >= 0:
		*c += bit
	default:
		*c -= bit
	}
}

// neededScans says which scans of the file bear on the coefficients that are
// kept, going from the last to the first: a refining scan needs to know of its
// whole band what is zero, and so all scans before it that have some of it. A
// picture at 1/8 needs those of DC alone.
func (d *decoder) neededScans(data []byte) []bool {
	var scans []*scan
	for marker, segment := range Segments(data) {
		if marker != markerSOS || len(scans) == maxScans {
			continue
		}
		if s, err := d.parseScan(segment); err == nil {
			scans = append(scans, s)
		}
	}
	var wanted [4]uint64 // coefficients of each component
	for i := range d.components {
		for k, at := range places[d.components[i].shift][:64] {
			if at < spare {
				wanted[i] |= 1 << k
			}
		}
	}
	needed := make([]bool, len(scans))
	for i, s := range slices.Backward(scans) {
		band := (^uint64(0) >> (63 - s.end)) &^ (1<<s.start - 1)
		for _, part := range s.parts {
			at := part.index
			if wanted[at]&band == 0 {
				continue
			}
			needed[i] = true
			if s.high > 0 {
				wanted[at] |= band
			}
		}
	}
	return needed
}

// reconstruct transforms all blocks.
func (d *decoder) reconstruct(ctx context.Context) error {
	var block [64]int32
	for i := range d.components {
		c := &d.components[i]
		if c.quantization == nil {
			continue
		}
		kept := c.kept()
		var table [64]int32
		for k, at := range c.place[:64] {
			if at < spare {
				table[at] = int32(c.quantization[k])
			}
		}
		for y := range c.blocksY {
			if err := ctx.Err(); err != nil {
				return err
			}
			for x := range c.blocksX {
				at := y*c.blocksX + x
				for j, v := range c.coefficients[at*kept:][:kept] {
					block[j] = int32(v) * table[j]
				}
				c.reconstruct(&block, bits.Len64(c.nonzero[at]|1)-1, x, y)
			}
		}
	}
	return nil
}
