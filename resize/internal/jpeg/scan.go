package jpeg

import (
	"context"
	"encoding/binary"
	"errors"
)

// scan is one scan: the components it has, and of progressive files which
// coefficients and which of their bits (T.81, B.2.3).
type scan struct {
	*decoder
	bits       bitReader
	parts      []scanPart
	start, end int // first and last coefficient in zigzag order
	high, low  uint
	endOfBand  int        // blocks that have nothing more in this band, still to come
	block      [128]int32 // and behind 64 what is not kept
	arithmetic arithmetic
}

// scanPart is a component in a scan, with its tables.
type scanPart struct {
	*component
	index            int // of the component
	dc, ac           *huffman
	dcTable, acTable uint8 // of arithmetic coding
	context          int   // of the difference of DC, by the one before
}

var errScan = errors.New("the header of a scan is damaged")

// parseScan reads the header of a scan. Tables are those that are defined now.
func (d *decoder) parseScan(segment []byte) (*scan, error) {
	if len(segment) < 5 || len(segment) < 8+2*int(segment[4]) {
		return nil, errScan
	}
	length := 2 + int(binary.BigEndian.Uint16(segment[2:]))
	n := int(segment[4])
	if n < 1 || n > len(d.components) || length < 8+2*n {
		return nil, errScan
	}
	s := &scan{decoder: d, bits: bitReader{data: segment[length:]}, end: 63}
	taken := 0
	for i := range n {
		selector, tables := segment[5+2*i], segment[6+2*i]
		at := d.componentNamed(selector, taken)
		if at < 0 || tables>>4 > 3 || tables&15 > 3 {
			return nil, errScan
		}
		taken |= 1 << at
		s.parts = append(s.parts, scanPart{
			component: &d.components[at], index: at,
			dc: d.dc[tables>>4], ac: d.ac[tables&15], dcTable: tables >> 4, acTable: tables & 15,
		})
	}
	if d.progressive {
		tail := segment[5+2*n:]
		s.start, s.end = int(tail[0]), int(tail[1])
		s.high, s.low = uint(tail[2]>>4), uint(tail[2]&15)
		// T.81, G.1.1.1: DC and AC apart, AC of one component alone, and each scan one
		// bit finer than the one before.
		if s.high > 0 && s.high != s.low+1 || s.start > s.end || s.end > 63 || s.low > 13 || s.start == 0 && s.end != 0 || s.start > 0 && n > 1 {
			return nil, errScan
		}
	}
	return s, nil
}

// componentNamed returns which component has that name and is not taken yet, -1
// if none has.
func (d *decoder) componentNamed(id byte, taken int) int {
	for i := range d.components {
		if d.components[i].id == id && taken>>i&1 == 0 {
			return i
		}
	}
	return -1
}

// decode decodes the scan. Its error is the context's.
//
// The coded data consists of intervals, each with its own beginning of
// everything, which end at restart markers (T.81, E.2.4 and F.2.1.3.1). What is
// damaged in an interval is given up to its end; without such markers there is
// one interval.
func (s *scan) decode(ctx context.Context) error {
	total := s.columns() * s.rows()
	if !s.begin(total) {
		return nil
	}
	interval := s.restart
	if interval == 0 {
		interval = total
	}
	for index := 0; index*interval < total; {
		for i := range s.parts {
			s.parts[i].prediction, s.parts[i].context = 0, 0
		}
		s.endOfBand = 0
		if s.arithmeticCoding {
			s.arithmetic.bits = &s.bits
			s.arithmetic.beginInterval()
		}
		ok, err := s.decodeInterval(ctx, index*interval, min((index+1)*interval, total))
		if err != nil {
			return err
		}
		if !ok {
			s.damaged = true
		}
		if (index+1)*interval >= total {
			break
		}
		lost, ok := s.bits.nextRestart(index & 7)
		if !ok || lost > 0 {
			s.damaged = true
		}
		if !ok {
			break
		}
		index += 1 + lost
	}
	return nil
}

// begin notes that a scan begins. It reports false where the file has had more
// work done on it than is sensible, or a table is missing.
func (s *scan) begin(total int) bool {
	for _, part := range s.parts {
		if part.quantization == nil {
			part.quantization = s.quantization[part.table]
		}
		noTable := !s.arithmeticCoding && (s.start == 0 && s.high == 0 && part.dc == nil || s.end > 0 && part.ac == nil)
		if part.quantization == nil || noTable {
			s.damaged = true
			return false
		}
		part.seen = true
		s.visits += int64(total) * int64(s.perUnit(part))
	}
	if s.visits > smallWork && s.visits > maxVisits*s.blocks() {
		s.damaged = true
		return false
	}
	return true
}

// columns and rows return the number of units, which are single blocks in a scan
// of one component (T.81, A.2.2 and A.2.3).
func (s *scan) columns() int {
	if len(s.parts) == 1 {
		return s.parts[0].ownX
	}
	return s.unitsX
}

func (s *scan) rows() int {
	if len(s.parts) == 1 {
		return s.parts[0].ownY
	}
	return s.unitsY
}

// perUnit returns how many blocks of a component are in a unit.
func (s *scan) perUnit(part scanPart) int {
	if len(s.parts) == 1 {
		return 1
	}
	return part.h * part.v
}

// decodeInterval decodes units and reports whether all were right.
func (s *scan) decodeInterval(ctx context.Context, from, to int) (bool, error) {
	columns := s.columns()
	for unit := from; unit < to; unit++ {
		y, x := unit/columns, unit%columns
		if x == 0 || unit == from {
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
		if !s.decodeUnit(x, y) || s.bits.overrun() || !s.worthwhile() {
			return false, nil
		}
	}
	return true, nil
}

// worthwhile reports whether arithmetic decoding may go on: few bytes can be made
// to last for any number of decisions.
func (s *scan) worthwhile() bool {
	return s.arithmetic.steps <= s.decisions
}

// decodeUnit decodes the blocks of a unit.
func (s *scan) decodeUnit(x, y int) bool {
	if len(s.parts) == 1 {
		return s.decodeBlock(&s.parts[0], x, y)
	}
	for i := range s.parts {
		part := &s.parts[i]
		for v := range part.v {
			for h := range part.h {
				if !s.decodeBlock(part, x*part.h+h, y*part.v+v) {
					return false
				}
			}
		}
	}
	return true
}

// decodeBlock decodes one block, and reconstructs it where it is complete.
func (s *scan) decodeBlock(part *scanPart, x, y int) bool {
	if s.arithmeticCoding {
		return s.arithmeticBlock(part, x, y)
	}
	if s.progressive {
		return s.progressiveBlock(part, y*part.blocksX+x)
	}
	last, ok := s.sequentialBlock(part)
	if !ok {
		return false
	}
	part.reconstruct((*[64]int32)(s.block[:]), last, x, y)
	return true
}
