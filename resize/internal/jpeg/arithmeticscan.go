package jpeg

import (
	"errors"
	"math/bits"
)

// arithmetic is what a scan of arithmetic coding has learned of its data (T.81,
// F.1.4 and G.1.3): for each table, an estimate for each decision in its context.
type arithmetic struct {
	arithmeticReader
	dc [4][64]estimate
	ac [4][256]estimate
}

// conditioning is what contexts depend on (T.81, B.2.4.3): of differences of DC
// which are small and which large, of AC up to which coefficient they are low.
type conditioning struct {
	small, large [4]uint8
	low          [4]uint8
}

var standardConditioning = conditioning{large: [4]uint8{1, 1, 1, 1}, low: [4]uint8{5, 5, 5, 5}}

// readConditioning reads a segment of conditioning.
func (d *decoder) readConditioning(b []byte) error {
	for ; len(b) >= 2; b = b[2:] {
		table, v := b[0]&15, b[1]
		switch {
		case table < 4 && b[0]>>4 == 0 && v&15 <= v>>4:
			d.conditioning.small[table], d.conditioning.large[table] = v&15, v>>4
		case table < 4 && b[0]>>4 == 1 && v >= 1 && v <= 63:
			d.conditioning.low[table] = v
		default:
			return errors.New("a table of arithmetic conditioning of the JPEG is damaged")
		}
	}
	return nil
}

// begin begins an interval: nothing is known of its data.
func (a *arithmetic) beginInterval() {
	clear(a.dc[:])
	clear(a.ac[:])
	a.begin()
}

// arithmeticBlock decodes what a scan has of a block.
func (s *scan) arithmeticBlock(part *scanPart, x, y int) bool {
	if !s.progressive {
		last, ok := s.arithmeticSequential(part)
		if ok {
			part.reconstruct((*[64]int32)(s.block[:]), last, x, y)
		}
		return ok
	}
	block := y*part.blocksX + x
	switch {
	case s.start == 0 && s.high == 0:
		ok := s.arithmeticDC(part)
		part.coefficients[block*part.kept()] = int16(part.prediction << s.low)
		return ok
	case s.start == 0:
		bit := fixed
		if s.arithmetic.decide(&bit) {
			part.coefficients[block*part.kept()] |= 1 << s.low
		}
		return true
	case s.high == 0:
		kept := part.coefficients[block*part.kept():][:part.kept()]
		return s.arithmeticBand(part, func(k int, value int32) {
			part.nonzero[block] |= 1 << k
			if at := part.place[k]; at < spare {
				kept[at] = int16(value << s.low)
			}
		})
	}
	return s.arithmeticRefine(part, block)
}

// arithmeticSequential decodes a whole block, as [scan.sequentialBlock] does.
func (s *scan) arithmeticSequential(part *scanPart) (last int, ok bool) {
	if !s.arithmeticDC(part) {
		return 0, false
	}
	clear(s.block[:64])
	s.block[0] = part.prediction * int32(part.quantization[0])
	limit := lastPlace[part.shift]
	ok = s.arithmeticBand(part, func(k int, value int32) {
		s.block[part.place[k]] = value * int32(part.quantization[k])
		if k <= limit {
			last = k
		}
	})
	return last, ok
}

// arithmeticDC decodes a difference of DC coefficients (T.81, F.1.4.1 and figure
// F.19 to F.24).
func (s *scan) arithmeticDC(part *scanPart) bool {
	a, stats, conditions := &s.arithmetic, &s.arithmetic.dc[part.dcTable], &s.conditioning
	at := part.context
	if !a.decide(&stats[at]) {
		part.context = 0
		return true
	}
	negative := a.decide(&stats[at+1])
	at += 2
	if negative {
		at++
	}
	size := int32(0)
	if a.decide(&stats[at]) {
		size = 1
		for at = 20; a.decide(&stats[at]); at++ {
			if size <<= 1; size == 1<<15 {
				return false
			}
		}
	}
	sign := 0
	if negative {
		sign = 4
	}
	switch {
	case size < int32(1)<<conditions.small[part.dcTable]>>1:
		part.context = 0
	case size > int32(1)<<conditions.large[part.dcTable]>>1:
		part.context = 12 + sign
	default:
		part.context = 4 + sign
	}
	value := a.magnitude(size, &stats[min(at+14, 63)])
	if negative {
		value = -value
	}
	part.prediction = int32(int16(part.prediction + value))
	return true
}

// magnitude decodes the bits below the highest of a value (T.81, figure F.24).
func (a *arithmetic) magnitude(size int32, e *estimate) int32 {
	value := size
	for size >>= 1; size > 0; size >>= 1 {
		if a.decide(e) {
			value |= size
		}
	}
	return value + 1
}

// arithmeticBand decodes the AC coefficients of a scan (T.81, F.1.4.2 and figure
// F.20) and gives those that are not zero.
func (s *scan) arithmeticBand(part *scanPart, give func(k int, value int32)) bool {
	a, stats := &s.arithmetic, &s.arithmetic.ac[part.acTable]
	for k := max(s.start, 1); k <= s.end; k++ {
		if a.decide(&stats[3*(k-1)]) {
			return true
		}
		for !a.decide(&stats[3*(k-1)+1]) {
			if k++; k > s.end {
				return false
			}
		}
		sign := fixed
		negative := a.decide(&sign)
		at, size := 3*(k-1)+2, int32(0)
		if a.decide(&stats[at]) {
			size = 1
			if a.decide(&stats[at]) {
				size = 2
				at = 217
				if k <= int(s.conditioning.low[part.acTable]) {
					at = 189
				}
				for ; a.decide(&stats[at]); at++ {
					if size <<= 1; size == 1<<15 {
						return false
					}
				}
			}
		}
		value := a.magnitude(size, &stats[min(at+14, 255)])
		if negative {
			value = -value
		}
		give(k, value)
	}
	return true
}

// arithmeticRefine decodes one more bit of a band (T.81, G.1.3.3).
func (s *scan) arithmeticRefine(part *scanPart, block int) bool {
	a, stats := &s.arithmetic, &s.arithmetic.ac[part.acTable]
	kept := part.coefficients[block*part.kept():][:part.kept()]
	nonzero := &part.nonzero[block]
	known := bits.Len64(*nonzero&(^uint64(0)>>(63-s.end))) - 1 // the last that was not zero before
	for k := s.start; k <= s.end; k++ {
		if k > known && a.decide(&stats[3*(k-1)]) {
			return true
		}
		for *nonzero>>k&1 == 0 && !a.decide(&stats[3*(k-1)+1]) {
			if k++; k > s.end {
				return false
			}
		}
		at := part.place[k]
		if *nonzero>>k&1 != 0 {
			if a.decide(&stats[3*(k-1)+2]) && at < spare {
				refine(&kept[at], 1<<s.low)
			}
			continue
		}
		*nonzero |= 1 << k
		sign, value := fixed, int16(1)
		if a.decide(&sign) {
			value = -1
		}
		if at < spare {
			kept[at] = value << s.low
		}
	}
	return true
}
