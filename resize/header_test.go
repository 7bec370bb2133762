package resize_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmspipe/resize"
)

func TestSniff(t *testing.T) {
	for name, kind := range kinds {
		format, _, _ := strings.Cut(name, " ")
		if got := resize.Sniff(kind(3, 3)[:32]); got != "image/"+format {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, other := range []string{
		"", "BM", "BM is no picture at all, only text", "RIFF____WAVE", "GIF88a",
		"II*\x00", "%PDF-1.7", "\x00\x00\x00\x18ftyp", "\x00\x00\x00\x14ftypisom\x00\x00\x02\x00heic", "<svg xmlns='http://www.w3.org/2000/svg'/>",
	} {
		if got := resize.Sniff([]byte(other)); got != "" {
			t.Errorf("%q is %q", other, got)
		}
	}
}

func TestFitRefusesOtherFormats(t *testing.T) {
	for data, format := range map[string]string{
		"II*\x00\x08\x00\x00\x00": "TIFF",
		"MM\x00*\x00\x00\x00\x08": "TIFF",
		"":                        "of no bytes",
		"BEGIN:VCARD":             "of these bytes",
	} {
		_, err := resize.New(resize.Options{}).Fit(t.Context(), []byte(data), resize.Thumb)
		unfit, ok := errors.AsType[*resize.UnfitError](err)
		if !ok || unfit.Reason != "format "+format+" is not decoded" {
			t.Errorf("%q: %v", data, err)
		}
	}
}

// What other encoders write, of codings that the standard library does not.
func TestFilesOfOtherEncoders(t *testing.T) {
	for _, tt := range []struct {
		file string
	}{
		{file: "lossy.webp"},
		{file: "lossy-alpha.webp"},
		{file: "lossless.webp"},
		{file: "progressive.jpg"},
		{file: "cmyk.jpg"},
		{file: "interlaced.png"},
		{file: "arithmetic.jpg"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			info, err := resize.Inspect(data)
			if err != nil || info.Width != 40 || info.Height != 30 || info.Frames != 1 {
				t.Fatalf("Inspect = %+v, %v", info, err)
			}
			target := resize.Target{MaxBytes: 10_000, MaxWidth: 32, Types: carrierTypes}
			results, err := resize.New(resize.Options{}).Fit(t.Context(), data, target)
			if err != nil {
				t.Fatal(err)
			}
			checkResult(t, info, target, results[0])
			// The picture is photo(40, 30): its corner is the darkest.
			if r, g, _, _ := decoded(t, results[0].Data).At(0, 0).RGBA(); r>>8 > 60 || g>>8 > 60 {
				t.Errorf("corner has red %d, green %d", r>>8, g>>8)
			}
		})
	}
}

// A CMYK file is inside the limits, but phones show it wrong or not at all.
func TestFitConvertsCMYK(t *testing.T) {
	data, err := os.ReadFile("testdata/cmyk.jpg")
	if err != nil {
		t.Fatal(err)
	}
	results, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Target{MaxBytes: 1 << 20, Types: carrierTypes})
	if err != nil || results[0].PassThrough {
		t.Fatalf("%+v, %v", results, err)
	}
	if _, ok := decoded(t, results[0].Data).(*image.YCbCr); !ok {
		t.Error("the result is no YCbCr")
	}
}

func TestInspectFrames(t *testing.T) {
	img := paletted(photo(20, 10, false), false)
	for _, frames := range []int{1, 2, 40} {
		if info, err := resize.Inspect(asGIF(img, frames)); err != nil || info.Frames != frames {
			t.Errorf("%d frames: %+v, %v", frames, info, err)
		}
	}
	animated := riff(
		riffChunk("VP8X", []byte{2, 0, 0, 0, 99, 0, 0, 49, 0, 0}),
		riffChunk("ANMF", make([]byte, 16)), riffChunk("ANMF", make([]byte, 16)))
	info, err := resize.Inspect(animated)
	if err != nil || info.Width != 100 || info.Height != 50 || info.Frames != 2 {
		t.Errorf("animated WebP: %+v, %v", info, err)
	}
	_, err = resize.New(resize.Options{}).Fit(t.Context(), animated, resize.Thumb)
	if _, ok := errors.AsType[*resize.UnfitError](err); !ok {
		t.Errorf("animated WebP: %v", err)
	}
	apng := afterIHDR(asPNG(img), pngChunk("acTL", []byte{0, 0, 0, 1, 0, 0, 0, 0}),
		pngChunk("fcTL", make([]byte, 26)), pngChunk("fcTL", make([]byte, 26)), pngChunk("fcTL", make([]byte, 26)))
	if info, err := resize.Inspect(apng); err != nil || info.Frames != 3 {
		t.Errorf("animated PNG: %+v, %v", info, err)
	}
}

func TestInspectAllocatesNothing(t *testing.T) {
	for name, kind := range kinds {
		data := kind(60, 40)
		if n := testing.AllocsPerRun(10, func() { _, _ = resize.Inspect(data) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// stored returns how a picture is coded that is seen as img under that EXIF
// orientation: which edges of what is seen the first row and the first column
// are (CIPA DC-008, table "Orientation").
func stored(img image.Image, orientation int) *image.NRGBA {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	at := map[int]func(x, y int) (column, row int){
		1: func(x, y int) (int, int) { return x, y },
		2: func(x, y int) (int, int) { return w - 1 - x, y },
		3: func(x, y int) (int, int) { return w - 1 - x, h - 1 - y },
		4: func(x, y int) (int, int) { return x, h - 1 - y },
		5: func(x, y int) (int, int) { return y, x },
		6: func(x, y int) (int, int) { return y, w - 1 - x },
		7: func(x, y int) (int, int) { return h - 1 - y, w - 1 - x },
		8: func(x, y int) (int, int) { return h - 1 - y, x },
	}[orientation]
	bounds := image.Rect(0, 0, w, h)
	if orientation >= 5 {
		bounds = image.Rect(0, 0, h, w)
	}
	out := image.NewNRGBA(bounds)
	for y := range h {
		for x := range w {
			column, row := at(x, y)
			out.Set(column, row, img.At(x, y))
		}
	}
	return out
}

func TestFitAppliesOrientation(t *testing.T) {
	corners := []color.NRGBA{{R: 0xff, A: 0xff}, {G: 0xff, A: 0xff}, {B: 0xff, A: 0xff}, {R: 0xff, G: 0xff, A: 0xff}}
	seen := image.NewNRGBA(image.Rect(0, 0, 80, 48))
	for y := range 48 {
		for x := range 80 {
			seen.SetNRGBA(x, y, corners[x/40+2*(y/24)])
		}
	}
	xmp := jpegSegment(0xe1, "http://ns.adobe.com/xap/1.0/\x00<x/>")
	for orientation := 1; orientation <= 8; orientation++ {
		coded := stored(seen, orientation)
		little := exif(binary.LittleEndian, orientation, "x")
		big := exif(binary.BigEndian, orientation, "x")
		for name, data := range map[string][]byte{
			"jpeg": afterSOI(asJPEG(coded), jpegSegment(0xe1, "Exif\x00\x00"+little)),
			"jpeg, second APP1": afterSOI(asJPEG(coded), xmp,
				jpegSegment(0xe1, "Exif\x00\x00"+big)),
			"png":  afterIHDR(asPNG(coded), pngChunk("eXIf", []byte(big))),
			"webp": riff(asWebP(coded)[12:], riffChunk("EXIF", []byte(little))),
		} {
			t.Run(fmt.Sprintf("%s %d", name, orientation), func(t *testing.T) {
				info, err := resize.Inspect(data)
				if err != nil || info.Width != 80 || info.Height != 48 || info.Orientation != orientation {
					t.Fatalf("Inspect = %+v, %v", info, err)
				}
				for _, width := range []int{80, 40} {
					checkCorners(t, data, info, width, corners)
				}
			})
		}
	}
}

func checkCorners(t *testing.T, data []byte, info resize.Info, width int, corners []color.NRGBA) {
	t.Helper()
	target := resize.Target{MaxBytes: 1 << 20, MaxWidth: width, Types: carrierTypes}
	results, err := resize.New(resize.Options{}).Fit(t.Context(), data, target)
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, info, target, results[0])
	// What passes through is turned by whoever shows it, all else was turned.
	want := 1
	if results[0].PassThrough {
		want = info.Orientation
	}
	if again, err := resize.Inspect(results[0].Data); err != nil || again.Orientation != want {
		t.Errorf("the result has orientation %d, %v", again.Orientation, err)
	}
	if passes := info.ContentType == "image/jpeg" && width == info.Width; passes != results[0].PassThrough &&
		info.Orientation != 1 {
		t.Errorf("%d pixels of width pass through: %v", width, results[0].PassThrough)
	}
	if results[0].PassThrough {
		fitTwice(t, resize.New(resize.Options{}), data, info, target)
		if info.Orientation != 1 {
			return
		}
	}
	img := decoded(t, results[0].Data)
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	for i, at := range []image.Point{{3, 3}, {w - 4, 3}, {3, h - 4}, {w - 4, h - 4}} {
		got := color.NRGBAModel.Convert(img.At(at.X, at.Y)).(color.NRGBA)
		if far(got.R, corners[i].R) || far(got.G, corners[i].G) || far(got.B, corners[i].B) {
			t.Errorf("width %d: corner %d is %v, want %v", width, i, got, corners[i])
		}
	}
}

// far allows for what JPEG does to flat colours.
func far(a, b uint8) bool { return max(a, b)-min(a, b) > 30 }

// secret is what no result may carry.
const secret = "48.2082N 16.3738E"

// withMetadata are pictures of each format with the secret in every place that
// has room for it.
func withMetadata() map[string][]byte {
	img := photo(64, 48, false)
	tiff := exif(binary.BigEndian, 1, secret)
	jfxx := jpegSegment(0xe0, "JFXX\x00\x10"+secret)
	return map[string][]byte{
		"jpeg": slices.Concat(afterSOI(asJPEG(img),
			jpegSegment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x02\x03"+secret+"x"), jfxx,
			jpegSegment(0xe1, "Exif\x00\x00"+tiff),
			jpegSegment(0xe1, "http://ns.adobe.com/xap/1.0/\x00"+secret),
			jpegSegment(0xe2, "MPF\x00"+secret),
			jpegSegment(0xed, "Photoshop 3.0\x00"+secret),
			jpegSegment(0xfe, secret)), []byte(secret), asJPEG(img)),
		"png": append(afterIHDR(asPNG(img),
			pngChunk("tEXt", []byte("Comment\x00"+secret)), pngChunk("zTXt", []byte("Comment\x00\x00"+secret)),
			pngChunk("iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+secret)), pngChunk("eXIf", []byte(tiff)),
			pngChunk("tIME", make([]byte, 7)), pngChunk("prVt", []byte(secret))), secret...),
		"gif": append(withGIFExtensions(asGIF(paletted(img, false), 2)), secret...),
		"webp": riff(riffChunk("VP8X", []byte{0x0c, 0, 0, 0, 63, 0, 0, 47, 0, 0}), asWebP(img)[12:],
			riffChunk("EXIF", []byte(tiff)), riffChunk("XMP ", []byte(secret))),
		"bmp": append(asBMP(as(image.NewRGBA(img.Rect), img)), secret...),
	}
}

// withGIFExtensions puts a comment and foreign application data before the
// first block.
func withGIFExtensions(file []byte) []byte {
	block := func(label byte, parts ...string) []byte {
		out := []byte{0x21, label}
		for _, part := range parts {
			out = append(append(out, byte(len(part))), part...)
		}
		return append(out, 0)
	}
	at := 13 + 3<<(file[10]&7+1)*int(file[10]>>7)
	return slices.Insert(slices.Clone(file), at, slices.Concat(block(0xfe, secret), block(0xff, "XMP DataXMP", secret))...)
}

func TestFitDropsMetadata(t *testing.T) {
	f := resize.New(resize.Options{})
	for name, data := range withMetadata() {
		if !bytes.Contains(data, []byte(secret)) {
			t.Fatalf("%s does not have what is to be dropped", name)
		}
		roomy := resize.Target{Name: "roomy", MaxBytes: 1 << 20, Types: carrierTypes}
		small := resize.Target{Name: "small", MaxBytes: 1 << 20, MaxWidth: 32, Types: carrierTypes}
		results, err := f.Fit(t.Context(), data, roomy, small)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range results {
			for _, trace := range []string{secret, "Exif", "eXIf", "XMP", "Photoshop", "MPF", "prVt", "JFXX"} {
				if bytes.Contains(r.Data, []byte(trace)) {
					t.Errorf("%s: %s still has %q", name, r.Name, trace)
				}
			}
			if name != "bmp" && !slices.Contains(r.Lost, resize.LostMetadata) {
				t.Errorf("%s: %s lost %v", name, r.Name, r.Lost)
			}
		}
		if passed := results[0].PassThrough; passed != (name != "webp" && name != "bmp") {
			t.Errorf("%s passes through: %v", name, passed)
		}
		want, got := decoded(t, data), decoded(t, results[0].Data)
		if results[0].PassThrough && fmt.Sprint(want) != fmt.Sprint(got) {
			t.Errorf("%s: cutting out metadata changed the picture", name)
		}
	}
}

func TestFitKeepsColourProfile(t *testing.T) {
	profile := "ICC_PROFILE\x00\x01\x01" + strings.Repeat("P3", 270)
	adobe := jpegSegment(0xee, "Adobe\x00\x64\x00\x00\x00\x00\x01")
	data := afterSOI(asJPEG(photo(64, 48, false)), jpegSegment(0xe2, profile), adobe)
	results, err := resize.New(resize.Options{}).Fit(t.Context(), data,
		resize.Target{Name: "as it is", MaxBytes: 1 << 20, Types: carrierTypes},
		resize.Target{Name: "smaller", MaxBytes: 1 << 20, MaxWidth: 32, Types: carrierTypes},
		resize.Target{Name: "no room", MaxBytes: 2000, MaxWidth: 32, Types: carrierTypes})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(results[0].Data, data) {
		t.Error("a file without metadata does not pass through as it is")
	}
	if !bytes.Contains(results[1].Data, []byte(profile)) {
		t.Error("the profile is gone")
	}
	if bytes.Contains(results[2].Data, []byte(profile)) {
		t.Error("the profile takes a quarter of the bytes")
	}
}
