package jpeg

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// sample is a JPEG file made of random coefficients, in any coding that the
// standard allows: other encoders write few of them.
type sample struct {
	width, height int
	progressive   bool
	restart       int
	adobe         int // its transform; -1: no such segment
	jfif          bool
	components    []*sampleComponent
	scans         []sampleScan
}

// sampleComponent is a component with its coefficients in zigzag order, of all
// blocks that an interleaved scan has.
type sampleComponent struct {
	id               byte
	h, v             int
	table            int
	quantization     [64]uint16
	width, height    int
	blocksX, blocksY int
	blocks           [][64]int
}

// sampleScan is the script of one scan (T.81, B.2.3).
type sampleScan struct {
	components []int
	start, end int
	high, low  int
}

// sampleToken is a Huffman symbol and what follows it; a restart marker where
// symbol is restartToken, bits alone where it is bitsToken.
type sampleToken struct {
	table, symbol int
	extra         uint32
	count         int
}

const (
	bitsToken    = -1
	restartToken = -2
)

// newSample draws a file of that size and those sampling factors.
func newSample(r *rand.Rand, width, height int, factors [][2]int, progressive bool) *sample {
	s := &sample{width: width, height: height, progressive: progressive, adobe: -1, jfif: len(factors) < 4}
	if r.IntN(3) == 0 {
		s.restart = 1 + r.IntN(20)
	}
	hMax, vMax := 0, 0
	for _, f := range factors {
		hMax, vMax = max(hMax, f[0]), max(vMax, f[1])
	}
	unitsX, unitsY := ceilDiv(width, 8*hMax), ceilDiv(height, 8*vMax)
	for i, f := range factors {
		c := &sampleComponent{
			id: byte(i*3 + 1), h: f[0], v: f[1], table: min(i, 3),
			width: ceilDiv(width*f[0], hMax), height: ceilDiv(height*f[1], vMax),
			blocksX: unitsX * f[0], blocksY: unitsY * f[1],
		}
		c.draw(r)
		s.components = append(s.components, c)
	}
	s.scans = s.script(r)
	return s
}

// draw makes coefficients as photographs have them: a DC that wanders, fewer and
// smaller ones towards the higher frequencies.
func (c *sampleComponent) draw(r *rand.Rand) {
	for k := range c.quantization {
		c.quantization[k] = uint16(1 + r.IntN(4+k/2))
	}
	c.blocks = make([][64]int, c.blocksX*c.blocksY)
	dense := r.IntN(64)
	for i := range c.blocks {
		c.blocks[i][0] = (r.IntN(1600) - 800) / int(c.quantization[0])
		for k := 1; k < 64; k++ {
			if r.IntN(64) < dense && r.IntN(4+k) < 6 {
				size := 1 + 120/(1+k)
				c.blocks[i][k] = (r.IntN(2*size+1) - size) * r.IntN(3) / int(c.quantization[k])
			}
		}
	}
}

// script draws in which scans the file is sent.
func (s *sample) script(r *rand.Rand) (scans []sampleScan) {
	all := make([]int, len(s.components))
	units := 0
	for i, c := range s.components {
		all[i] = i
		units += c.h * c.v
	}
	together := [][]int{all}
	if units > 10 || r.IntN(3) == 0 { // T.81, B.2.3: a unit has ten blocks at most
		together = nil
		for i := range all {
			together = append(together, []int{i})
		}
	}
	if !s.progressive {
		for _, components := range together {
			scans = append(scans, sampleScan{components: components, end: 63})
		}
		return scans
	}
	low := r.IntN(3)
	for high := 0; ; high, low = low, low-1 {
		for _, components := range together {
			scans = append(scans, sampleScan{components: components, high: high, low: low})
		}
		if low == 0 {
			break
		}
	}
	for _, i := range all {
		for start := 1; start <= 63; {
			end := min(start+r.IntN(63), 63)
			low := r.IntN(4)
			scans = append(scans, sampleScan{[]int{i}, start, end, 0, low})
			for ; low > 0; low-- {
				scans = append(scans, sampleScan{[]int{i}, start, end, low, low - 1})
			}
			start = end + 1
		}
	}
	return scans
}

// file returns the coded file.
func (s *sample) file(r *rand.Rand) []byte {
	out := []byte{0xff, markerSOI}
	if s.jfif {
		out = append(out, jfifHeader...)
	}
	if s.adobe >= 0 {
		out = append(out, "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"...)
		out = append(out, byte(s.adobe))
	}
	for _, c := range s.components {
		out = append(out, 0xff, markerDQT, 0, 131, byte(0x10|c.table))
		for _, q := range c.quantization {
			out = binary.BigEndian.AppendUint16(out, q)
		}
	}
	marker := byte(markerSOF0 + 1) // extended sequential has four tables
	if s.progressive {
		marker = markerSOF2
	}
	out = append(out, 0xff, marker, 0, byte(8+3*len(s.components)), 8)
	out = binary.BigEndian.AppendUint16(out, uint16(s.height))
	out = binary.BigEndian.AppendUint16(out, uint16(s.width))
	out = append(out, byte(len(s.components)))
	for _, c := range s.components {
		out = append(out, c.id, byte(c.h<<4|c.v), byte(c.table))
	}
	if s.restart > 0 {
		out = append(out, 0xff, markerDRI, 0, 4, byte(s.restart>>8), byte(s.restart))
	}
	for _, scan := range s.scans {
		out = s.appendScan(out, r, scan)
	}
	return append(out, 0xff, markerEOI)
}

// appendScan appends the tables and the data of a scan. Codes are made for
// weights that have little to do with what occurs, so that long ones do.
func (s *sample) appendScan(out []byte, r *rand.Rand, scan sampleScan) []byte {
	tokens := s.tokens(scan)
	var weights [8][]uint32
	for _, t := range tokens {
		if t.symbol < 0 {
			continue
		}
		if weights[t.table] == nil {
			weights[t.table] = make([]uint32, symbols)
		}
		if w := &weights[t.table][t.symbol]; *w == 0 {
			*w = 1 << r.IntN(24)
		}
	}
	var codes [8]*code
	for i, w := range weights {
		if w == nil {
			continue
		}
		codes[i] = newCode(w)
		out = append(out, 0xff, markerDHT, byte((19+len(codes[i].values))>>8), byte(19+len(codes[i].values)), byte(i/4<<4|i%4))
		out = append(append(out, codes[i].counts[:]...), codes[i].values...)
	}
	n := len(scan.components)
	out = append(out, 0xff, markerSOS, 0, byte(6+2*n), byte(n))
	for _, i := range scan.components {
		out = append(out, s.components[i].id, byte(i<<4|i))
	}
	out = append(out, byte(scan.start), byte(scan.end), byte(scan.high<<4|scan.low))
	return appendTokens(out, tokens, &codes)
}

// appendTokens writes tokens bit by bit.
func appendTokens(out []byte, tokens []sampleToken, codes *[8]*code) []byte {
	current, n := 0, 0
	put := func(v uint32, count int) {
		for i := count - 1; i >= 0; i-- {
			current = current<<1 | int(v>>i&1)
			if n++; n < 8 {
				continue
			}
			out = append(out, byte(current))
			if byte(current) == 0xff {
				out = append(out, 0)
			}
			current, n = 0, 0
		}
	}
	pad := func() {
		for n > 0 {
			put(1, 1)
		}
	}
	for _, t := range tokens {
		if t.symbol == restartToken {
			pad()
			out = append(out, 0xff, byte(markerRST0+t.extra&7))
			continue
		}
		if t.symbol >= 0 {
			c := codes[t.table]
			put(uint32(c.bits[t.symbol]), int(c.length[t.symbol]))
		}
		put(t.extra, t.count)
	}
	pad()
	return out
}

// tokenizer makes the tokens of a scan.
type tokenizer struct {
	sampleScan
	out         []sampleToken
	progressive bool
	table       int    // of AC
	run         int    // blocks that have ended (T.81, G.1.2.2)
	late        []bool // bits of refinement that follow when the run is written
}

// tokens returns the tokens of a scan.
func (s *sample) tokens(scan sampleScan) []sampleToken {
	z := &tokenizer{sampleScan: scan, progressive: s.progressive}
	var predictions [4]int
	units := 0
	unit := func(visit func()) {
		if s.restart > 0 && units > 0 && units%s.restart == 0 {
			z.endRun()
			z.out = append(z.out, sampleToken{symbol: restartToken, extra: uint32(units/s.restart - 1)})
			predictions = [4]int{}
		}
		visit()
		units++
	}
	if len(scan.components) == 1 {
		i := scan.components[0]
		c := s.components[i]
		for y := range ceilDiv(c.height, 8) {
			for x := range ceilDiv(c.width, 8) {
				unit(func() { z.block(&c.blocks[y*c.blocksX+x], i, &predictions[i]) })
			}
		}
		z.endRun()
		return z.out
	}
	first := s.components[0]
	for y := range first.blocksY / first.v {
		for x := range first.blocksX / first.h {
			unit(func() {
				for _, i := range scan.components {
					c := s.components[i]
					for b := range c.h * c.v {
						z.block(&c.blocks[(y*c.v+b/c.h)*c.blocksX+x*c.h+b%c.h], i, &predictions[i])
					}
				}
			})
		}
	}
	z.endRun()
	return z.out
}

// block makes the tokens of one block.
func (z *tokenizer) block(b *[64]int, component int, prediction *int) {
	z.table = 4 + component
	if z.start == 0 {
		if z.high > 0 {
			z.out = append(z.out, sampleToken{symbol: bitsToken, extra: uint32(b[0]>>z.low) & 1, count: 1})
			return
		}
		dc := b[0] >> z.low
		z.value(component, 0, dc-*prediction)
		*prediction = dc
	}
	switch {
	case z.end == 0:
	case z.high > 0:
		z.refine(b)
	default:
		z.band(b)
	}
}

// value makes the token of a value behind a run of zeros.
func (z *tokenizer) value(table, run, v int) {
	size := bits.Len(uint(max(v, -v)))
	extra := v
	if v < 0 {
		extra = v - 1
	}
	z.out = append(z.out, sampleToken{table, run<<4 | size, uint32(extra) & (1<<size - 1), size})
}

// band makes the tokens of AC coefficients that come the first time.
func (z *tokenizer) band(b *[64]int) {
	run := 0
	for k := max(z.start, 1); k <= z.end; k++ {
		v := shiftDown(b[k], z.low)
		if v == 0 {
			run++
			continue
		}
		z.endRun()
		for ; run > 15; run -= 16 {
			z.out = append(z.out, sampleToken{table: z.table, symbol: 0xf0})
		}
		z.value(z.table, run, v)
		run = 0
	}
	if run == 0 {
		return
	}
	z.run++
	if !z.progressive || z.run == 0x7fff {
		z.endRun()
	}
}

// shiftDown divides by a power of two, towards zero (T.81, G.1.2.1).
func shiftDown(v, low int) int {
	if v < 0 {
		return -(-v >> low)
	}
	return v >> low
}

// refine makes the tokens of one more bit of AC coefficients (T.81, G.1.2.3).
func (z *tokenizer) refine(b *[64]int) {
	last := 0 // the last coefficient that is new
	for k := z.start; k <= z.end; k++ {
		if v := shiftDown(b[k], z.low); v == 1 || v == -1 {
			last = k
		}
	}
	run := 0
	var late []bool
	for k := z.start; k <= z.end; k++ {
		v := shiftDown(b[k], z.low)
		if v == 0 {
			run++
			continue
		}
		for ; run > 15 && k <= last; run -= 16 {
			z.endRun()
			z.out = append(z.out, sampleToken{table: z.table, symbol: 0xf0})
			z.bits(late)
			late = nil
		}
		if v != 1 && v != -1 {
			late = append(late, v&1 != 0)
			continue
		}
		z.endRun()
		z.out = append(z.out, sampleToken{z.table, run<<4 | 1, uint32(v+1) / 2, 1})
		z.bits(late)
		late, run = nil, 0
	}
	if run > 0 || len(late) > 0 {
		z.run++
		z.late = append(z.late, late...)
		if z.run == 0x7fff || len(z.late) > 900 {
			z.endRun()
		}
	}
}

func (z *tokenizer) bits(late []bool) {
	for _, bit := range late {
		t := sampleToken{symbol: bitsToken, count: 1}
		if bit {
			t.extra = 1
		}
		z.out = append(z.out, t)
	}
}

// endRun writes how many blocks have ended.
func (z *tokenizer) endRun() {
	if z.run == 0 {
		return
	}
	size := bits.Len(uint(z.run)) - 1
	z.out = append(z.out, sampleToken{z.table, size << 4, uint32(z.run) & (1<<size - 1), size})
	z.bits(z.late)
	z.run, z.late = 0, nil
}

// randomFactors draws sampling factors for n components.
func randomFactors(r *rand.Rand, n int) [][2]int {
	usual := [][][2]int{
		{{2, 2}, {1, 1}, {1, 1}},
		{{2, 1}, {1, 1}, {1, 1}},
		{{1, 2}, {1, 1}, {1, 1}},
		{{4, 1}, {1, 1}, {1, 1}},
		{{1, 1}, {1, 1}, {1, 1}},
	}
	if n == 3 && r.IntN(2) == 0 {
		return slices.Clone(usual[r.IntN(len(usual))])
	}
	if n == 4 && r.IntN(3) > 0 {
		return [][2]int{{1, 1}, {1, 1}, {1, 1}, {1, 1}}
	}
	factors := make([][2]int, n)
	for i := range factors {
		factors[i] = [2]int{1 + r.IntN(4), 1 + r.IntN(4)}
	}
	return factors
}
