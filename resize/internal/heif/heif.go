// Package heif reads HEIC, HEIF and AVIF: still pictures coded with HEVC or AV1
// in the container of ISO/IEC 23008-12.
//
// [Parse] reads the container and allocates next to nothing. [Header.Decode]
// gives the pixels.
//
// # The sandbox
//
// The container is read here, in Go. Each coded picture, a tile or the whole, is
// put alone into a new file of a few boxes, and that is all a codec ever sees: the
// codecs are libheif with libde265 and libavif with libaom, compiled to
// WebAssembly, which run in wazero without files, clock or network. An instance
// has a fixed memory, is used for one tile, and is ended when its context ends.
// Their compilation, about half a second of CPU, happens when the first such
// picture is decoded.
//
// # What is decoded
//
// The primary picture, single or a grid, with cropping, rotation and mirroring,
// its transparency, and the colours that its profile, its container or its
// bitstream declare. More than 8 bits are brought to 8. Of a file that is cut off
// the tiles that are there are decoded. Not decoded are overlays, other codecs
// than the two, and sequences that have no picture of their own.
package heif

import (
	"errors"
	"fmt"
	"image"
	"strings"
)

// ErrUnsupported is wrapped by errors that say that a file may be right but is
// not of what is decoded.
var ErrUnsupported = errors.New("not decoded in this coding")

// Header is what the container says of its primary picture.
type Header struct {
	// Width and Height are the picture's, cropped and not upright yet, in pixels.
	Width, Height int
	// Orientation is EXIF's number for the rotation and mirroring that the
	// container asks for, 1 to 8. What EXIF says itself has no effect in this format
	// (ISO/IEC 23008-12, section 6.5.10).
	Orientation int
	// Frames is the number of pictures of an image sequence that the file has
	// besides, and otherwise 1.
	Frames int
	// Profile is the ICC profile, if there is one.
	Profile []byte
	// Primaries is the number of the colours that the file declares without a
	// profile (ITU-T H.273, table 2): 1 for those of sRGB, 2 for none.
	Primaries uint16
	// Alpha says that there is transparency.
	Alpha bool
	// Metadata says that there is EXIF or XMP.
	Metadata bool

	image, alpha  layer
	premultiplied bool
	crop          image.Rectangle
}

// layer is a picture made of tiles, a row after the other. One that is no grid
// is a single tile.
type layer struct {
	width, height int
	tile          struct{ width, height int }
	columns       int
	tiles         []tile
	av1           bool
	samples       int64 // of four pixels, as they are decoded
	perPixel      int64 // bytes that the codec takes
	colour        nclx
	colr          []byte // the content of the property, where the container has one
}

// tile is a coded picture.
type tile struct {
	config []byte // content of the property hvcC or av1C
	data   []byte
	whole  bool
}

// maxWaste bounds what tiles have beyond an edge, in pixels: that is decoded too,
// and counted nowhere.
const maxWaste = 1024

// maxSide bounds a side in pixels, as the formats' own profiles do by far.
const maxSide = 1 << 16

// Parse reads the container.
func Parse(data []byte) (*Header, error) {
	var m *meta
	frames := 1
	for kind, body := range boxes(data) {
		switch kind {
		case "meta":
			if m != nil {
				continue
			}
			var err error
			if m, err = readMeta(data, body); err != nil {
				return nil, err
			}
		case "moov":
			frames = max(frames, countFrames(body))
		}
	}
	if m == nil {
		return nil, fmt.Errorf("a file without a still picture is %w", ErrUnsupported)
	}
	h := &Header{Orientation: 1, Frames: frames, Metadata: m.metadata}
	var err error
	if h.image, err = m.layer(m.primary); err != nil {
		return nil, err
	}
	h.Primaries = h.image.colour.primaries
	if p, ok := m.profile(m.primary); ok {
		h.Profile = p
	}
	h.crop = image.Rect(0, 0, h.image.width, h.image.height)
	for _, p := range m.all(m.primary) {
		switch p.kind {
		case "clap":
			if err := h.readCrop(p.body); err != nil {
				return nil, err
			}
		case "irot":
			r := &reader{b: p.body}
			h.Orientation = after(h.Orientation, [4]int{1, 8, 3, 6}[r.uint(1)&3])
		case "imir":
			r := &reader{b: p.body}
			h.Orientation = after(h.Orientation, [2]int{4, 2}[r.uint(1)&1])
		}
	}
	h.Width, h.Height = h.crop.Dx(), h.crop.Dy()
	h.findAlpha(m)
	return h, nil
}

// after returns the orientation that stands for one and then another. Each is
// the matrix that takes a picture as stored to the picture as seen.
func after(first, second int) int {
	type matrix [4]int
	of := [9]matrix{
		1: {1, 0, 0, 1}, 2: {-1, 0, 0, 1}, 3: {-1, 0, 0, -1}, 4: {1, 0, 0, -1},
		5: {0, 1, 1, 0}, 6: {0, -1, 1, 0}, 7: {0, -1, -1, 0}, 8: {0, 1, -1, 0},
	}
	a, b := of[second], of[first]
	product := matrix{
		a[0]*b[0] + a[1]*b[2], a[0]*b[1] + a[1]*b[3],
		a[2]*b[0] + a[3]*b[2], a[2]*b[1] + a[3]*b[3],
	}
	for i, m := range of {
		if m == product {
			return i
		}
	}
	return 1
}

// readCrop reads clap (ISO/IEC 14496-12, section 12.1.4.3): size and the
// distance of the centres, as fractions.
func (h *Header) readCrop(body []byte) error {
	r := &reader{b: body}
	var f [4]float64
	for i := range f {
		n, d := int32(r.uint(4)), int32(r.uint(4))
		if d <= 0 {
			return errMeta
		}
		f[i] = float64(n) / float64(d)
	}
	full := h.crop
	x, y := int((float64(full.Dx())-f[0])/2+f[2]), int((float64(full.Dy())-f[1])/2+f[3])
	c := image.Rect(x, y, x+int(f[0]), y+int(f[1]))
	if r.bad || f[0] < 1 || f[1] < 1 || !c.In(full) {
		return errMeta
	}
	h.crop = c
	return nil
}

// layer describes the picture of an item.
func (m *meta) layer(item uint64) (layer, error) {
	kind, ok := m.kinds[item]
	if !ok {
		return layer{}, errMeta
	}
	l := layer{columns: 1}
	items := []uint64{item}
	if kind == "grid" {
		items = m.targets("dimg", item)
		if err := l.readGrid(m.bytes(item), len(items)); err != nil {
			return layer{}, err
		}
	}
	for i, t := range items {
		size, ok := m.size(t)
		if !ok || i > 0 && size != l.tile {
			return layer{}, errMeta
		}
		l.tile = size
		av1 := m.kinds[t] == "av01"
		if i > 0 && av1 != l.av1 {
			return layer{}, errMeta
		}
		if k := m.kinds[t]; !av1 && k != "hvc1" && k != "hev1" {
			return layer{}, fmt.Errorf("an item %q is %w", k, ErrUnsupported)
		}
		l.av1 = av1
		config, ok := m.property(t, "hvcC", "av1C")
		if !ok || (config.kind == "av1C") != av1 {
			return layer{}, errMeta
		}
		data, length := m.bytes(t), uint64(0)
		for _, e := range m.places[t].extents {
			length += e[1]
		}
		l.tiles = append(l.tiles, tile{config: config.body, data: data, whole: uint64(len(data)) >= length})
	}
	if kind != "grid" {
		l.width, l.height = l.tile.width, l.tile.height
	}
	if !l.covered() {
		return layer{}, errMeta
	}
	return l, l.readColours(m, item, items[0])
}

// covered reports that the tiles are those the picture needs, and no more.
func (l *layer) covered() bool {
	rows := len(l.tiles) / l.columns
	w, h := l.tile.width, l.tile.height
	return l.width > 0 && l.height > 0 && len(l.tiles) > 0 &&
		w*l.columns >= l.width && w*(l.columns-1) < l.width && w*l.columns-l.width < maxWaste &&
		h*rows >= l.height && h*(rows-1) < l.height && h*rows-l.height < maxWaste
}

// size returns what the property ispe says of an item.
func (m *meta) size(item uint64) (size struct{ width, height int }, ok bool) {
	p, ok := m.property(item, "ispe")
	r := &reader{b: p.body}
	r.full()
	w, h := r.uint(4), r.uint(4)
	size.width, size.height = int(w), int(h)
	return size, ok && !r.bad && w-1 < maxSide && h-1 < maxSide
}

// readGrid reads the description of a grid of that many tiles (ISO/IEC 23008-12,
// section 6.6.2.3).
func (l *layer) readGrid(b []byte, tiles int) error {
	r := &reader{b: b}
	r.uint(1)
	width := either(r.uint(1)&1 != 0, 4, 2)
	rows, columns := int(r.uint(1))+1, int(r.uint(1))+1
	w, h := r.uint(width), r.uint(width)
	if r.bad || rows*columns != tiles || w > maxSide || h > maxSide {
		return errMeta
	}
	l.columns, l.width, l.height = columns, int(w), int(h)
	return nil
}

// readColours reads what samples mean: from the item, from its first tile, or
// from the bitstream.
func (l *layer) readColours(m *meta, item, first uint64) error {
	if l.av1 {
		l.perPixel, l.samples = av1PerPixel, 6
		if c := l.tiles[0].config; len(c) > 2 && c[2]&0x40 != 0 { // high_bitdepth
			l.perPixel = av1DeepPerPixel
		}
	} else {
		s, ok := readSequence(l.tiles[0].config)
		if !ok || s.width != l.tile.width || s.height != l.tile.height {
			return errMeta
		}
		if s.deep && s.samples > 8 {
			return fmt.Errorf("more than 8 bits with colour of the full resolution are %w", ErrUnsupported)
		}
		l.samples = int64(s.samples)
		l.perPixel = 2 + l.samples*int64(either(s.deep, 2, 1))
		l.colour = s.colour
	}
	for _, id := range []uint64{item, first} {
		for _, p := range m.all(id) {
			if p.kind != "colr" || !strings.HasPrefix(string(p.body), "nclx") {
				continue
			}
			if c, ok := readNCLX(p.body[4:]); ok {
				l.colour, l.colr = c, p.body
				return nil
			}
		}
	}
	return nil
}

// profile returns the ICC profile of an item, or of its first tile.
func (m *meta) profile(item uint64) ([]byte, bool) {
	ids := append([]uint64{item}, m.targets("dimg", item)...)
	for _, id := range ids[:min(len(ids), 2)] {
		for _, p := range m.all(id) {
			if s := string(p.body[:min(4, len(p.body))]); p.kind == "colr" && (s == "prof" || s == "rICC") {
				return p.body[4:], true
			}
		}
	}
	return nil, false
}

// findAlpha finds the auxiliary picture that is the primary's transparency. One
// that cannot be read is as if it were not there.
func (h *Header) findAlpha(m *meta) {
	for _, r := range m.references {
		if r.kind != "auxl" || len(r.to) == 0 || r.to[0] != m.primary {
			continue
		}
		p, ok := m.property(r.from, "auxC")
		if !ok || len(p.body) < 4 {
			continue
		}
		name, _, _ := strings.Cut(string(p.body[4:]), "\x00")
		if name != "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha" && name != "urn:mpeg:hevc:2015:auxid:1" {
			continue
		}
		l, err := m.layer(r.from)
		if err != nil || l.width*l.height > h.image.width*h.image.height {
			continue
		}
		h.alpha, h.Alpha = l, true
		for _, id := range m.targets("prem", m.primary) {
			h.premultiplied = h.premultiplied || id == r.from
		}
		return
	}
}

// countFrames returns the number of pictures of the longest track of pictures in
// the content of a box moov, by its box stsz.
func countFrames(moov []byte) int {
	frames := 0
	for kind, body := range boxes(moov) {
		switch kind {
		case "trak", "mdia", "minf", "stbl":
			frames = max(frames, countFrames(body))
		case "stsz":
			r := &reader{b: body}
			r.full()
			r.uint(4)
			frames = max(frames, int(r.uint(4)))
		}
	}
	return frames
}
