package heif

import (
	"errors"
	"slices"
)

// maxItems is how many items a file may have. Phones write a tile of 512 × 512
// pixels as an item each: 192 for 48 megapixels.
const maxItems = 4096

// meta is what the box of that name holds (ISO/IEC 14496-12, section 8.11).
type meta struct {
	file       []byte
	idat       []byte
	primary    uint64
	kinds      map[uint64]string // of items
	places     map[uint64]place  // of items
	properties []property        // of all items
	has        map[uint64][]int  // indices of an item's properties
	references []reference       // between items
	metadata   bool              // there is EXIF or XMP
}

// place is where an item's bytes are.
type place struct {
	inside  bool // in idat, otherwise in the file
	extents [][2]uint64
}

type property struct {
	kind string
	body []byte
}

type reference struct {
	kind string
	from uint64
	to   []uint64
}

var errMeta = errors.New("the description of the HEIF's items is damaged")

// readMeta reads the content of a box meta.
func readMeta(file, content []byte) (*meta, error) {
	m := &meta{file: file, kinds: map[uint64]string{}, places: map[uint64]place{}, has: map[uint64][]int{}}
	if len(content) < 4 {
		return nil, errMeta
	}
	for kind, body := range boxes(content[4:]) {
		r := &reader{b: body}
		switch kind {
		case "pitm":
			version, _ := r.full()
			m.primary = r.uint(either(version > 0, 4, 2))
		case "iinf":
			m.readInfos(r)
		case "iloc":
			m.readPlaces(r)
		case "iprp":
			m.readProperties(body)
		case "iref":
			m.readReferences(r)
		case "idat":
			m.idat = body
		}
		if r.bad || len(m.kinds) > maxItems || len(m.places) > maxItems || len(m.references) > maxItems {
			return nil, errMeta
		}
	}
	return m, nil
}

// readInfos reads iinf, the kinds of items. Versions of infe before 2 are
// QuickTime's and have no kind.
func (m *meta) readInfos(r *reader) {
	version, _ := r.full()
	r.uint(either(version > 0, 4, 2)) // their number, which need not be right
	for kind, body := range boxes(r.b) {
		e := &reader{b: body}
		version, _ := e.full()
		if kind != "infe" || version < 2 {
			continue
		}
		id := e.uint(either(version > 2, 4, 2))
		e.uint(2) // protection
		if e.bad || len(e.b) < 4 || len(m.kinds) > maxItems {
			continue
		}
		m.kinds[id] = string(e.b[:4])
		if m.kinds[id] == "Exif" || m.kinds[id] == "mime" {
			m.metadata = true
		}
	}
}

// readPlaces reads iloc.
func (m *meta) readPlaces(r *reader) {
	version, _ := r.full()
	sizes := r.uint(2)
	offsetSize, lengthSize := int(sizes>>12), int(sizes>>8&15)
	baseSize, indexSize := int(sizes>>4&15), 0
	if version > 0 {
		indexSize = int(sizes & 15)
	}
	if version > 2 || max(offsetSize, lengthSize, baseSize, indexSize) > 8 {
		r.bad = true
		return
	}
	idSize := either(version == 2, 4, 2)
	count := r.uint(idSize)
	extents := 0
	for i := uint64(0); i < count && !r.bad && i <= maxItems; i++ {
		id := r.uint(idSize)
		method := uint64(0)
		if version > 0 {
			method = r.uint(2) & 15
		}
		source := r.uint(2) // of the bytes, 0 for this file
		base := r.uint(baseSize)
		p := place{inside: method == 1}
		for n := r.uint(2); n > 0 && !r.bad; n-- {
			r.uint(indexSize)
			e := [2]uint64{base + r.uint(offsetSize), r.uint(lengthSize)}
			if e[1] == 0 && lengthSize == 0 { // up to the end
				e[1] = uint64(len(m.file))
			}
			p.extents = append(p.extents, e)
			if extents++; extents > 4*maxItems {
				r.bad = true
			}
		}
		if method <= 1 && source == 0 {
			m.places[id] = p
		}
	}
}

// readProperties reads iprp: the properties, and which item has which.
func (m *meta) readProperties(content []byte) {
	for kind, body := range boxes(content) {
		switch kind {
		case "ipco":
			for kind, body := range boxes(body) {
				m.properties = append(m.properties, property{kind, body})
			}
		case "ipma":
			r := &reader{b: body}
			version, flags := r.full()
			size := either(flags&1 != 0, 2, 1)
			essential := uint64(0x80) << (8 * (size - 1)) // a bit before the index
			for n := r.uint(4); n > 0 && !r.bad; n-- {
				id := r.uint(either(version > 0, 4, 2))
				for k := r.uint(1); k > 0; k-- {
					if i := int(r.uint(size)&^essential) - 1; i >= 0 && len(m.has[id]) < 64 {
						m.has[id] = append(m.has[id], i)
					}
				}
			}
		}
	}
}

// readReferences reads iref.
func (m *meta) readReferences(r *reader) {
	version, _ := r.full()
	size := either(version > 0, 4, 2)
	for kind, body := range boxes(r.b) {
		e := &reader{b: body}
		ref := reference{kind: kind, from: e.uint(size)}
		for n := e.uint(2); n > 0 && !e.bad && len(ref.to) < maxItems; n-- {
			ref.to = append(ref.to, e.uint(size))
		}
		if len(m.references) <= maxItems && !e.bad {
			m.references = append(m.references, ref)
		}
	}
}

// all yields the properties of an item in their order.
func (m *meta) all(item uint64) []property {
	var all []property
	for _, i := range m.has[item] {
		if i < len(m.properties) {
			all = append(all, m.properties[i])
		}
	}
	return all
}

// property returns the first property of an item that is of one of those kinds.
func (m *meta) property(item uint64, kinds ...string) (property, bool) {
	for _, p := range m.all(item) {
		if slices.Contains(kinds, p.kind) {
			return p, true
		}
	}
	return property{}, false
}

// targets returns the items to which an item has references of that kind.
func (m *meta) targets(kind string, from uint64) []uint64 {
	for _, r := range m.references {
		if r.kind == kind && r.from == from {
			return r.to
		}
	}
	return nil
}

// bytes returns the bytes of an item: what there is of them, where the file is
// cut off.
func (m *meta) bytes(item uint64) []byte {
	p := m.places[item]
	source := m.file
	if p.inside {
		source = m.idat
	}
	var all []byte
	for i, e := range p.extents {
		start := min(e[0], uint64(len(source)))
		part := source[start:][:min(e[1], uint64(len(source))-start)]
		if i == 0 && len(p.extents) == 1 {
			return part
		}
		if len(all)+len(part) > len(source) {
			break // extents that overlap, to be more than there is
		}
		all = append(all, part...)
	}
	return all
}
