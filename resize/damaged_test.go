package resize_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image/color"
	"slices"
	"testing"

	"mmspipe/resize"
)

// idat returns where the pixels of a PNG with one chunk of them begin and end.
func idat(file []byte) (from, to int) {
	from = bytes.Index(file, []byte("IDAT")) + 4
	return from, from + int(binary.BigEndian.Uint32(file[from-8:]))
}

// One rule holds for both ways: what passes through can be decoded, and what can
// be decoded in part is fitted in part, in every format.
func TestFitDamaged(t *testing.T) {
	png, jpg := kinds["png"](80, 60), kinds["jpeg"](80, 60)
	from, to := idat(png)
	adler := bytes.Clone(png)
	adler[to-1] ^= 1
	gap := slices.Concat(png[:from-8], pngChunk("IDAT", png[from:from+900]), pngChunk("tEXt", []byte("a\x00b")),
		pngChunk("IDAT", png[from+900:to]), png[to+4:])
	broken := bytes.Clone(png)
	broken[from+len(png)/2] ^= 0xff
	bmp := kinds["bmp"](80, 60)
	f := resize.New(resize.Options{})
	for name, tt := range map[string]struct {
		data []byte
		lost bool
	}{
		"png, wrong sum":      {adler, false},
		"png, gap":            {gap, false},
		"png, no end":         {png[:len(png)-12], false},
		"png, cut off":        {png[:len(png)*4/5], true},
		"png, broken":         {broken, true},
		"jpeg, cut off":       {jpg[:len(jpg)*4/5], true},
		"jpeg, cut off whole": {append(bytes.Clone(jpg[:len(jpg)*4/5]), 0xff, 0xd9), true},
		"bmp, cut off":        {bmp[:len(bmp)*4/5], true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, width := range []int{80, 40} {
				target := resize.Target{MaxBytes: 1 << 20, MaxWidth: width, Types: carrierTypes}
				results, err := f.Fit(t.Context(), tt.data, target)
				if err != nil {
					t.Fatal(err)
				}
				r := results[0]
				checkResult(t, resize.Info{Width: 80, Height: 60}, target, r)
				if lost := slices.Contains(r.Lost, resize.LostPart); lost != tt.lost || lost && r.PassThrough {
					t.Errorf("width %d: lost %v, passes through: %v", width, r.Lost, r.PassThrough)
				}
				if width == 80 && len(r.Data) > len(tt.data)+12 {
					t.Errorf("%d bytes became %d", len(tt.data), len(r.Data))
				}
			}
		})
	}
}

// What passes through is what strict decoders read: the standard library's, and
// libjpeg of a second frame header.
func TestFitMendsWhatStrictDecodersRefuse(t *testing.T) {
	jpg := kinds["jpeg"](80, 60)
	frame := bytes.Index(jpg, []byte{0xff, 0xc0})
	header := jpg[frame : frame+19]
	longer := slices.Insert(slices.Clone(jpg), frame+19, 0, 0, 0, 0)
	longer[frame+3] += 4
	palette := asPNG(paletted(photo(80, 60, false), false))
	palette[bytes.Index(palette, []byte("PLTE"))+4] ^= 1
	end, zlib := asPNG(photo(80, 60, false)), asPNG(photo(80, 60, false))
	end[len(end)-1] ^= 1
	zlib[bytes.Index(zlib, []byte("IDAT"))+5] ^= 1
	moving := asGIF(paletted(photo(80, 60, false), false), 3)
	extension := bytes.Index(moving, []byte{0x21, 0xf9, 4})
	control := slices.Insert(slices.Clone(moving), extension+7, 0)
	control[extension+2]++
	f := resize.New(resize.Options{})
	for name, tt := range map[string]struct {
		data  []byte
		frame int
	}{
		"jpeg, two frame headers": {slices.Insert(slices.Clone(jpg), frame, header...), 1},
		"jpeg, long frame header": {longer, 1},
		"jpeg, reserved marker":   {afterSOI(jpg, jpegSegment(0x08, "x")), 1},
		"jpeg, between segments":  {slices.Insert(slices.Clone(jpg), frame, 1, 2, 3), 1},
		"png, sum of the palette": {palette, 1},
		"png, sum of the end":     {end, 1},
		"png, head of zlib":       {zlib, 1},
		"gif, long extension":     {control, 3},
	} {
		target := resize.Target{MaxBytes: 1 << 20, Types: carrierTypes}
		results, err := f.Fit(t.Context(), tt.data, target)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := results[0]
		checkResult(t, resize.Info{Width: 80, Height: 60}, target, r)
		if info, err := resize.Inspect(r.Data); err != nil || info.Frames != tt.frame || bytes.Equal(r.Data, tt.data) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		if slices.Contains(r.Lost, resize.LostPart) {
			t.Errorf("%s: lost %v", name, r.Lost)
		}
		again, err := f.Fit(t.Context(), r.Data, target)
		if err != nil || !again[0].PassThrough || !bytes.Equal(again[0].Data, r.Data) || again[0].Lost != nil {
			t.Errorf("%s: what was mended is mended again: %v", name, err)
		}
	}
}

// What no decoder reads is no good variant at any limit.
func TestFitRefusesUnreadable(t *testing.T) {
	png, jpg := kinds["png"](80, 60), kinds["jpeg"](80, 60)
	from, _ := idat(png)
	noPixels := bytes.Clone(png)
	clear(noPixels[from : from+40])
	kind := slices.Concat(png[:8], pngChunk("IHDR", append(bytes.Clone(png[16:24]), 8, 1, 0, 0, 0)), png[33:])
	scan := bytes.Index(jpg, []byte{0xff, 0xda})
	for name, data := range map[string][]byte{
		"png, no kind": kind, "png, no pixels": noPixels, "jpeg, no scan": append(bytes.Clone(jpg[:scan]), 0xff, 0xd9),
	} {
		for _, width := range []int{80, 40} {
			_, err := resize.New(resize.Options{}).Fit(t.Context(), data,
				resize.Target{MaxBytes: 1 << 20, MaxWidth: width, Types: carrierTypes})
			if _, ok := errors.AsType[*resize.UnfitError](err); !ok {
				t.Errorf("%s, width %d: %v", name, width, err)
			}
		}
	}
}

// EXIF's orientation is read of any type of whole numbers.
func TestInspectOrientationTypes(t *testing.T) {
	for _, order := range []interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}{binary.LittleEndian, binary.BigEndian} {
		for kind, want := range map[uint16]int{1: 6, 3: 6, 4: 6, 6: 6, 8: 6, 9: 6, 2: 1, 5: 1, 12: 1} {
			tiff := []byte(exif(order, 1, ""))
			entry := tiff[10+12:] // the second
			order.PutUint16(entry[2:], kind)
			switch kind {
			case 1, 6:
				entry[8] = 6
			case 4, 9:
				order.PutUint32(entry[8:], 6)
			default:
				order.PutUint16(entry[8:], 6)
			}
			info, err := resize.Inspect(afterSOI(asJPEG(photo(30, 20, false)), jpegSegment(0xe1, "Exif\x00\x00"+string(tiff))))
			if err != nil || info.Orientation != want {
				t.Errorf("type %d, %v: %+v, %v", kind, order, info, err)
			}
		}
	}
}

// A JPEG of low quality does not become a larger file by being made smaller.
func TestFitJPEGNeverLarger(t *testing.T) {
	f := resize.New(resize.Options{})
	first, err := f.Fit(t.Context(), kinds["jpeg"](400, 300), resize.Target{MaxBytes: 20_000, Types: carrierTypes})
	if err != nil {
		t.Fatal(err)
	}
	small := first[0].Data
	results, err := f.Fit(t.Context(), small, resize.Target{MaxBytes: 1 << 20, MaxWidth: 390, Types: carrierTypes})
	if err != nil || len(results[0].Data) > len(small) {
		t.Errorf("%d bytes became %d, %v", len(small), len(results[0].Data), err)
	}
}

// A drawing of more colours than a palette has stays sharp: flat areas have their
// very colour.
func TestFitPaletteKeepsFlatAreas(t *testing.T) {
	data := asPNG(screenshot(700, 500))
	f := resize.New(resize.Options{})
	target := resize.Target{MaxBytes: 1 << 20, MaxWidth: 340, Types: carrierTypes}
	whole, err := f.Fit(t.Context(), data, target)
	if err != nil {
		t.Fatal(err)
	}
	target.MaxBytes = len(whole[0].Data) * 9 / 10
	few, err := f.Fit(t.Context(), data, target)
	if err != nil || few[0].ContentType != "image/png" {
		t.Fatalf("%v, %v", few, err)
	}
	if got := color.NRGBAModel.Convert(decoded(t, few[0].Data).At(3, 200)); got != (color.NRGBA{255, 255, 255, 255}) {
		t.Errorf("white is %v", got)
	}
}
