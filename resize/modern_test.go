package resize_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmspipe/resize"
)

const images = "../testdata/images/"

// modern are pictures as phones and browsers keep them, and what is to become of
// them.
var modern = []struct {
	file          string
	contentType   string
	width, height int // as seen
	frames        int
	result        string
	lost          []string
	metadata      bool
}{
	{file: images + "meadow.heic", contentType: "image/heic", width: 201, height: 151, result: "image/jpeg"},
	{file: images + "meadow.avif", contentType: "image/avif", width: 201, height: 151, result: "image/jpeg"},
	{file: "testdata/heif/deep.heic", contentType: "image/heic", width: 201, height: 151, result: "image/jpeg"},
	{file: "testdata/heif/grid.heic", contentType: "image/heic", width: 250, height: 240, result: "image/jpeg", lost: []string{resize.LostMetadata}},
	{file: "testdata/heif/grid.avif", contentType: "image/avif", width: 256, height: 256, result: "image/jpeg"},
	{file: "testdata/heif/turned.avif", contentType: "image/avif", width: 151, height: 201, result: "image/jpeg"},
	{file: "testdata/heif/deep.avif", contentType: "image/avif", width: 201, height: 151, result: "image/jpeg"},
	{file: "testdata/heif/cropped.avif", contentType: "image/avif", width: 120, height: 140, result: "image/jpeg"},
	{file: "testdata/heif/sticker.heic", contentType: "image/heic", width: 200, height: 200, result: "image/png"},
	{file: "testdata/heif/sticker.avif", contentType: "image/avif", width: 200, height: 200, result: "image/png"},
	{file: "testdata/sticker.webp", contentType: "image/webp", width: 200, height: 200, result: "image/png"},
	{file: "testdata/heif/moving.avif", contentType: "image/avif", width: 128, height: 128, frames: 3, result: "image/jpeg", lost: []string{resize.LostFrames}},
	{file: images + "ball.webp", contentType: "image/webp", width: 240, height: 180, frames: 8, result: "image/gif"},
	{file: images + "meadow.webp", contentType: "image/webp", width: 1024, height: 576, result: "image/jpeg"},
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// roomy takes any picture as large as it is.
var roomy = resize.Target{Name: "roomy", MaxBytes: 1 << 20, Types: carrierTypes}

func TestFitModernFormats(t *testing.T) {
	fitter := resize.New(resize.Options{})
	for _, tt := range modern {
		t.Run(filepath.Base(tt.file), func(t *testing.T) {
			data := read(t, tt.file)
			info, err := resize.Inspect(data)
			if err != nil || info.ContentType != tt.contentType || info.ContentType != resize.Sniff(data[:64]) ||
				info.Width != tt.width || info.Height != tt.height || info.Frames != max(1, tt.frames) {
				t.Errorf("%+v, %v", info, err)
			}
			results, err := fitter.Fit(t.Context(), data, roomy, resize.Thumb)
			if err != nil {
				t.Fatal(err)
			}
			r := results[0]
			if r.ContentType != tt.result || r.Width != tt.width || r.Height != tt.height || !slices.Equal(r.Lost, tt.lost) {
				t.Errorf("%s of %d × %d, lost %v", r.ContentType, r.Width, r.Height, r.Lost)
			}
			checkResult(t, info, resize.Thumb, results[1])
		})
	}
}

// reference returns what another decoder makes of a file, through a PNG.
func reference(t *testing.T, file, tool, pkg string) image.Image {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatalf("%v: install %s", err, pkg)
		}
		t.Skipf("NOT COMPARED WITH %s: %v: install %s", tool, err, pkg)
	}
	out := filepath.Join(t.TempDir(), "reference.png")
	args := []string{file, out}
	if tool == "dwebp" {
		args = []string{file, "-o", out}
	}
	if log, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, log)
	}
	img, err := png.Decode(bytes.NewReader(read(t, out)))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// difference returns the mean difference of samples, on white, of pictures of one
// size.
func difference(t *testing.T, a, b image.Image) float64 {
	t.Helper()
	if a.Bounds() != b.Bounds() {
		t.Fatalf("%v against %v", a.Bounds(), b.Bounds())
	}
	sum, n := 0, 0
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			p, q := white(a.At(x, y).RGBA()), white(b.At(x, y).RGBA())
			for k := range p {
				sum += max(p[k], q[k]) - min(p[k], q[k])
				n++
			}
		}
	}
	return float64(sum) / float64(n)
}

// white lays a colour, multiplied by its opacity, on white.
func white(r, g, b, a uint32) [3]int {
	rest := 0xffff - a
	return [3]int{int(r+rest) >> 8, int(g+rest) >> 8, int(b+rest) >> 8}
}

// Pixels are those of libheif, libde265, dav1d and libwebp as Debian has them: turned,
// cropped, put together, of limited range, of 10 bits, of another matrix.
func TestFitLooksAsElsewhere(t *testing.T) {
	fitter := resize.New(resize.Options{})
	for _, tt := range modern {
		if tt.frames > 1 && tt.contentType == "image/webp" {
			continue // dwebp reads none that moves
		}
		t.Run(filepath.Base(tt.file), func(t *testing.T) {
			tool, pkg := "heif-convert", "libheif-examples"
			switch {
			case tt.contentType == "image/webp":
				tool, pkg = "dwebp", "webp"
			case tt.frames > 1: // which libheif does not read
				tool, pkg = "avifdec", "libavif-bin"
			}
			want := reference(t, tt.file, tool, pkg)
			results, err := fitter.Fit(t.Context(), read(t, tt.file), roomy)
			if err != nil {
				t.Fatal(err)
			}
			// Of colour JPEG has half the resolution.
			if d := difference(t, decoded(t, results[0].Data), want); d > 2.5 {
				t.Errorf("%.2f levels off", d)
			}
		})
	}
}

// The mean of a flat block may be half a level off, no more: black is 0 and white 255.
func TestFitWebPOfLimitedRange(t *testing.T) {
	results, err := resize.New(resize.Options{}).Fit(t.Context(), read(t, "testdata/blocks.webp"), roomy)
	if err != nil {
		t.Fatal(err)
	}
	img := decoded(t, results[0].Data)
	for x, want := range []uint32{255, 0} {
		if r, g, b, _ := img.At(32+64*x, 64).RGBA(); r>>8 != want || g>>8 != want || b>>8 != want {
			t.Errorf("block %d is %d %d %d", x, r>>8, g>>8, b>>8)
		}
	}
}

// Eight frames of a ball on a ground that does not move, where no GIF is taken.
func TestFitTakesAFrameOfAnAnimatedWebP(t *testing.T) {
	still := roomy
	still.Types = []string{"image/jpeg", "image/png"}
	results, err := resize.New(resize.Options{}).Fit(t.Context(), read(t, images+"ball.webp"), still)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[color.RGBA]bool{}
	img := decoded(t, results[0].Data)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			seen[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)] = true
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d colours: there is no ball", len(seen))
	}
}

// An animated WebP becomes an animated GIF of the same frames and time. What is cut
// off of one is said to be missing.
func TestFitKeepsAnAnimatedWebPMoving(t *testing.T) {
	whole := read(t, images+"ball.webp")
	for _, tt := range []struct {
		cut, frames int
		lost        []string
	}{{0, 8, nil}, {1683, 4, []string{resize.LostPart}}} {
		data := whole[:len(whole)-tt.cut]
		results, err := resize.New(resize.Options{}).Fit(t.Context(), data, roomy)
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; r.ContentType != "image/gif" || !slices.Equal(r.Lost, tt.lost) {
			t.Fatalf("cut by %d: %s, lost %v", tt.cut, r.ContentType, r.Lost)
		}
		g, err := gif.DecodeAll(bytes.NewReader(results[0].Data))
		if err != nil || len(g.Image) != tt.frames || g.LoopCount != 0 {
			t.Fatalf("cut by %d: %d frames, loop %d, %v", tt.cut, len(g.Image), g.LoopCount, err)
		}
		for _, delay := range g.Delay {
			if delay != g.Delay[0] || delay < 2 {
				t.Errorf("delays %v", g.Delay)
			}
		}
	}
}

// The colours of Display P3 are kept with the profile, or become sRGB's where the
// result has none.
func TestFitKeepsColoursOfHEIC(t *testing.T) {
	fitter := resize.New(resize.Options{})
	data := read(t, "testdata/heif/grid.heic")
	target := roomy
	results, err := fitter.Fit(t.Context(), data, target)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(results[0].Data, []byte("ICC_PROFILE\x00\x01\x01")) {
		t.Error("the profile is gone")
	}
	target.Types = []string{"image/png"}
	converted, err := fitter.Fit(t.Context(), data, target)
	if err != nil {
		t.Fatal(err)
	}
	// Greens of a meadow have less red and blue in a narrower space.
	if d := difference(t, decoded(t, results[0].Data), decoded(t, converted[0].Data)); d < 1 {
		t.Errorf("samples of P3 and of sRGB are only %.2f apart", d)
	}
}

// Colours that are declared by number become sRGB's.
func TestFitConvertsPrimaries(t *testing.T) {
	fitter := resize.New(resize.Options{})
	var pictures [2]image.Image
	for i, file := range []string{images + "meadow.avif", "testdata/heif/p3.avif"} { // the same samples
		results, err := fitter.Fit(t.Context(), read(t, file), roomy)
		if err != nil {
			t.Fatal(err)
		}
		pictures[i] = decoded(t, results[0].Data)
	}
	if d := difference(t, pictures[0], pictures[1]); d < 1 || d > 15 {
		t.Errorf("P3 is %.2f levels off sRGB", d)
	}
}

// What is there of a file that is cut off is fitted.
func TestFitOfCutOffFiles(t *testing.T) {
	fitter := resize.New(resize.Options{})
	for _, file := range []string{"testdata/heif/grid.heic", images + "meadow.webp", "testdata/lossless.webp"} {
		data := read(t, file)
		results, err := fitter.Fit(t.Context(), data[:len(data)*85/100], roomy)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if !slices.Contains(results[0].Lost, resize.LostPart) {
			t.Errorf("%s lost %v", file, results[0].Lost)
		}
	}
}

// A file that is cut off anywhere gives a picture or an UnfitError.
func TestFitOfTruncatedHEIF(t *testing.T) {
	fitter := resize.New(resize.Options{})
	for _, file := range []string{"testdata/heif/grid.heic", "testdata/heif/sticker.heic", "testdata/heif/grid.avif"} {
		data := read(t, file)
		for n := 0; n < len(data); n += 1 + len(data)/40 {
			_, err := fitter.Fit(t.Context(), data[:n], resize.Thumb)
			if _, ok := errors.AsType[*resize.UnfitError](err); err != nil && !ok {
				t.Fatalf("%s cut at %d: %v", file, n, err)
			}
		}
	}
}

// A few hundred bytes that are twelve megapixels: what a phone has to be ready for,
// and no more than that.
func TestFitOfFlatPictures(t *testing.T) {
	for _, file := range []string{"testdata/heif/flat.heic", "testdata/heif/flat.avif"} {
		data := read(t, file)
		results, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Thumb)
		if err != nil || results[0].Width != 320 {
			t.Errorf("%s: %+v, %v", file, results, err)
		}
		_, err = resize.New(resize.Options{Memory: 64 << 20}).Fit(t.Context(), data, resize.Thumb)
		if unfit, ok := errors.AsType[*resize.UnfitError](err); !ok || !strings.Contains(unfit.Reason, "KiB") {
			t.Errorf("%s in 64 MiB: %v", file, err)
		}
		_, err = resize.New(resize.Options{MaxPixels: 1 << 20}).Fit(t.Context(), data, resize.Thumb)
		if unfit, ok := errors.AsType[*resize.UnfitError](err); !ok || !strings.Contains(unfit.Reason, "pixels") {
			t.Errorf("%s in a megapixel: %v", file, err)
		}
	}
}

// Headers that promise more than there is.
func TestFitRefusesBombsOfModernFormats(t *testing.T) {
	fitter := resize.New(resize.Options{Memory: 128 << 20, MaxPixels: 1 << 22})
	huge := read(t, images+"meadow.heic")
	for at := range bytes.Index(huge, []byte("mdat")) {
		if bytes.HasPrefix(huge[at:], []byte("ispe")) {
			binary.BigEndian.PutUint64(huge[at+8:], 65535<<32|65535)
		}
	}
	tiles := read(t, "testdata/heif/grid.heic")
	copy(tiles[bytes.Index(tiles, []byte("idat"))+6:], "\xff\xff\xff\xff\xff\xff") // rows, columns, size
	frames := riff(riffChunk("VP8X", []byte{2, 0, 0, 0, 99, 0, 0, 49, 0, 0}),
		bytes.Repeat(riffChunk("ANMF", make([]byte, 16)), 100_000))
	screen := riff(riffChunk("VP8X", []byte{2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),
		riffChunk("ANMF", make([]byte, 16)))
	for name, data := range map[string][]byte{"huge": huge, "tiles": tiles, "frames": frames, "screen": screen} {
		_, err := fitter.Fit(t.Context(), data, resize.Thumb)
		if _, ok := errors.AsType[*resize.UnfitError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A decode ends with its context, in the middle of the codec's work.
func TestFitOfHEICEndsWithItsContext(t *testing.T) {
	data := read(t, "testdata/heif/flat.heic")
	fitter := resize.New(resize.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := fitter.Fit(ctx, data, resize.Thumb)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := fitter.Fit(t.Context(), read(t, images+"meadow.heic"), resize.Thumb); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestSniffBrands(t *testing.T) {
	file := func(brands ...string) []byte {
		b := append(binary.BigEndian.AppendUint32(nil, uint32(12+4*len(brands))), "ftyp"...)
		b = append(append(b, brands[0]...), 0, 0, 0, 0)
		return append(b, strings.Join(brands[1:], "")...)
	}
	for _, tt := range []struct {
		brands []string
		want   string
	}{
		{[]string{"heic", "mif1", "heic"}, "image/heic"},
		{[]string{"heix"}, "image/heic"},
		{[]string{"hevc", "msf1"}, "image/heic"},
		{[]string{"mif1", "mif1", "heic"}, "image/heic"},
		{[]string{"msf1", "hevc"}, "image/heic"},
		{[]string{"avif", "mif1", "miaf"}, "image/avif"},
		{[]string{"mif1", "miaf", "avif"}, "image/avif"},
		{[]string{"avis", "avif", "msf1"}, "image/avif"},
		{[]string{"mif1", "jpeg"}, "image/heif"},
		{[]string{"isom", "mif1", "heic"}, ""},
		{[]string{"qt  "}, ""},
		{[]string{"crx ", "isom"}, ""},
	} {
		if got := resize.Sniff(append(file(tt.brands...), "mdatheic"...)); got != tt.want {
			t.Errorf("%v is %q", tt.brands, got)
		}
	}
}
