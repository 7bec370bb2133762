package jpeg

import (
	"bytes"
	"context"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var (
	whole   = image.Pt(1<<16, 1<<16) // asks for all there is
	nothing = image.Pt(0, 0)         // asks for the smallest
)

// samples calls test with some thousand files of all kinds and sizes.
func samples(t *testing.T, test func(t *testing.T, s *sample, data []byte)) {
	t.Helper()
	count := 4000
	if testing.Short() {
		count = 400
	}
	for seed := range count {
		r := rand.New(rand.NewPCG(uint64(seed), 4))
		n := []int{1, 3, 3, 3, 4}[r.IntN(5)]
		s := newSample(r, 1+r.IntN(65), 1+r.IntN(33), randomFactors(r, n), seed%2 == 1)
		if n == 4 {
			s.adobe = []int{-1, 0, 2}[r.IntN(3)]
		}
		data := s.file(r)
		test(t, s, data)
		if t.Failed() {
			t.Fatalf("file %d: %d × %d, progressive %v, restart %d, factors %+v", seed, s.width, s.height,
				s.progressive, s.restart, s.scans)
		}
	}
}

// reference is the inverse DCT as T.81, A.3.3 defines it, of the lowest
// coefficients alone where side is less than 8.
func reference(b *[64]int, q *[64]uint16, side int) (out [64]float64) {
	var coefficients [8][8]float64
	for k, at := range zigzag {
		coefficients[at/8][at%8] = float64(b[k]) * float64(q[k])
	}
	k := &basis[side]
	var columns [8][8]float64
	for y := range side {
		for u := range side {
			for v := range side {
				columns[y][u] += coefficients[v][u] * k[v][y]
			}
		}
	}
	for y := range side {
		for x := range side {
			sum := 0.0
			for u := range side {
				sum += columns[y][u] * k[u][x]
			}
			out[y*side+x] = min(max(128+sum/8, 0), 255)
		}
	}
	return out
}

// basis has the factors of each coefficient for each sample, by the number of
// points.
var basis = func() (k [9][8][8]float64) {
	for side := range k {
		for u := range side {
			for x := range side {
				k[side][u][x] = math.Sqrt2 * math.Cos(float64((2*x+1)*u)*math.Pi/float64(2*side))
				if u == 0 {
					k[side][u][x] = 1
				}
			}
		}
	}
	return k
}()

// Every coding, at all sizes, against the definition: no sample differs from the
// exact value by more than 1, 0.5 of it for rounding to a sample.
func TestDecodeAgainstDefinition(t *testing.T) {
	asked := []func(c *sampleComponent) image.Point{}
	for shift := range 4 {
		asked = append(asked, func(c *sampleComponent) image.Point {
			return image.Pt(ceilDiv(c.width, 1<<shift), ceilDiv(c.height, 1<<shift))
		})
	}
	worst := 0.0
	samples(t, func(t *testing.T, s *sample, data []byte) {
		for shift, size := range asked {
			luma, chroma := size(s.components[0]), nothing
			for _, c := range s.components[1:] {
				chroma.X, chroma.Y = max(chroma.X, size(c).X), max(chroma.Y, size(c).Y)
			}
			if shift == 3 {
				luma, chroma = nothing, nothing
			}
			p, err := Decode(t.Context(), data, luma, chroma)
			if err != nil || p.Damaged || len(p.Planes) != len(s.components) {
				t.Errorf("shift %d: %+v, %v", shift, p, err)
				return
			}
			for i, c := range s.components {
				want := luma
				if i > 0 && (p.Colour == YCbCr || p.Colour == InvertedYCCK && i < 3) {
					want = chroma
				}
				worst = max(worst, comparePlane(t, &p.Planes[i], c, want))
			}
		}
	})
	t.Logf("largest difference %.3f", worst)
}

// comparePlane holds a plane against its coefficients.
func comparePlane(t *testing.T, p *Plane, c *sampleComponent, asked image.Point) (worst float64) {
	t.Helper()
	shift := 0 // as its stride says; that of a narrow plane has all samples of a block
	for p.Stride < c.blocksX*8>>shift {
		shift++
	}
	if p.Width != ceilDiv(c.width, 1<<shift) || p.Height != ceilDiv(c.height, 1<<shift) ||
		p.Width < min(asked.X, c.width) || p.Height < min(asked.Y, c.height) {
		t.Errorf("plane of %d × %d for a component of %d × %d, asked for %v", p.Width, p.Height, c.width, c.height, asked)
		return 0
	}
	side := 8 >> shift
	for by := range ceilDiv(p.Height, side) {
		for bx := range ceilDiv(p.Width, side) {
			want := reference(&c.blocks[by*c.blocksX+bx], &c.quantization, side)
			for i, w := range want[:side*side] {
				x, y := bx*side+i%side, by*side+i/side
				if x >= p.Width || y >= p.Height {
					continue
				}
				worst = max(worst, math.Abs(float64(p.row(y)[x])-w))
			}
		}
	}
	if worst > 1 {
		t.Errorf("at 1/%d a sample is off by %.2f", 1<<shift, worst)
	}
	return worst
}

// The files that image/jpeg takes too: no sample differs by more than 1.
func TestDecodeAgainstImageJPEG(t *testing.T) {
	counts := map[int]int{}
	samples(t, func(t *testing.T, s *sample, data []byte) {
		if s.restart > 0 && s.countsBlocks() {
			return
		}
		img, err := stdjpeg.Decode(bytes.NewReader(data))
		if _, ok := errors.AsType[stdjpeg.UnsupportedError](err); ok {
			return
		}
		if err != nil {
			t.Errorf("image/jpeg: %v", err)
			return
		}
		p, err := Decode(t.Context(), data, whole, whole)
		if err != nil {
			t.Error(err)
			return
		}
		counts[len(p.Planes)]++
		switch img := img.(type) {
		case *image.Gray:
			compareSamples(t, &p.Planes[0], img.Pix, img.Stride)
		case *image.YCbCr:
			compareSamples(t, &p.Planes[0], img.Y, img.YStride)
			compareSamples(t, &p.Planes[1], img.Cb, img.CStride)
			compareSamples(t, &p.Planes[2], img.Cr, img.CStride)
		case *image.CMYK:
			compareInks(t, p, s, img)
		}
	})
	if counts[1] < 10 || counts[3] < 10 || counts[4] < 1 {
		t.Errorf("compared, by components: %v", counts)
	}
}

// countsBlocks reports whether a scan counts restart intervals in blocks, of which
// there are others than units. There image/jpeg counts units.
func (s *sample) countsBlocks() bool {
	several := false
	for _, c := range s.components {
		several = several || c.h*c.v > 1
	}
	return several && slices.ContainsFunc(s.scans, func(scan sampleScan) bool { return len(scan.components) == 1 })
}

func compareSamples(t *testing.T, p *Plane, pix []uint8, stride int) {
	t.Helper()
	for y := range p.Height {
		for x, v := range p.row(y) {
			if w := pix[y*stride+x]; max(v, w)-min(v, w) > 1 {
				t.Errorf("at %d, %d: %d, image/jpeg has %d", x, y, v, w)
				return
			}
		}
	}
}

// compareInks compares pictures of four components through what they look like.
func compareInks(t *testing.T, p *Picture, s *sample, img *image.CMYK) {
	t.Helper()
	for _, plane := range p.Planes {
		if plane.Width != s.width || plane.Height != s.height {
			return
		}
	}
	for y := range s.height {
		for x := range s.width {
			var in [4]uint8
			for i := range in {
				in[i] = p.Planes[i].row(y)[x]
			}
			r, g, b := toRGB(p.Colour, in)
			wr, wg, wb, _ := img.At(x, y).RGBA()
			for i, d := range []int{int(r) - int(wr>>8), int(g) - int(wg>>8), int(b) - int(wb>>8)} {
				if max(d, -d) > 4 { // three samples off by one, and rounding
					t.Errorf("at %d, %d: colour %d of %v is off by %d", x, y, i, p.Colour, d)
					return
				}
			}
		}
	}
}

func TestDecodeColour(t *testing.T) {
	for _, tt := range []struct {
		name  string
		n     int
		adobe int
		jfif  bool
		ids   string
		want  Colour
	}{
		{"grey", 1, -1, true, "", Grey},
		{"JFIF", 3, -1, true, "", YCbCr},
		{"nothing said", 3, -1, false, "", YCbCr},
		{"named RGB", 3, -1, false, "RGB", RGB},
		{"named RGB in JFIF", 3, -1, true, "RGB", YCbCr},
		{"Adobe RGB", 3, 0, false, "", RGB},
		{"Adobe YCbCr", 3, 1, false, "RGB", YCbCr},
		{"CMYK", 4, -1, false, "", CMYK},
		{"Adobe CMYK", 4, 0, false, "", InvertedCMYK},
		{"Adobe YCCK", 4, 2, false, "", InvertedYCCK},
	} {
		r := rand.New(rand.NewPCG(1, 1))
		factors := [][2]int{{1, 1}, {1, 1}, {1, 1}, {1, 1}}[:tt.n]
		s := newSample(r, 9, 9, factors, false)
		s.adobe, s.jfif = tt.adobe, tt.jfif
		for i := range tt.ids {
			s.components[i].id = tt.ids[i]
		}
		p, err := Decode(t.Context(), s.file(r), whole, whole)
		if err != nil || p.Colour != tt.want {
			t.Errorf("%s: %v, %v; want colour %v", tt.name, p, err, tt.want)
		}
	}
}

// A file cut off behind each of its bytes.
func TestDecodeCutAnywhere(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := newSample(r, 40, 30, randomFactors(r, []int{1, 3, 4}[seed%3]), seed%2 == 1)
		data := s.file(r)
		for n := range data {
			p, err := Decode(t.Context(), data[:n], whole, nothing)
			if err == nil && (len(p.Planes) != len(s.components) || p.Planes[0].Width != s.components[0].width) {
				t.Fatalf("cut at %d of %d: %+v", n, len(data), p)
			}
			// A scan ends in some bits of padding; before that a cut shows.
			if err == nil && !p.Damaged && n < lastScan(data) {
				t.Fatalf("cut at %d of %d, which is not seen", n, len(data))
			}
		}
	}
}

// lastScan returns where the last scan of the file begins.
func lastScan(data []byte) int {
	return bytes.LastIndex(data, []byte{0xff, markerSOS})
}

// What is behind a damaged interval is as it was.
func TestDecodeResynchronises(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	s := newSample(r, 160, 160, [][2]int{{1, 1}}, false)
	s.restart = 20 // a row
	data := s.file(r)
	good, err := Decode(t.Context(), data, whole, whole)
	if err != nil || good.Damaged {
		t.Fatal(err)
	}
	third := bytes.Index(data, []byte{0xff, markerRST0 + 2})
	fourth := bytes.Index(data, []byte{0xff, markerRST0 + 3})
	fifth := bytes.Index(data, []byte{0xff, markerRST0 + 4})
	for name, bad := range map[string][]byte{
		"interval lost":           append(bytes.Clone(data[:third]), data[fourth:]...),
		"two lost":                append(bytes.Clone(data[:third]), data[fifth:]...),
		"interval of other bytes": append(append(bytes.Clone(data[:third+2]), bytes.Repeat([]byte{0x5a}, 50)...), data[fourth:]...),
		"interval cut short":      append(bytes.Clone(data[:third+4]), data[fourth:]...),
		"interval twice":          append(bytes.Clone(data[:fourth]), data[third:]...),
	} {
		p, err := Decode(t.Context(), bad, whole, whole)
		if err != nil || p.Damaged == (name == "interval twice") { // of which nothing is missing
			t.Errorf("%s: %v, damaged %v", name, err, p.Damaged)
			continue
		}
		for y := range 160 {
			if y >= 24 && y < 40 {
				continue
			}
			if !bytes.Equal(p.Planes[0].row(y), good.Planes[0].row(y)) {
				t.Errorf("%s: row %d is not as it was", name, y)
				break
			}
		}
	}
}

func TestDecodeWithoutHuffmanTables(t *testing.T) {
	var whole420 bytes.Buffer
	if err := stdjpeg.Encode(&whole420, drawn(100, 70), nil); err != nil { // it writes the standard's tables
		t.Fatal(err)
	}
	var without, bare []byte
	for marker, segment := range Segments(whole420.Bytes()) {
		if marker != markerDHT {
			without = append(without, segment...)
		}
		if marker != markerDQT {
			bare = append(bare, segment...)
		}
	}
	want, err := Decode(t.Context(), whole420.Bytes(), whole, whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(t.Context(), without, whole, whole)
	if err != nil || got.Damaged || !bytes.Equal(got.Planes[0].Pix, want.Planes[0].Pix) {
		t.Errorf("without Huffman tables: %v", err)
	}
	if _, err := Decode(t.Context(), bare, whole, whole); err == nil {
		t.Error("a file without quantization tables is decoded")
	}
}

func TestDecodeGarbageBetweenMarkers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	s := newSample(r, 50, 40, [][2]int{{2, 2}, {1, 1}, {1, 1}}, true)
	data := s.file(r)
	want, err := Decode(t.Context(), data, whole, whole)
	if err != nil {
		t.Fatal(err)
	}
	var messy []byte
	for _, segment := range Segments(data) {
		messy = append(append(messy, segment...), "\x00no marker\xff\xff"...)
	}
	messy = append(messy, "\xff\xd8\xff\xc0 a second picture behind the end"...)
	got, err := Decode(t.Context(), messy, whole, whole)
	if err != nil || !bytes.Equal(got.Planes[0].Pix, want.Planes[0].Pix) {
		t.Errorf("with garbage: %v", err)
	}
}

// A scan of few bytes makes a decoder walk all blocks. The work is bounded by
// how often all scans together visit them.
func TestDecodeBoundsWork(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	s := newSample(r, 3000, 3000, [][2]int{{1, 1}}, true)
	s.restart = 0
	for i := range s.components[0].blocks {
		s.components[0].blocks[i] = [64]int{}
	}
	s.scans = []sampleScan{{components: []int{0}, low: 0}}
	for range 90 {
		s.scans = append(s.scans, sampleScan{[]int{0}, 1, 63, 1, 0})
	}
	d := &decoder{}
	d.standardHuffman()
	data := s.file(r)
	for marker, segment := range Segments(data) {
		if err := d.segment(t.Context(), data, marker, segment, whole, whole); err != nil {
			t.Fatal(err)
		}
	}
	if limit := max(smallWork, maxVisits*d.blocks()) + d.blocks(); d.visits > limit && !d.damaged {
		t.Errorf("%d visits of %d blocks", d.visits, d.blocks())
	}
	if !d.damaged {
		t.Error("all of 91 scans are read")
	}
}

// A file of nothing but tables is given up.
func TestDecodeBoundsTables(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	data := newSample(r, 16, 16, [][2]int{{1, 1}}, false).file(r)
	table := []byte{0xff, markerDQT, 0, 67, 0}
	table = append(table, bytes.Repeat([]byte{1}, 64)...)
	for tables, fails := range map[int]bool{maxTables / 2: false, maxTables + 1: true} {
		_, err := Decode(t.Context(), slices.Insert(bytes.Clone(data), 2, bytes.Repeat(table, tables)...), whole, whole)
		if (err != nil) != fails {
			t.Errorf("%d tables: %v", tables, err)
		}
	}
}

// Few bytes of arithmetic coding can be made to say very much.
func TestDecodeBoundsDecisions(t *testing.T) {
	data, err := os.ReadFile("../../testdata/arithmetic.jpg")
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{}
	if err := d.readFile(t.Context(), data, whole, whole); err != nil || d.damaged || d.decisions <= 0 {
		t.Fatalf("%d decisions are left, damaged %v, %v", d.decisions, d.damaged, err)
	}
	used := decisionsPerBlock*d.blocks() + decisionsPerByte*int64(len(data)) - d.decisions
	s := &scan{decoder: &decoder{decisions: used - 1}}
	s.arithmetic.steps = used
	if s.worthwhile() {
		t.Error("more decisions than there are left")
	}
}

func TestDecodeCancelled(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, progressive := range []bool{false, true} {
		data := newSample(r, 64, 64, [][2]int{{1, 1}}, progressive).file(r)
		if _, err := Decode(ctx, data, whole, whole); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		f.Add(newSample(r, 1+r.IntN(40), 1+r.IntN(40), randomFactors(r, []int{1, 3, 4}[seed%3]), seed%2 == 1).file(r))
	}
	arithmetic, err := os.ReadFile("../../testdata/arithmetic.jpg")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(arithmetic)
	f.Fuzz(func(t *testing.T, data []byte) {
		for marker, segment := range Segments(data) {
			if isFrameHeader(marker) && len(segment) >= 10 {
				height, width := int(segment[5])<<8|int(segment[6]), int(segment[7])<<8|int(segment[8])
				if height*width > 1<<18 {
					return // a caller decides on the size
				}
				break
			}
		}
		for _, asked := range []image.Point{whole, {100, 100}, nothing} {
			p, err := Decode(t.Context(), data, asked, asked)
			if err != nil {
				continue
			}
			if p, err = p.Resize(t.Context(), image.Pt(33, 17), false, 6); err != nil {
				t.Fatal(err)
			}
			p.ToYCbCr()
			out, _, err := Encode(t.Context(), p, Options{MaxBytes: 10_000, MinQuality: 1, MaxQuality: 95})
			if err != nil || len(out) > 10_000 {
				t.Fatalf("%d bytes, %v", len(out), err)
			}
		}
	})
}
