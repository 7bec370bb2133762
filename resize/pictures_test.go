package resize_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // for image.Decode of the pictures made here
)

// photo draws something like a photograph: slow gradients, an edge, and noise.
// alpha makes part of it transparent.
func photo(width, height int, alpha bool) *image.NRGBA {
	random := rand.New(rand.NewPCG(uint64(width), uint64(height)))
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			noise := uint8(random.IntN(24))
			c := color.NRGBA{
				R: uint8(200*x/width) + noise,
				G: uint8(200*y/height) + noise,
				B: uint8(100+100*(x+y)/(width+height)) + noise,
				A: 0xff,
			}
			if x > width/2 && y > height/3 {
				c.R, c.B = c.B, c.R
			}
			if alpha && (x+y)%3 == 0 {
				c.A = uint8(255 * x / width)
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

// screenshot draws something like one: flat areas, a gradient at the top, and
// lines like those of letters, some in colour.
func screenshot(width, height int) *image.NRGBA {
	random := rand.New(rand.NewPCG(uint64(width), 77))
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{0xff, 0xff, 0xff, 0xff}
			if y < height/8 {
				c = color.NRGBA{uint8(40 + 60*x/width), 90, 180, 0xff}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	for top := height / 6; top+10 < height; top += 18 {
		ink := color.NRGBA{0x20, 0x20, uint8(0x20 + 0x60*(top&1)), 0xff}
		for x := 10; x+8 < width; x += 8 {
			for range 3 { // strokes
				dx, dy := random.IntN(6), random.IntN(9)
				for i := range 5 {
					img.SetNRGBA(x+min(dx+i, 6)*(dy&1)+dx*(1-dy&1), top+min(dy+i*(1-dy&1), 9), ink)
				}
			}
		}
	}
	return img
}

// as copies a picture into another type of the standard library.
func as[T draw.Image](dst T, src image.Image) T {
	draw.Draw(dst, dst.Bounds(), src, src.Bounds().Min, draw.Src)
	return dst
}

// paletted copies a picture into few colours, the first of them transparent if
// asked for.
func paletted(src image.Image, alpha bool) *image.Paletted {
	palette := color.Palette{color.NRGBA{}}
	if !alpha {
		palette[0] = color.Black
	}
	for i := range 63 {
		palette = append(palette, color.RGBA{uint8(i << 2 & 0xc0), uint8(i << 4 & 0xc0), uint8(i << 6 & 0xc0), 0xff})
	}
	dst := image.NewPaletted(src.Bounds(), palette)
	as(dst, src)
	if alpha {
		clear(dst.Pix[:len(dst.Pix)/2])
	}
	return dst
}

// must returns what a function that writes a picture wrote.
func must(write func(b *bytes.Buffer) error) []byte {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func asJPEG(img image.Image) []byte {
	return must(func(b *bytes.Buffer) error { return jpeg.Encode(b, img, &jpeg.Options{Quality: 90}) })
}

func asPNG(img image.Image) []byte {
	return must(func(b *bytes.Buffer) error { return png.Encode(b, img) })
}

func asBMP(img image.Image) []byte {
	return must(func(b *bytes.Buffer) error { return bmp.Encode(b, img) })
}

// asGIF writes frames of which each but the first is the one before, shifted.
func asGIF(img *image.Paletted, frames int) []byte {
	g := &gif.GIF{}
	for range frames {
		g.Image, g.Delay = append(g.Image, img), append(g.Delay, 10)
		next := *img
		next.Pix = append(slices.Clone(img.Pix[1:]), img.Pix[0])
		img = &next
	}
	return must(func(b *bytes.Buffer) error { return gif.EncodeAll(b, g) })
}

// asGIFScreen writes one frame on a larger screen.
func asGIFScreen(frame *image.Paletted, width, height int) []byte {
	g := &gif.GIF{
		Image: []*image.Paletted{frame}, Delay: []int{0},
		Config: image.Config{ColorModel: frame.Palette, Width: width, Height: height},
	}
	return must(func(b *bytes.Buffer) error { return gif.EncodeAll(b, g) })
}

// bitWriter packs bits, the lowest first.
type bitWriter struct {
	data []byte
	n    uint
}

func (w *bitWriter) write(value uint32, count uint) {
	for i := range count {
		if w.n%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.n/8] |= byte(value>>i&1) << (w.n % 8)
		w.n++
	}
}

// asWebP writes a lossless WebP in the plainest way the format has: no
// transforms, each sample a code of eight bits (RFC 9649, section 3).
func asWebP(img *image.NRGBA) []byte {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	w := &bitWriter{}
	w.write(0x2f, 8)
	w.write(uint32(width-1), 14)
	w.write(uint32(height-1), 14)
	w.write(1, 1)                                       // transparency may be there
	w.write(0, 3)                                       // version
	w.write(0, 3)                                       // no transform, no colour cache, one group of codes
	for _, symbols := range []int{280, 256, 256, 256} { // green, red, blue, alpha
		w.write(0, 1)    // not a simple code
		w.write(12-4, 4) // lengths of the code of lengths, of which there are two: 0 and 8
		for i := range 12 {
			length := uint32(0)
			if i == 2 || i == 11 {
				length = 1
			}
			w.write(length, 3)
		}
		w.write(0, 1) // all symbols follow
		for i := range symbols {
			length8 := uint32(0)
			if i < 256 {
				length8 = 1
			}
			w.write(length8, 1)
		}
	}
	w.write(1, 4) // distances: a simple code of the one symbol 0
	for y := range height {
		for x := range width {
			c := img.NRGBAAt(x, y)
			for _, sample := range []uint8{c.G, c.R, c.B, c.A} {
				w.write(uint32(bits.Reverse8(sample)), 8)
			}
		}
	}
	return riff(riffChunk("VP8L", w.data))
}

func riffChunk(name string, body []byte) []byte {
	out := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	out = append(out, body...)
	if len(body)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

func riff(chunks ...[]byte) []byte {
	return riffChunk("RIFF", append([]byte("WEBP"), bytes.Join(chunks, nil)...))
}

func pngChunk(name string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, name...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// afterIHDR inserts chunks into a PNG.
func afterIHDR(file []byte, chunks ...[]byte) []byte {
	return slices.Insert(slices.Clone(file), 8+25, bytes.Join(chunks, nil)...)
}

func jpegSegment(marker byte, body string) []byte {
	out := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(body)+2))
	return append(out, body...)
}

// afterSOI inserts segments into a JPEG.
func afterSOI(file []byte, segments ...[]byte) []byte {
	return slices.Insert(slices.Clone(file), 2, bytes.Join(segments, nil)...)
}

// exif makes the TIFF structure of EXIF with that orientation and a text.
func exif(order binary.AppendByteOrder, orientation int, text string) string {
	head := "II*\x00"
	if order.String() == "BigEndian" {
		head = "MM\x00*"
	}
	out := order.AppendUint32([]byte(head), 8)
	out = order.AppendUint16(out, 2)
	entry := func(tag, kind uint16, count uint32) {
		out = order.AppendUint32(order.AppendUint16(order.AppendUint16(out, tag), kind), count)
	}
	entry(0x010f, 2, uint32(len(text))) // Make, behind the directory
	out = order.AppendUint32(out, 8+2+2*12+4)
	entry(0x0112, 3, 1)
	out = order.AppendUint16(order.AppendUint16(out, uint16(orientation)), 0)
	return string(append(order.AppendUint32(out, 0), text...))
}

// kinds are pictures of all formats that are decoded and of all types of pixels
// that they may have.
var kinds = map[string]func(width, height int) []byte{
	"jpeg": func(w, h int) []byte { return asJPEG(photo(w, h, false)) },
	"jpeg grey": func(w, h int) []byte {
		return asJPEG(as(image.NewGray(image.Rect(0, 0, w, h)), photo(w, h, false)))
	},
	"png":       func(w, h int) []byte { return asPNG(photo(w, h, false)) },
	"png alpha": func(w, h int) []byte { return asPNG(photo(w, h, true)) },
	"png grey": func(w, h int) []byte {
		return asPNG(as(image.NewGray(image.Rect(0, 0, w, h)), photo(w, h, false)))
	},
	"png palette":       func(w, h int) []byte { return asPNG(paletted(photo(w, h, false), false)) },
	"png palette alpha": func(w, h int) []byte { return asPNG(paletted(photo(w, h, false), true)) },
	"png 16": func(w, h int) []byte {
		return asPNG(as(image.NewRGBA64(image.Rect(0, 0, w, h)), photo(w, h, false)))
	},
	"png 16 alpha": func(w, h int) []byte {
		return asPNG(as(image.NewNRGBA64(image.Rect(0, 0, w, h)), photo(w, h, true)))
	},
	"png 16 grey": func(w, h int) []byte {
		return asPNG(as(image.NewGray16(image.Rect(0, 0, w, h)), photo(w, h, false)))
	},
	"gif":           func(w, h int) []byte { return asGIF(paletted(photo(w, h, false), false), 1) },
	"gif alpha":     func(w, h int) []byte { return asGIF(paletted(photo(w, h, false), true), 1) },
	"gif animation": func(w, h int) []byte { return asGIF(paletted(photo(w, h, false), false), 3) },
	"webp":          func(w, h int) []byte { return asWebP(photo(w, h, false)) },
	"webp alpha":    func(w, h int) []byte { return asWebP(photo(w, h, true)) },
	"bmp":           func(w, h int) []byte { return asBMP(as(image.NewRGBA(image.Rect(0, 0, w, h)), photo(w, h, false))) },
	"bmp palette":   func(w, h int) []byte { return asBMP(paletted(photo(w, h, false), false)) },
}

// decoded returns the pixels of a picture of any format.
func decoded(t testing.TB, data []byte) image.Image {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return img
}
