package gif

import "math"

// point is a pixel that is to be encoded.
type point struct {
	target rgb
	want   uint32 // the target, 0 for transparent
	screen uint32 // what is there already
	index  uint8  // of the nearest colour
	limit  int32  // how much what is shown may be apart from the target
	still  int32  // how much the screen is, never where it must not stay
}

// never is more than two colours can be apart.
const never = math.MaxInt32

// packer encodes LZW, and takes for a pixel what is in its dictionary already
// where that is near enough. To leave a pixel as it is on the screen is one more
// colour, whose difference depends on the place.
//
// The dictionary is a tree: a code stands for the pixels on the way to it.
type packer struct {
	child, next, parent [maxCodes]uint16
	index               [maxCodes]uint8
	free                int
	last                uint16 // the code before this one

	palette *palette
	still   int // the index that leaves pixels as they are; -1 where there is none
	points  []point

	best     match
	explored int

	out   []byte
	bits  uint64
	n     uint
	width uint
}

// match is a way through the tree along the pixels to come.
type match struct {
	node   uint16
	length int
	apart  int64 // in sum
}

// maxExplored is how many places in the tree are looked at for the longest match
// before the first way that is open is followed to its end. It bounds the work.
const maxExplored = 1024

// pack appends the coded indices to out, not in sub-blocks yet, and leaves in the
// screen of each point what is seen there then.
func (p *packer) pack(out []byte, codeSize int) []byte {
	p.out, p.bits, p.n = out, 0, 0
	clearCode := uint16(1) << codeSize
	p.reset(codeSize)
	p.emit(clearCode)
	for pos := 0; pos < len(p.points); {
		p.best, p.explored = match{}, 0
		first := p.symbol(&p.points[pos])
		if pos > 0 {
			p.add(p.last, first, clearCode, codeSize)
		}
		p.explore(uint16(first), pos+1, 1, int64(p.cost(&p.points[pos], first)))
		p.emit(p.best.node)
		p.show(pos)
		p.last = p.best.node
		pos += p.best.length
	}
	p.grow()
	p.emit(clearCode + 1)
	for p.n > 0 {
		p.out = append(p.out, byte(p.bits))
		p.bits, p.n = p.bits>>8, p.n-min(p.n, 8)
	}
	return p.out
}

// reset empties the dictionary.
func (p *packer) reset(codeSize int) {
	clear(p.child[:])
	p.free, p.width = 1<<codeSize+2, uint(codeSize+1)
	for i := range 1 << codeSize {
		p.index[i] = uint8(i)
	}
}

// add makes a code for what the last one stood for and one more pixel, or a new
// dictionary where this one is full.
func (p *packer) add(node uint16, index uint8, clearCode uint16, codeSize int) {
	if p.free == maxCodes {
		p.emit(clearCode)
		p.reset(codeSize)
		return
	}
	code := uint16(p.free)
	p.index[code], p.parent[code] = index, node
	p.next[code], p.child[node], p.child[code] = p.child[node], code, 0
	p.grow()
}

// grow counts a code, of which the decoder learns with the next one only.
func (p *packer) grow() {
	p.free++
	if p.free > 1<<p.width && p.width < maxBits {
		p.width++
	}
}

func (p *packer) emit(code uint16) {
	p.bits |= uint64(code) << p.n
	for p.n += p.width; p.n >= 8; p.n -= 8 {
		p.out = append(p.out, byte(p.bits))
		p.bits >>= 8
	}
}

// symbol chooses the colour of a pixel with which a match begins.
func (p *packer) symbol(pt *point) uint8 {
	if pt.still <= pt.limit {
		return uint8(p.still)
	}
	return pt.index
}

// cost is how far a pixel is from its target if it is shown by that index.
func (p *packer) cost(pt *point, index uint8) int32 {
	switch {
	case int(index) == p.still:
		return pt.still
	case pt.want == 0 || int(index) >= len(p.palette.colours):
		return never
	}
	return apart(pt.target, p.palette.colours[index])
}

// explore looks for the longest way from a node along the pixels from pos on.
func (p *packer) explore(node uint16, pos, length int, sum int64) {
	if length > p.best.length || length == p.best.length && sum < p.best.apart {
		p.best = match{node, length, sum}
	}
	if pos == len(p.points) {
		return
	}
	pt := &p.points[pos]
	for c := p.child[node]; c != 0; c = p.next[c] {
		p.explored++
		a := p.cost(pt, p.index[c])
		if a > pt.limit {
			continue
		}
		p.explore(c, pos+1, length+1, sum+int64(a))
		if p.explored > maxExplored {
			return
		}
	}
}

// show writes into the points what the best match shows.
func (p *packer) show(pos int) {
	node := p.best.node
	for i := pos + p.best.length - 1; i >= pos; i-- {
		if index := int(p.index[node]); index != p.still {
			p.points[i].screen = p.palette.colours[index].pack()
		}
		node = p.parent[node]
	}
}
