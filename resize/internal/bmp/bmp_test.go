package bmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// drawing is a picture of a few colours: for each pixel an index.
type drawing struct {
	width, height int
	indices       []uint8
	colours       [][3]uint8
}

func draw(width, height, colours int) drawing {
	r := rand.New(rand.NewPCG(uint64(width), uint64(colours)))
	d := drawing{width: width, height: height}
	for range colours {
		d.colours = append(d.colours, [3]uint8{uint8(r.IntN(32) * 255 / 31), uint8(r.IntN(32) * 255 / 31), uint8(r.IntN(32) * 255 / 31)})
	}
	for len(d.indices) < width*height {
		index := uint8(r.IntN(colours))
		for range 1 + r.IntN(9) {
			d.indices = append(d.indices, index)
		}
	}
	d.indices = d.indices[:width*height]
	return d
}

func (d drawing) row(y int) []uint8 { return d.indices[y*d.width:][:d.width] }

// rgb returns the samples, from the top down.
func (d drawing) rgb() (out []uint8) {
	for _, index := range d.indices {
		out = append(out, d.colours[index][:]...)
	}
	return out
}

// kind is one way of writing a BMP.
type kind struct {
	header  int // bytes of the information header
	depth   int
	coding  uint32
	topDown bool
	masks   []uint32
}

// file writes a drawing.
func (d drawing) file(k kind) []byte {
	height := d.height
	if k.topDown {
		height = -height
	}
	le := binary.LittleEndian
	info := le.AppendUint32(nil, uint32(k.header))
	if k.header == 12 {
		info = le.AppendUint16(le.AppendUint16(info, uint16(d.width)), uint16(d.height))
		info = le.AppendUint16(le.AppendUint16(info, 1), uint16(k.depth))
	} else {
		info = le.AppendUint32(le.AppendUint32(info, uint32(d.width)), uint32(int32(height)))
		info = le.AppendUint16(le.AppendUint16(info, 1), uint16(k.depth))
		info = le.AppendUint32(info, k.coding)
		for len(info) < 40 {
			info = le.AppendUint32(info, 0)
		}
		info = info[:min(len(info), k.header)]
		for _, m := range k.masks { // in the header, or behind a short one
			info = le.AppendUint32(info, m)
		}
		for len(info) < k.header {
			info = append(info, 0)
		}
	}
	if k.depth <= 8 {
		for _, c := range d.colours {
			info = append(info, c[2], c[1], c[0])
			if k.header != 12 {
				info = append(info, 0)
			}
		}
		for i := len(d.colours); i < 1<<k.depth; i++ {
			info = append(info, make([]byte, 3+min(1, k.header-12))...)
		}
	}
	pixels := d.pixels(k)
	out := le.AppendUint32([]byte("BM"), uint32(14+len(info)+len(pixels)))
	out = le.AppendUint32(append(out, 0, 0, 0, 0), uint32(14+len(info)))
	return append(append(out, info...), pixels...)
}

func (d drawing) pixels(k kind) (out []byte) {
	for i := range d.height {
		y := d.height - 1 - i
		if k.topDown {
			y = i
		}
		switch k.coding {
		case rle8, rle4, rle24:
			out = append(d.appendRuns(out, k, d.row(y)), 0, 0)
		default:
			out = append(out, d.packed(k, d.row(y))...)
		}
	}
	if k.coding == rle8 || k.coding == rle4 || k.coding == rle24 {
		out = append(out[:len(out)-2], 0, 1)
	}
	return out
}

// appendRuns writes a row in runs and, in turns, pixels as they are.
func (d drawing) appendRuns(out []byte, k kind, row []uint8) []byte {
	for len(row) > 0 {
		n := 1
		for n < len(row) && row[n] == row[0] && n < 200 {
			n++
		}
		c := d.colours[row[0]]
		switch {
		case k.coding == rle24:
			out = append(out, byte(n), c[2], c[1], c[0])
		case n == 1 && len(row) >= 5 && k.coding == rle8:
			n = 5
			out = append(append(append(out, 0, 5), row[:5]...), 0)
		case n == 1 && len(row) >= 5:
			n = 5
			out = append(out, 0, 5, row[0]<<4|row[1], row[2]<<4|row[3], row[4]<<4, 0)
		case k.coding == rle8:
			out = append(out, byte(n), row[0])
		default:
			out = append(out, byte(n), row[0]<<4|row[0])
		}
		row = row[n:]
	}
	return out
}

// packed writes a row as it is, padded to four bytes.
func (d drawing) packed(k kind, row []uint8) (out []byte) {
	masks := k.masks
	if masks == nil {
		masks = map[int][]uint32{16: {0x7c00, 0x3e0, 0x1f}, 32: {0xff0000, 0xff00, 0xff}}[k.depth]
	}
	bit := 0
	for _, index := range row {
		c := d.colours[index]
		switch k.depth {
		case 24:
			out = append(out, c[2], c[1], c[0])
		case 16, 32:
			v := uint32(0)
			for i, m := range masks[:3] {
				top := m / (m & -m)
				v |= (uint32(c[i])*top + 127) / 255 * (m & -m)
			}
			if len(masks) == 4 {
				v |= masks[3]
			}
			out = append(out, binary.LittleEndian.AppendUint32(nil, v)[:k.depth/8]...)
		default:
			if bit%8 == 0 {
				out = append(out, 0)
			}
			out[len(out)-1] |= index << (8 - k.depth - bit%8)
			bit += k.depth
		}
	}
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

// read decodes a file whole.
func read(ctx context.Context, data []byte) (Header, []uint8, bool, error) {
	h, err := Open(data)
	if err != nil {
		return h, nil, false, err
	}
	var pix []uint8
	lost, err := Decode(ctx, data, h, func(row []uint8) error {
		pix = append(pix, row...)
		return nil
	})
	return h, pix, lost, err
}

func kinds() (all []kind) {
	for _, header := range []int{12, 16, 40, 52, 56, 64, 108, 124} {
		for _, depth := range []int{1, 2, 4, 8, 16, 24, 32} {
			all = append(all, kind{header: header, depth: depth})
		}
	}
	return append(all,
		kind{header: 40, depth: 8, topDown: true}, kind{header: 40, depth: 24, topDown: true},
		kind{header: 40, depth: 8, coding: rle8}, kind{header: 40, depth: 4, coding: rle4},
		kind{header: 124, depth: 8, coding: rle8}, kind{header: 40, depth: 8, coding: rle8, topDown: true},
		kind{header: 64, depth: 24, coding: rle24},
		kind{header: 40, depth: 16, coding: bitFields, masks: []uint32{0xf800, 0x7e0, 0x1f}},
		kind{header: 40, depth: 32, coding: bitFields, masks: []uint32{0xff0000, 0xff00, 0xff}},
		kind{header: 52, depth: 32, coding: bitFields, masks: []uint32{0xff, 0xff00, 0xff0000}},
		kind{header: 56, depth: 32, coding: bitFields, masks: []uint32{0x3ff00000, 0xffc00, 0x3ff}},
		kind{header: 40, depth: 32, coding: alphaField, masks: []uint32{0xff0000, 0xff00, 0xff, 0xff000000}},
		kind{header: 108, depth: 32, coding: bitFields, masks: []uint32{0xff000000, 0xff0000, 0xff00, 0xff}},
		kind{header: 124, depth: 16, coding: bitFields, masks: []uint32{0x7c00, 0x3e0, 0x1f, 0x8000}},
	)
}

func TestDecodeEveryKind(t *testing.T) {
	for _, k := range kinds() {
		for _, width := range []int{1, 7, 8, 33} {
			t.Run(fmt.Sprintf("%+v %d", k, width), func(t *testing.T) {
				d := draw(width, 9, min(1<<min(k.depth, 8), 30))
				h, pix, lost, err := read(t.Context(), d.file(k))
				if err != nil || lost || h.Width != width || h.Height != 9 {
					t.Fatalf("%+v, %v, %v", h, lost, err)
				}
				if want := 3 + len(k.masks)/4; h.Channels != want {
					t.Fatalf("%d channels, want %d", h.Channels, want)
				}
				want := d.rgb()
				for i := range width * 9 {
					for c := range 3 {
						got := int(pix[i*h.Channels+c])
						if off := got - int(want[3*i+c]); max(off, -off) > 2 { // of six bits and of ten
							t.Fatalf("sample %d of pixel %d is %d, want %d", c, i, got, want[3*i+c])
						}
					}
					if h.Channels == 4 && pix[4*i+3] != 0xff {
						t.Fatalf("pixel %d is not opaque", i)
					}
				}
			})
		}
	}
}

// Transparency that is zero everywhere is none: writers leave it so.
func TestDecodeAllTransparent(t *testing.T) {
	d := draw(5, 4, 8)
	k := kind{header: 108, depth: 32, coding: bitFields, masks: []uint32{0xff0000, 0xff00, 0xff, 0xff000000}}
	data := d.file(k)
	for i := len(data) - 4*20; i < len(data); i += 4 {
		data[i+3] = 0
	}
	h, pix, _, err := read(t.Context(), data)
	if err != nil || h.Channels != 3 || !bytes.Equal(pix, d.rgb()) {
		t.Fatalf("%d channels, %v", h.Channels, err)
	}
	data[len(data)-1] = 0x80
	if h, _, _, err = read(t.Context(), data); err != nil || h.Channels != 4 {
		t.Fatalf("%d channels, %v", h.Channels, err)
	}
}

func TestDecodeCutAnywhere(t *testing.T) {
	d := draw(20, 10, 16)
	for _, k := range []kind{{header: 40, depth: 24}, {header: 40, depth: 8, coding: rle8}, {header: 40, depth: 4, topDown: true}} {
		whole := d.file(k)
		for n := range len(whole) {
			_, pix, lost, err := read(t.Context(), whole[:n])
			if err == nil && (len(pix) != 600 || !lost && n < len(whole)-2) {
				t.Fatalf("%+v cut at %d of %d: %d samples, lost %v", k, n, len(whole), len(pix), lost)
			}
			if err != nil && n > len(whole)/2+80 {
				t.Fatalf("%+v cut at %d of %d: %v", k, n, len(whole), err)
			}
		}
	}
}

func TestDecodeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, k := range []kind{{header: 40, depth: 24}, {header: 40, depth: 8, coding: rle8}} {
		if _, _, _, err := read(ctx, draw(9, 9, 9).file(k)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	d := draw(5, 5, 2)
	for _, k := range []kind{
		{header: 40, depth: 0},
		{header: 40, depth: 3},
		{header: 40, depth: 24, coding: 4},
		{header: 40, depth: 24, coding: 5},
		{header: 40, depth: 8, coding: rle4},
		{header: 40, depth: 24, coding: rle24},
	} {
		data := d.file(kind{header: k.header, depth: 24})
		binary.LittleEndian.PutUint16(data[28:], uint16(k.depth))
		binary.LittleEndian.PutUint32(data[30:], k.coding)
		if _, err := ReadHeader(data); !errors.Is(err, ErrCoding) {
			t.Errorf("%+v: %v", k, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, k := range kinds() {
		f.Add(draw(6, 5, 2).file(k))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Open(data)
		if err != nil || max(h.Width, h.Height) > 1<<16 || h.Width*h.Height > 1<<16 || !h.Possible(len(data)) {
			return // a caller decides on the size
		}
		rows := 0
		_, err = Decode(t.Context(), data, h, func(row []uint8) error {
			if rows++; len(row) != h.Width*h.Channels {
				t.Fatalf("a row of %d samples", len(row))
			}
			return nil
		})
		if err == nil && rows != h.Height {
			t.Fatalf("%d rows of %d", rows, h.Height)
		}
	})
}
