package heif

import "encoding/binary"

// sequence is what a sequence parameter set of HEVC says of its pictures
// (ITU-T H.265, sections 7.3.2.2 and E.2.1).
type sequence struct {
	width, height int  // what is shown
	samples       int  // of a quarter of the pixels, of all components: 4 are grey, 6 are 4:2:0
	deep          bool // more than 8 bits
	colour        nclx
}

const nalSPS = 33

// parameterSet returns the first sequence parameter set of a property hvcC
// (ISO/IEC 14496-15, section 8.3.3.1).
func parameterSet(hvcC []byte) []byte {
	r := &reader{b: hvcC}
	r.uint(8)
	r.uint(8)
	r.uint(6)
	for arrays := r.uint(1); arrays > 0 && !r.bad; arrays-- {
		kind := r.uint(1) & 0x3f
		for n := r.uint(2); n > 0 && !r.bad; n-- {
			size := int(r.uint(2))
			if size > len(r.b) {
				return nil
			}
			if kind == nalSPS && size > 2 {
				return r.b[2:size]
			}
			r.b = r.b[size:]
		}
	}
	return nil
}

// readSequence reads the parameter set in a property hvcC. It reports false where
// that is damaged.
func readSequence(hvcC []byte) (sequence, bool) {
	r := newBits(parameterSet(hvcC))
	r.skip(4)
	subLayers := int(r.u(3))
	r.skip(1)
	skipProfile(r, subLayers)
	r.ue() // identifier
	chroma := r.ue()
	if chroma == 3 {
		r.skip(1)
	}
	s := sequence{width: int(r.ue()), height: int(r.ue())}
	if r.flag() { // window that is shown, in samples of colour
		left, right, top, bottom := r.ue(), r.ue(), r.ue(), r.ue()
		s.width -= int(left+right) * either(chroma == 1 || chroma == 2, 2, 1)
		s.height -= int(top+bottom) * either(chroma == 1, 2, 1)
	}
	s.samples = [4]int{6, 6, 8, 12}[min(chroma, 3)]
	s.deep = r.ue() > 0
	r.ue() // depth of colour
	pocBits := int(r.ue()) + 4
	layers := either(r.flag(), subLayers+1, 1)
	for range 3 * layers {
		r.ue()
	}
	for range 6 { // sizes of blocks, depths of trees
		r.ue()
	}
	if r.flag() { // scaling lists, the default ones
		if r.flag() { // or their own
			skipScalingLists(r)
		}
	}
	r.skip(2)
	if r.flag() { // PCM
		r.skip(8)
		r.ue()
		r.ue()
		r.skip(1)
	}
	skipReferenceSets(r, pocBits)
	r.skip(2)
	s.colour = readColour(r)
	return s, !r.bad && pocBits <= 16
}

// skipProfile leaves out profile_tier_level (section 7.3.3).
func skipProfile(r *bits, subLayers int) {
	r.skip(96)
	profiles, levels := 0, 0
	for range subLayers {
		profiles += int(r.u(1))
		levels += int(r.u(1))
	}
	if subLayers > 0 {
		r.skip(2 * (8 - subLayers))
	}
	r.skip(88*profiles + 8*levels)
}

// skipScalingLists leaves out scaling_list_data (section 7.3.4).
func skipScalingLists(r *bits) {
	for size := range 4 {
		for matrix := 0; matrix < 6 && !r.bad; matrix += either(size == 3, 3, 1) {
			if !r.flag() {
				r.ue()
				continue
			}
			codes := min(64, 1<<(4+2*size))
			if size > 1 {
				codes++
			}
			for range codes {
				r.ue()
			}
		}
	}
}

// skipReferenceSets leaves out the short-term and long-term reference picture
// sets (sections 7.3.7 and 7.3.2.2).
func skipReferenceSets(r *bits, pocBits int) {
	previous := uint(0) // pictures of the set before
	for i := range r.ue() {
		if r.bad || i > 64 {
			r.bad = true
			return
		}
		if i > 0 && r.flag() { // predicted
			r.skip(1)
			r.ue()
			n := uint(0)
			for range previous + 1 {
				if used := r.flag(); used || r.flag() {
					n++
				}
			}
			previous = n
			continue
		}
		previous = r.ue() + r.ue()
		if previous > 32 {
			r.bad = true
			return
		}
		for range previous {
			r.ue()
			r.skip(1)
		}
	}
	if r.flag() {
		for range min(r.ue(), 33) {
			r.skip(pocBits + 1)
		}
	}
}

// readColour reads as much of the video usability information as there is of
// colour.
func readColour(r *bits) nclx {
	c := nclx{matrix: matrixUnspecified, primaries: 2, transfer: 2}
	if !r.flag() {
		return c
	}
	if r.flag() && r.u(8) == 255 { // shape of a pixel
		r.skip(32)
	}
	if r.flag() { // overscan
		r.skip(1)
	}
	if !r.flag() {
		return c
	}
	r.skip(3)
	c.full = r.flag()
	if r.flag() {
		c.primaries, c.transfer, c.matrix = uint16(r.u(8)), uint16(r.u(8)), uint16(r.u(8))
	}
	return c
}

// nclx says what samples are of (ITU-T H.273).
type nclx struct {
	primaries, transfer, matrix uint16
	full                        bool // the whole range, otherwise that of video
}

const (
	matrixRGB         = 0
	matrixBT709       = 1
	matrixUnspecified = 2
	matrixBT2020      = 9
)

// readNCLX reads the rest of a property colr of that kind (ISO/IEC 14496-12,
// section 12.1.5).
func readNCLX(b []byte) (nclx, bool) {
	if len(b) < 7 {
		return nclx{}, false
	}
	at := binary.BigEndian.Uint16
	return nclx{primaries: at(b), transfer: at(b[2:]), matrix: at(b[4:]), full: b[6]&0x80 != 0}, true
}
