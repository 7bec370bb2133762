package jpeg

import (
	"bytes"
	"context"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// asPicture is a picture of image/jpeg's kind as planes, grey where n is 1.
func asPicture(img *image.YCbCr, n int) *Picture {
	width, height := float64(img.Rect.Dx()), float64(img.Rect.Dy())
	p := &Picture{Planes: []Plane{{img.Y, img.YStride, img.Rect.Dx(), img.Rect.Dy(), width, height}}}
	if n == 1 {
		return p
	}
	p.Colour = YCbCr
	for _, pix := range [][]uint8{img.Cb, img.Cr} {
		p.Planes = append(p.Planes, Plane{pix, img.CStride, (img.Rect.Dx() + 1) / 2, (img.Rect.Dy() + 1) / 2, width / 2, height / 2})
	}
	return p
}

// slowHistogram counts the symbols of a picture as T.81, F.1.2, has them, from
// coefficients that are divided one by one.
func slowHistogram(t *transformed, e *encoder) (h histogram) {
	var predictions [3]int
	for i := range len(t.blocks) / 64 {
		owner := t.owners[i%len(t.owners)]
		class := min(owner, 1)
		block := t.blocks[64*i:][:64]
		run := 0
		for k, c := range block {
			divisor := int(e.quantisers[class].table[k]) * coefficientScale
			v := int(c) - zero
			if k == 0 {
				v = divide(v, divisor, divisor/2)
				h[2*class*symbols+bits.Len(uint(magnitude(v-predictions[owner])))]++
				predictions[owner] = v
				continue
			}
			v = divide(v, divisor, int(deadZone*float64(divisor)))
			if v == 0 {
				run++
				continue
			}
			for ; run > 15; run -= 16 {
				h[(2*class+1)*symbols+0xf0]++
			}
			h[(2*class+1)*symbols+run<<4+bits.Len(uint(magnitude(v)))]++
			run = 0
		}
		if run > 0 {
			h[(2*class+1)*symbols]++
		}
	}
	return h
}

func magnitude(v int) int { return max(v, -v) }

// divide adds an offset to a magnitude and divides it, towards zero.
func divide(v, divisor, offset int) int {
	if v < 0 {
		return -((-v + offset) / divisor)
	}
	return (v + offset) / divisor
}

func TestCountAgainstDefinition(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {8, 8}, {9, 17}, {65, 33}, {300, 200}} {
		for _, n := range []int{1, 3} {
			img := drawn(size.X, size.Y)
			if size.X == 65 { // the largest coefficients
				r := rand.New(rand.NewPCG(1, 1))
				for i := range img.Y {
					img.Y[i] = uint8(255 * ((i%img.YStride/8 + r.IntN(8)/7) & 1))
				}
			}
			tr, err := newTransformed(t.Context(), asPicture(img, n))
			if err != nil {
				t.Fatal(err)
			}
			e := &encoder{transformed: tr, estimates: map[int]float64{}}
			for quality := steps; quality <= 100*steps; quality += 37 {
				counted, err := e.count(t.Context(), quality)
				if err != nil {
					t.Fatal(err)
				}
				if want := slowHistogram(tr, e); want != e.histogram {
					t.Fatalf("%v of %d components at %d: the symbols are counted wrong", size, n, quality)
				}
				written := e.write()
				exact := len(written) - stuffed(written)
				if limit := exact + exact/stuffing + 1; counted > limit || counted < exact {
					t.Errorf("%v at %d: counted %d, written %d without stuffing", size, quality, counted, exact)
				}
			}
		}
	}
}

// stuffed counts the zero bytes that are stuffed into coded data.
func stuffed(file []byte) (n int) {
	for marker, segment := range Segments(file) {
		if marker == markerSOS {
			n += bytes.Count(segment, []byte{0xff, 0})
		}
	}
	return n
}

// What is written is what image/jpeg reads, to within what quantisation at the
// quality allows, in all sizes.
func TestEncodeIsDecodedAlike(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		img := drawn(1+r.IntN(65), 1+r.IntN(65))
		p := asPicture(img, []int{1, 3}[seed%2])
		if seed%4 == 3 {
			full, err := p.Resize(t.Context(), img.Rect.Max, false, 1)
			if err != nil {
				t.Fatal(err)
			}
			p = full
		}
		data, quality, err := Encode(t.Context(), p, Options{MaxBytes: 1 << 20, MinQuality: 1, MaxQuality: 100})
		if err != nil || quality != 100 {
			t.Fatalf("quality %d, %v", quality, err)
		}
		if _, err := stdjpeg.Decode(bytes.NewReader(data)); err != nil {
			t.Fatalf("%v: image/jpeg: %v", img.Rect, err)
		}
		got, err := Decode(t.Context(), data, whole, whole)
		if err != nil || got.Damaged || len(got.Planes) != len(p.Planes) || got.Colour != p.Colour {
			t.Fatalf("%v: %+v, %v", img.Rect, got, err)
		}
		for i := range p.Planes {
			for y := range p.Planes[i].Height {
				for x, v := range p.Planes[i].row(y) {
					if d := int(v) - int(got.Planes[i].row(y)[x]); max(d, -d) > 4 {
						t.Fatalf("%v: plane %d is off by %d at %d, %d", img.Rect, i, d, x, y)
					}
				}
			}
		}
	}
}

// Never over the limit, close under it where the quality is not at its cap, and
// no more refused than what really does not fit.
func TestEncodeUsesTheLimit(t *testing.T) {
	p := asPicture(drawn(640, 480), 3)
	quality := 0
	for limit := 3000; limit < 400_000; limit += limit / 5 {
		data, q, err := Encode(t.Context(), p, Options{MaxBytes: limit, MinQuality: 5, MaxQuality: 95, Segments: []byte("\xff\xfe\x00\x04ab")})
		if over, ok := errors.AsType[*SizeError](err); ok && over.Size > limit {
			if _, q, err := Encode(t.Context(), p, Options{
				MaxBytes: over.Size, MinQuality: 5, MaxQuality: 95,
				Segments: []byte("\xff\xfe\x00\x04ab"),
			}); err != nil || q != 5 {
				t.Errorf("%d bytes are said to be enough: quality %d, %v", over.Size, q, err)
			}
			continue
		}
		if err != nil || len(data) > limit || q < quality || q > 95 {
			t.Fatalf("limit %d: %d bytes, quality %d after %d, %v", limit, len(data), q, quality, err)
		}
		// Above 90 an eighth of quality is more than that in a picture of noise that
		// is all of one strength.
		if q < 90 && len(data) < limit*98/100 {
			t.Errorf("limit %d: %d bytes of quality %d", limit, len(data), q)
		}
		if !bytes.Contains(data[:64], []byte("\xff\xfe\x00\x04ab")) {
			t.Error("the segments are not in the file")
		}
		quality = q
	}
	if quality != 95 {
		t.Errorf("the largest limit gives quality %d", quality)
	}
}

func TestEncodeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Encode(ctx, asPicture(drawn(64, 64), 3), Options{MaxBytes: 1 << 20, MinQuality: 1, MaxQuality: 95}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Whatever the samples, a file is never over its limit and is whole.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("\x00\xff"), uint8(9), uint16(900), true)
	f.Add(drawn(40, 30).Y, uint8(40), uint16(2000), false)
	f.Fuzz(func(t *testing.T, samples []byte, width uint8, limit uint16, half bool) {
		if len(samples) == 0 || width == 0 || len(samples) > 1<<14 {
			return // no picture
		}
		w := min(int(width), len(samples))
		h := len(samples) / w
		plane := Plane{samples, w, w, h, float64(w), float64(h)}
		p := &Picture{Colour: YCbCr, Planes: []Plane{plane, plane, plane}}
		p, err := p.Resize(t.Context(), image.Pt(w, h), half, 1)
		if err != nil {
			t.Fatal(err)
		}
		data, quality, err := Encode(t.Context(), p, Options{MaxBytes: int(limit), MinQuality: 1, MaxQuality: 100})
		if over, ok := errors.AsType[*SizeError](err); ok {
			if over.Size <= int(limit) {
				t.Fatalf("%d bytes are said to be more than %d", over.Size, limit)
			}
			return
		}
		if err != nil || len(data) > int(limit) || quality < 1 || quality > 100 {
			t.Fatalf("%d bytes of quality %d, %v", len(data), quality, err)
		}
		got, err := Decode(t.Context(), data, whole, whole)
		if err != nil || got.Damaged || got.Size() != p.Size() {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := stdjpeg.Decode(bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	})
}
