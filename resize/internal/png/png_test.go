package png

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdpng "image/png"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// chunk makes a chunk.
func chunk(name string, body ...byte) []byte { return appendChunk(nil, name, body) }

// deflate compresses pixels.
func deflate(raw []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// ihdr makes the header chunk.
func (h Header) ihdr() []byte {
	body := binary.BigEndian.AppendUint32(nil, uint32(h.Width))
	body = binary.BigEndian.AppendUint32(body, uint32(h.Height))
	interlaced := byte(0)
	if h.Interlaced {
		interlaced = 1
	}
	return chunk("IHDR", append(body, byte(h.Depth), byte(h.Colour), 0, 0, interlaced)...)
}

// noise makes rows of any bytes, each with any of the filters: that is a picture.
func (h Header) noise(r *rand.Rand) (raw []byte) {
	for _, p := range h.passes() {
		width, height := h.size(p)
		for range height {
			raw = append(raw, byte(r.IntN(5)))
			for range h.rowBytes(width) {
				raw = append(raw, byte(r.IntN(256)))
			}
		}
	}
	return raw
}

// file makes a file of noise.
func (h Header) file(r *rand.Rand, transparent bool) []byte {
	out := append([]byte(Signature), h.ihdr()...)
	if h.Colour == Palette {
		palette := make([]byte, 3*(1<<h.Depth))
		for i := range palette {
			palette[i] = byte(r.IntN(256))
		}
		out = append(out, chunk("PLTE", palette...)...)
	}
	switch {
	case transparent && h.Colour == Palette:
		out = append(out, chunk("tRNS", 0, 100)...)
	case transparent && h.Colour == Grey:
		out = append(out, chunk("tRNS", 0, 1)...)
	case transparent && h.Colour == RGB:
		out = append(out, chunk("tRNS", 0, 1, 0, 2, 0, 3)...)
	}
	return slices.Concat(out, chunk("IDAT", deflate(h.noise(r))...), chunk("IEND"))
}

// read decodes a file whole.
func read(ctx context.Context, data []byte) (*Reader, []uint8, Outcome, error) {
	r, err := Open(data)
	if err != nil {
		return nil, nil, Outcome{}, err
	}
	var pix []uint8
	outcome, err := r.Decode(ctx, func(row []uint8) error {
		pix = append(pix, row...)
		return nil
	})
	return r, pix, outcome, err
}

// compare holds pixels against those of the standard library's decoder.
func compare(t *testing.T, r *Reader, pix []uint8, want image.Image) {
	t.Helper()
	if want.Bounds() != image.Rect(0, 0, r.Width, r.Height) || len(pix) != r.Width*r.Height*r.Channels {
		t.Fatalf("%d samples of %v", len(pix), want.Bounds())
	}
	for y := range r.Height {
		for x := range r.Width {
			p := pix[(y*r.Width+x)*r.Channels:][:r.Channels]
			got := color.NRGBA{p[0], p[0], p[0], 0xff}
			if r.Channels >= 3 {
				got.G, got.B = p[1], p[2]
			}
			if r.Channels == 4 {
				got.A = p[3]
			}
			if c := upper(want.At(x, y)); c != got && (c.A != 0 || got.A != 0) {
				t.Fatalf("at %d,%d %v, want %v", x, y, got, c)
			}
		}
	}
}

// upper returns the upper eight bits of a colour.
func upper(c color.Color) color.NRGBA {
	switch c := c.(type) {
	case color.NRGBA:
		return c
	case color.NRGBA64:
		return color.NRGBA{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8), uint8(c.A >> 8)}
	}
	r, g, b, a := c.RGBA()
	return color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}
}

// all calls test with every kind of pixels.
func all(test func(h Header, transparent bool)) {
	for colour, bits := range depths {
		for depth := 1; depth <= 16; depth *= 2 {
			if bits>>depth&1 == 0 {
				continue
			}
			for i := range 4 {
				test(Header{Depth: depth, Colour: colour, Interlaced: i&1 != 0}, i&2 != 0)
			}
		}
	}
}

func TestDecodeAgainstImagePNG(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all(func(h Header, transparent bool) {
		for _, size := range []image.Point{{1, 1}, {3, 5}, {8, 8}, {17, 9}, {1, 40}, {61, 2}, {33, 33}} {
			h.Width, h.Height = size.X, size.Y
			t.Run(fmt.Sprintf("%+v %v", h, transparent), func(t *testing.T) {
				data := h.file(r, transparent)
				got, pix, outcome, err := read(t.Context(), data)
				if err != nil || outcome.Lost || outcome.Odd {
					t.Fatalf("%+v, %v", outcome, err)
				}
				want, err := stdpng.Decode(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				compare(t, got, pix, want)
			})
		}
	})
}

// sound is a small picture, and its pixels deflated.
func sound() (h Header, data, pixels []byte) {
	h = Header{Width: 20, Height: 15, Depth: 8, Colour: RGB}
	r := rand.New(rand.NewPCG(3, 4))
	pixels = deflate(h.noise(r))
	return h, slices.Concat([]byte(Signature), h.ihdr(), chunk("IDAT", pixels...), chunk("IEND")), pixels
}

// What other decoders forgive gives the same pixels. What strict ones would not
// read is repaired for them.
func TestDecodeForgives(t *testing.T) {
	h, data, pixels := sound()
	_, want, _, err := read(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	join := func(parts ...[]byte) []byte {
		return slices.Concat(append([][]byte{[]byte(Signature), h.ihdr()}, parts...)...)
	}
	badly := func(c []byte) []byte {
		c = bytes.Clone(c)
		c[len(c)-1] ^= 1
		return c
	}
	idat, iend, text := chunk("IDAT", pixels...), chunk("IEND"), chunk("tEXt", []byte("a\x00b")...)
	adler := bytes.Clone(pixels)
	adler[len(adler)-1] ^= 1
	window := bytes.Clone(pixels)
	window[0], window[1] = 0x08, 0x00 // a window of 256 bytes, and wrong check bits
	for name, tt := range map[string]struct {
		data []byte
		odd  bool
	}{
		"text with a wrong checksum":    {join(badly(text), idat, iend), false},
		"profile with a wrong checksum": {join(badly(chunk("iCCP", []byte("x\x00\x00y")...)), idat, iend), false},
		"late gamma":                    {join(idat, chunk("gAMA", 0, 0, 0, 1), iend), false},
		"palette of a colour picture":   {join(chunk("PLTE", 1, 2, 3), idat, iend), false},
		"rows beyond the last":          {join(chunk("IDAT", deflate(append(inflated(t, pixels), make([]byte, 200)...))...), iend), false},
		"empty pieces":                  {join(chunk("IDAT"), idat, chunk("IDAT"), iend), false},
		"no end":                        {join(idat), true},
		"cut in the end":                {join(idat, iend[:9]), true},
		"wrong checksum of pixels":      {join(badly(idat), iend), true},
		"wrong sum of pixels":           {join(chunk("IDAT", adler...), iend), true},
		"no sum of pixels":              {join(chunk("IDAT", pixels[:len(pixels)-4]...), iend), true},
		"a gap":                         {join(chunk("IDAT", pixels[:50]...), text, chunk("IDAT", pixels[50:]...), iend), true},
		"wrong header of pixels":        {join(chunk("IDAT", window...), iend), true},
	} {
		t.Run(name, func(t *testing.T) {
			r, pix, outcome, err := read(t.Context(), tt.data)
			if err != nil || outcome.Lost || outcome.Odd != tt.odd || !bytes.Equal(pix, want) {
				t.Fatalf("%+v, %v, pixels are right: %v", outcome, err, bytes.Equal(pix, want))
			}
			if !outcome.Odd {
				return
			}
			repaired, ok := r.Repair(outcome)
			if !ok {
				t.Fatal("it cannot be repaired")
			}
			img, err := stdpng.Decode(bytes.NewReader(repaired))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, r, want, img)
			if _, _, outcome, err := read(t.Context(), repaired); err != nil || outcome.Odd {
				t.Errorf("repaired: %+v, %v", outcome, err)
			}
		})
	}
}

func inflated(t *testing.T, packed []byte) []byte {
	t.Helper()
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Greys with a palette, which the standard forbids.
func TestDecodeGreyWithPalette(t *testing.T) {
	h := Header{Width: 5, Height: 4, Depth: 8, Colour: Grey}
	data := h.file(rand.New(rand.NewPCG(5, 5)), false)
	r, pix, outcome, err := read(t.Context(), slices.Insert(data, 33, chunk("PLTE", 1, 2, 3)...))
	if err != nil || r.Channels != 1 || !outcome.Odd {
		t.Fatalf("%d channels, %+v, %v", r.Channels, outcome, err)
	}
	repaired, _ := r.Repair(outcome)
	img, err := stdpng.Decode(bytes.NewReader(repaired))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, r, pix, img)
}

func TestOpenRefuses(t *testing.T) {
	h, data, _ := sound()
	for name, change := range map[string]func(Header) []byte{
		"colour type 1":  func(h Header) []byte { h.Colour = 1; return h.ihdr() },
		"colour type 7":  func(h Header) []byte { h.Colour = 7; return h.ihdr() },
		"RGB of 4 bits":  func(h Header) []byte { h.Depth = 4; return h.ihdr() },
		"3 bits":         func(h Header) []byte { h.Depth, h.Colour = 3, 0; return h.ihdr() },
		"width 0":        func(h Header) []byte { h.Width = 0; return h.ihdr() },
		"height 2^31":    func(h Header) []byte { h.Height = 1 << 31; return h.ihdr() },
		"wrong checksum": func(h Header) []byte { c := h.ihdr(); c[len(c)-1] ^= 1; return c },
		"palette":        func(h Header) []byte { h.Colour = Palette; return h.ihdr() },
	} {
		if _, err := Open(slices.Concat(data[:8], change(h), data[33:])); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := Open(append(data[:33:33], chunk("IEND")...)); err == nil {
		t.Error("a file without pixels is read")
	}
}

// A file that is cut off anywhere has the rows up to there, the rest grey.
func TestDecodeCutAnywhere(t *testing.T) {
	h, data, pixels := sound()
	_, want, _, err := read(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	end := 33 + 8 + len(pixels) - 4 // of the deflated data
	for n := 34; n < end; n++ {
		_, pix, outcome, err := read(t.Context(), data[:n])
		if err != nil {
			if n > end/2 {
				t.Errorf("cut at %d of %d: %v", n, end, err)
			}
			continue
		}
		rows := 0
		for rows < h.Height && bytes.Equal(pix[rows*60:][:60], want[rows*60:][:60]) {
			rows++
		}
		if len(pix) != len(want) || outcome.Lost == (rows == h.Height) || !outcome.Lost && !outcome.Odd || rows == 0 {
			t.Fatalf("cut at %d: %d rows, %+v", n, rows, outcome)
		}
		for _, v := range pix[rows*60:] {
			if v != missing {
				t.Fatalf("cut at %d: %d in place of what is missing", n, v)
			}
		}
	}
}

// An interlaced one is there as a whole, if coarse, as soon as the first pass is.
func TestDecodeInterlacedCutOff(t *testing.T) {
	h := Header{Width: 64, Height: 64, Depth: 8, Colour: Grey, Interlaced: true}
	var raw []byte
	for _, p := range h.passes() {
		width, height := h.size(p)
		for range height {
			raw = append(append(raw, 0), bytes.Repeat([]byte{200}, width)...)
		}
	}
	pixels := deflate(raw[:9*8+10])
	data := slices.Concat([]byte(Signature), h.ihdr(), chunk("IDAT", pixels...))
	_, pix, outcome, err := read(t.Context(), data)
	if err != nil || !outcome.Lost {
		t.Fatalf("%+v, %v", outcome, err)
	}
	for i, v := range pix {
		if v != 200 {
			t.Fatalf("sample %d is %d", i, v)
		}
	}
}

// counting counts how often a decoder asks whether to go on: for each row and each
// piece of the file.
type counting struct {
	context.Context
	asked int
}

func (c *counting) Err() error {
	c.asked++
	return c.Context.Err()
}

// emptyBlocks are deflated blocks with a code of their own and nothing in it, the
// dearest way to say nothing. They have 90 bits each.
func emptyBlocks(n int) []byte {
	var out []byte
	bits, at := uint64(0), 0
	write := func(value uint64, count int) {
		for bits, at = bits|value<<at, at+count; at >= 8; bits, at = bits>>8, at-8 {
			out = append(out, byte(bits))
		}
	}
	for range n {
		write(0b10<<1, 3)       // not the last, with a code
		write(14<<10, 14)       // 257 symbols, one distance, 18 lengths of lengths
		write(1<<6|1<<51, 54)   // 1 for 18, a run of zeros, and for 1
		write(1|(138-11)<<1, 8) // zeros
		write(1|(118-11)<<1, 8) // up to 256
		write(0, 3)             // which has a code of one bit, as the distance has; and is there
	}
	return append(out, byte(bits))
}

// Blocks with nothing in them are read up to a bound, wherever they stand.
func TestDecodeBoundsEmptyBlocks(t *testing.T) {
	h := Header{Width: 3000, Height: 300, Depth: 8, Colour: RGB}
	empty := emptyBlocks(200_000)
	n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(empty)))
	if n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("the blocks are not empty: %d bytes, %v", n, err)
	}
	row := make([]byte, 1+9000)
	rows := func(n int) []byte { // in blocks that are not the last
		var b bytes.Buffer
		z, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			z.Write(row)
		}
		z.Flush()
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		deflated []byte
		rows     int
	}{
		"first":   {empty, 0},
		"between": {slices.Concat(rows(250), empty, rows(50)), 250},
		"last":    {slices.Concat(rows(300), empty), 300},
	} {
		data := slices.Concat([]byte(Signature), h.ihdr(), chunk("IDAT", append([]byte{0x78, 1}, tt.deflated...)...), chunk("IEND"))
		r, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		ctx := &counting{Context: t.Context()}
		outcome, err := r.Decode(ctx, func([]uint8) error { return nil })
		if (err != nil) != (tt.rows == 0) || err == nil && outcome.Lost != (tt.rows < h.Height) {
			t.Errorf("%s: %+v, %v", name, outcome, err)
		}
		const pieces = 16 // of 32 KiB; the file has 68
		if ctx.asked > tt.rows+pieces {
			t.Errorf("%s: asked %d times for %d rows: far more than 256 KiB were read", name, ctx.asked, tt.rows)
		}
	}
}

func TestDecodeCancelled(t *testing.T) {
	_, data, _ := sound()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := read(ctx, data); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// What a decode allocates is what Memory says, and does not grow with the height.
func TestMemory(t *testing.T) {
	tall := Header{Width: 100, Height: 60000, Depth: 8, Colour: RGBA}
	if low := (Header{Width: 100, Height: 10, Depth: 8, Colour: RGBA}); tall.Memory() != low.Memory() {
		t.Errorf("%d bytes for %d rows, %d for %d", tall.Memory(), tall.Height, low.Memory(), low.Height)
	}
	data := slices.Concat([]byte(Signature), tall.ihdr(), chunk("IDAT", deflate(make([]byte, tall.rawBytes()))...), chunk("IEND"))
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := Open(data)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := r.Decode(b.Context(), func([]uint8) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > tall.Memory() {
		t.Errorf("%d bytes are allocated, %d were said", got, tall.Memory())
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 9))
	all(func(h Header, transparent bool) {
		h.Width, h.Height = 7, 5
		f.Add(h.file(r, transparent))
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Open(data)
		if err != nil || r.Width*r.Height > 1<<16 || max(r.Width, r.Height) > 1<<16 {
			return // a caller decides on the size
		}
		_ = Profile(data)
		rows := 0
		outcome, err := r.Decode(t.Context(), func(row []uint8) error {
			if rows++; len(row) != r.Width*r.Channels {
				t.Fatalf("a row of %d samples", len(row))
			}
			return nil
		})
		if err != nil {
			return
		}
		if rows != r.Height {
			t.Fatalf("%d rows of %d", rows, r.Height)
		}
		if repaired, ok := r.Repair(outcome); ok {
			if _, _, again, err := read(t.Context(), repaired); err != nil || again.Odd || again.Lost {
				t.Fatalf("repaired: %+v, %v", again, err)
			}
		}
		if want, err := stdpng.Decode(bytes.NewReader(data)); err == nil && want.Bounds().Dx() == r.Width && outcome.Lost {
			t.Fatal("the standard library reads it whole")
		}
	})
}
