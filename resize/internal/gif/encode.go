package gif

import (
	"encoding/binary"
	"image"
)

// quality is what an encoding may cost to look at, from which its size follows.
type quality struct {
	tolerance int32 // how much a pixel may be apart from what it is to be
	colours   int   // of a palette
}

// level returns the quality of that level: 0 changes nothing that a palette does
// not ask for, and each further one lets a pixel be away by half a level of grey
// more.
func level(n int) quality {
	q := quality{tolerance: int32(3 * n * n / 4), colours: 255}
	switch {
	case n >= 48:
		q.colours = 63
	case n >= 24:
		q.colours = 127
	}
	return q
}

// maxLevel is the coarsest level. Beyond it a smaller picture looks better.
const maxLevel = 80

// encoder writes frames. A frame is written when the one after it is known.
type encoder struct {
	quality
	palette *palette // of the whole animation
	screen  *raster  // what is seen
	source  *raster  // what that stands for
	packer  packer
	local   *histogram
	out     []byte
	coded   []byte
	delayAt int // in out, of the frame that was written last; 0 before the first
}

// newEncoder begins a file. loop is as in [Animation].
func newEncoder(size image.Point, loop int, p *palette, q quality) *encoder {
	e := &encoder{quality: q, palette: p, screen: newRaster(size), source: newRaster(size)}
	e.out = append(e.out, "GIF89a"...)
	e.out = binary.LittleEndian.AppendUint16(e.out, uint16(size.X))
	e.out = binary.LittleEndian.AppendUint16(e.out, uint16(size.Y))
	bits := min(tableBits(len(p.colours)+1), 8)
	e.out = append(e.out, 0xf0|byte(bits-1), 0, 0)
	e.out = appendTable(e.out, p, bits)
	if loop != 1 {
		e.out = append(e.out, "\x21\xff\x0bNETSCAPE2.0\x03\x01"...)
		e.out = binary.LittleEndian.AppendUint16(e.out, uint16(max(loop-1, 0)))
		e.out = append(e.out, 0)
	}
	return e
}

// tableBits returns how many bits the indices of that many colours take.
func tableBits(colours int) int {
	bits := 1
	for 1<<bits < colours {
		bits++
	}
	return bits
}

func appendTable(out []byte, p *palette, bits int) []byte {
	for i := range 1 << bits {
		var c rgb
		if i < len(p.colours) {
			c = p.colours[i]
		}
		out = append(out, byte(c.r), byte(c.g), byte(c.b))
	}
	return out
}

// frame writes a frame. next is the one after it, nil after the last: what is
// transparent there, and not before, has to be cleared in time.
func (e *encoder) frame(f, next *raster, delay int) {
	full := image.Rect(0, 0, f.w, f.h)
	dirty, cleared := e.changed(f), vanishing(f, next)
	if e.delayAt == 0 {
		dirty = full
	}
	if dirty.Empty() && cleared.Empty() && e.prolong(delay) {
		return
	}
	r := dirty.Union(cleared)
	if r.Empty() {
		r = image.Rect(0, 0, 1, 1)
	}
	p, local := e.choosePalette(f, r)
	still := len(p.colours)
	if still > 255 {
		still = -1
	}
	dispose := byte(1) // leave it
	if !cleared.Empty() {
		dispose = disposeBackground
	}
	e.write(f, r, p, still, local, dispose, delay)
	copy(e.source.pix, f.pix)
	if dispose == disposeBackground {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			clear(e.screen.pix[y*f.w:][r.Min.X:r.Max.X])
			clear(e.source.pix[y*f.w:][r.Min.X:r.Max.X])
		}
	}
}

// write codes the part r of a frame and draws it on the screen.
func (e *encoder) write(f *raster, r image.Rectangle, p *palette, still int, local bool, dispose byte, delay int) {
	packed := dispose << 2
	if still >= 0 {
		packed |= 1
	}
	e.out = append(e.out, kindExtension, labelControl, 4, packed)
	e.delayAt = len(e.out)
	e.out = append(e.out, byte(delay), byte(delay>>8), byte(max(still, 0)), 0, kindImage)
	for _, v := range [...]int{r.Min.X, r.Min.Y, r.Dx(), r.Dy()} {
		e.out = binary.LittleEndian.AppendUint16(e.out, uint16(v))
	}
	bits := tableBits(max(len(p.colours), still+1))
	if local {
		e.out = append(e.out, 0x80|byte(bits-1))
		e.out = appendTable(e.out, p, bits)
	} else {
		e.out = append(e.out, 0)
	}
	codeSize := max(bits, 2)
	e.packer.palette, e.packer.still = p, still
	e.packer.points = e.points(e.packer.points[:0], f, r, p, still)
	e.coded = e.packer.pack(e.coded[:0], codeSize)
	i := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			e.screen.pix[y*f.w+x] = e.packer.points[i].screen
			i++
		}
	}
	e.out = append(e.out, byte(codeSize))
	for rest := e.coded; len(rest) > 0; {
		n := min(len(rest), 255)
		e.out = append(append(e.out, byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	e.out = append(e.out, 0)
}

// points appends the pixels of the part r of a frame.
func (e *encoder) points(points []point, f *raster, r image.Rectangle, p *palette, still int) []point {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row, screen, source := f.pix[y*f.w:][:f.w], e.screen.pix[y*f.w:][:f.w], e.source.pix[y*f.w:][:f.w]
		for x := r.Min.X; x < r.Max.X; x++ {
			pt := point{want: row[x], screen: screen[x], still: never}
			if pt.want != 0 {
				pt.target = split(pt.want)
				var a int32
				pt.index, a = p.nearest(pt.want)
				pt.limit = a
			}
			switch {
			case still < 0:
			case pt.want == source[x]:
				pt.still = 0
			case pt.want != 0 && pt.screen != 0:
				pt.still = apart(pt.target, split(pt.screen))
			}
			pt.limit = max(min(pt.limit, pt.still), e.tolerance)
			points = append(points, pt)
		}
	}
	return points
}

// draw puts a frame on the screen in the colours it would have.
func (e *encoder) draw(f *raster) {
	copy(e.source.pix, f.pix)
	for i, p := range f.pix {
		e.screen.pix[i] = 0
		if p != 0 {
			index, _ := e.palette.nearest(p)
			e.screen.pix[i] = e.palette.colours[index].pack()
		}
	}
	e.delayAt = 13 // as if a frame had been written
}

// end returns the file.
func (e *encoder) end() []byte { return append(e.out, kindTrailer) }

// prolong shows the last frame for longer, if that can be said.
func (e *encoder) prolong(delay int) bool {
	field := e.out[e.delayAt:]
	sum := shown(int(binary.LittleEndian.Uint16(field))) + shown(delay)
	if sum > 1<<16-1 {
		return false
	}
	binary.LittleEndian.PutUint16(field, uint16(sum))
	return true
}

// changed returns where a frame differs from the screen by more than is allowed,
// and from the frame before at all: to come nearer to what does not change is not
// worth the bytes.
func (e *encoder) changed(f *raster) image.Rectangle {
	var r bounds
	for y := range f.h {
		row, screen, source := f.pix[y*f.w:][:f.w], e.screen.pix[y*f.w:][:f.w], e.source.pix[y*f.w:][:f.w]
		for x, p := range row {
			if p != source[x] && p != screen[x] && e.differs(p, screen[x]) {
				r.add(x, y)
			}
		}
	}
	return r.rectangle()
}

func (e *encoder) differs(want, screen uint32) bool {
	if want == 0 || screen == 0 {
		return true
	}
	a := apart(split(want), split(screen))
	if a <= e.tolerance {
		return false
	}
	_, least := e.palette.nearest(want)
	return a > least
}

// vanishing returns where f is opaque and the next frame is not.
func vanishing(f, next *raster) image.Rectangle {
	var r bounds
	if next == nil {
		return r.rectangle()
	}
	for y := range f.h {
		a, b := f.pix[y*f.w:][:f.w], next.pix[y*f.w:][:f.w]
		for x, p := range a {
			if p != 0 && b[x] == 0 {
				r.add(x, y)
			}
		}
	}
	return r.rectangle()
}

// bounds collects the rectangle of pixels that come row by row.
type bounds struct{ left, top, right, bottom int }

func (b *bounds) add(x, y int) {
	if b.bottom == 0 {
		b.left, b.top, b.right = x, y, x+1
	}
	b.left, b.right, b.bottom = min(b.left, x), max(b.right, x+1), y+1
}

func (b *bounds) rectangle() image.Rectangle { return image.Rect(b.left, b.top, b.right, b.bottom) }

// choosePalette returns the palette of the whole animation, or one for this frame
// alone where that is so much nearer to its colours that it is worth its bytes.
func (e *encoder) choosePalette(f *raster, r image.Rectangle) (p *palette, local bool) {
	var pix []uint32
	allOpaque := true
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row, source := f.pix[y*f.w:][:f.w], e.source.pix[y*f.w:][:f.w]
		for x := r.Min.X; x < r.Max.X; x++ {
			allOpaque = allOpaque && row[x] != 0 && source[x] == 0
			if p := row[x]; p != 0 && p != source[x] {
				pix = append(pix, p)
			}
		}
	}
	stride := max(1, len(pix)/6000)
	global := meanApart(e.palette, pix, stride)
	worth := worthATable * float64(max(1, e.tolerance))
	if global*float64(len(pix)) <= worth && (global == 0 || e.tolerance > 0) {
		return e.palette, false
	}
	if e.local == nil {
		e.local = newHistogram()
	}
	e.local.reset()
	e.local.add(pix, stride)
	colours := e.colours
	if colours == 255 && allOpaque {
		colours = 256 // none is needed for what stays as it is
	}
	p = e.local.palette(colours)
	left := meanApart(p, pix, stride)
	if gain := (global - left) * float64(len(pix)); gain <= worth && (e.tolerance > 0 || left > 0) {
		return e.palette, false
	}
	return p, true
}

// worthATable is how much apart all pixels of a frame together must be less for
// it to have colours of its own, which take 768 bytes.
const worthATable = 20_000

func meanApart(p *palette, pix []uint32, stride int) float64 {
	sum, n := 0.0, 0
	for i := 0; i < len(pix); i += stride {
		_, a := p.nearest(pix[i])
		sum, n = sum+float64(a), n+1
	}
	return sum / float64(max(n, 1))
}
