package resize_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mmspipe/resize"
)

var carrierTypes = []string{"image/jpeg", "image/png", "image/gif"}

// checkResult holds a result against its target, its own bytes, and the picture
// it was made from.
func checkResult(t *testing.T, source resize.Info, target resize.Target, r resize.Result) {
	t.Helper()
	if len(r.Data) > target.MaxBytes {
		t.Errorf("%d bytes are over %d", len(r.Data), target.MaxBytes)
	}
	if r.Width > source.Width || r.Height > source.Height ||
		target.MaxWidth > 0 && r.Width > target.MaxWidth || target.MaxHeight > 0 && r.Height > target.MaxHeight {
		t.Errorf("%d×%d is larger than the source, %d×%d, or the target", r.Width, r.Height, source.Width, source.Height)
	}
	byWidth := float64(r.Width) * float64(source.Height) / float64(source.Width)
	byHeight := float64(r.Height) * float64(source.Width) / float64(source.Height)
	if max(byWidth-float64(r.Height), float64(r.Height)-byWidth) > 1 &&
		max(byHeight-float64(r.Width), float64(r.Width)-byHeight) > 1 {
		t.Errorf("%d×%d has not the aspect of %d×%d", r.Width, r.Height, source.Width, source.Height)
	}
	if want := float64(r.Width) / float64(source.Width); r.Scale != want {
		t.Errorf("scale %v, want %v", r.Scale, want)
	}
	if !slices.Contains(target.Types, r.ContentType) || r.Name != target.Name {
		t.Errorf("%s %s is not what the target takes", r.Name, r.ContentType)
	}
	info, err := resize.Inspect(r.Data)
	if err != nil || info.ContentType != r.ContentType || info.Width != r.Width || info.Height != r.Height {
		t.Errorf("the bytes say %+v, %v; the result %s %d×%d", info, err, r.ContentType, r.Width, r.Height)
	}
	size := decoded(t, r.Data).Bounds().Size()
	if info.Orientation >= 5 {
		size = image.Pt(size.Y, size.X)
	}
	if size != image.Pt(r.Width, r.Height) {
		t.Errorf("%v pixels, want %d×%d", size, r.Width, r.Height)
	}
}

// forget takes out of results what may differ between equal runs.
func forget(results []resize.Result) []resize.Result {
	for i := range results {
		results[i].Elapsed = 0
	}
	return results
}

func TestFitEveryKindAndSize(t *testing.T) {
	sizes := []image.Point{{1, 1}, {1, 2}, {2, 1}, {7, 5}, {16, 16}, {17, 31}, {65, 33}, {1, 10000}, {10000, 1}}
	f := resize.New(resize.Options{})
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			for _, size := range sizes {
				data := kind(size.X, size.Y)
				source, err := resize.Inspect(data)
				if err != nil || source.Width != size.X || source.Height != size.Y {
					t.Fatalf("%v: Inspect = %+v, %v", size, source, err)
				}
				targets := []resize.Target{
					{Name: "box", MaxBytes: 1 << 20, MaxWidth: 24, MaxHeight: 20, Types: carrierTypes},
					{Name: "roomy", MaxBytes: 1 << 20, Types: carrierTypes},
					{Name: "tight", MaxBytes: 1500, MaxWidth: 64, MaxHeight: 64, Types: carrierTypes},
					{Name: "jpeg", MaxBytes: 4000, MaxWidth: 50, Types: []string{"image/jpeg"}},
					{Name: "png", MaxBytes: 8000, MaxHeight: 50, Types: []string{"image/png"}},
				}
				if size.X > 1000 || size.Y > 1000 { // slow in any other
					targets = targets[:1]
				}
				for _, target := range targets {
					t.Run(fmt.Sprintf("%v %s", size, target.Name), func(t *testing.T) {
						fitTwice(t, f, data, source, target)
					})
				}
			}
		})
	}
}

// fitTwice fits a picture, checks the result, fits the same again and fits the
// result.
func fitTwice(t *testing.T, f *resize.Fitter, data []byte, source resize.Info, target resize.Target) {
	t.Helper()
	before := bytes.Clone(data)
	first, err := f.Fit(t.Context(), data, target)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) {
		t.Error("the input was changed")
	}
	checkResult(t, source, target, first[0])
	second, err := f.Fit(t.Context(), data, target)
	if err != nil || !reflect.DeepEqual(forget(first), forget(second)) {
		t.Errorf("a second time gives something else (%v)", err)
	}
	again, err := f.Fit(t.Context(), first[0].Data, target)
	if err != nil {
		t.Fatalf("fit the fitted: %v", err)
	}
	if !again[0].PassThrough || again[0].Lost != nil || !bytes.Equal(again[0].Data, first[0].Data) {
		t.Error("the fitted picture does not pass through as it is")
	}
}

func TestFitNeverOverBudget(t *testing.T) {
	f := resize.New(resize.Options{})
	for _, name := range []string{"jpeg", "png", "png alpha", "gif animation"} {
		data := kinds[name](200, 150)
		source, err := resize.Inspect(data)
		if err != nil {
			t.Fatal(err)
		}
		widest := 0
		for budget := 300; budget < 80_000; budget += budget / 2 {
			target := resize.Target{Name: "t", MaxBytes: budget, MaxWidth: 160, MaxHeight: 160, Types: carrierTypes}
			results, err := f.Fit(t.Context(), data, target)
			if unfit, ok := errors.AsType[*resize.UnfitError](err); ok && budget < 1500 {
				t.Logf("%s in %d bytes: %v", name, budget, unfit)
				continue
			}
			if err != nil {
				t.Fatalf("%s in %d bytes: %v", name, budget, err)
			}
			checkResult(t, source, target, results[0])
			if r := results[0]; r.Width < widest && r.ContentType != "image/gif" { // which may be smaller than a still picture
				t.Errorf("%s is %d wide in %d bytes and %d in fewer", name, results[0].Width, budget, widest)
			}
			widest = results[0].Width
		}
		if widest != 160 {
			t.Errorf("%s is %d wide in bytes that are enough for 160", name, widest)
		}
	}
}

func TestFitUsesTheBudget(t *testing.T) {
	f := resize.New(resize.Options{})
	data := kinds["jpeg"](800, 600)
	for budget := 10_000; budget < 200_000; budget += budget / 3 {
		results, err := f.Fit(t.Context(), data, resize.Target{MaxBytes: budget, MaxWidth: 640, MaxHeight: 640, Types: carrierTypes})
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if r.Quality < 45 || r.Quality < 96 && len(r.Data) < budget*98/100 {
			t.Errorf("%d bytes of %d at quality %d", len(r.Data), budget, r.Quality)
		}
	}
}

func TestFitExtremeAspectInFewBytes(t *testing.T) {
	for _, size := range []image.Point{{1, 10000}, {10000, 1}, {3, 5000}} {
		target := resize.Target{MaxBytes: 2000, Types: carrierTypes}
		fitTwice(t, resize.New(resize.Options{}), kinds["jpeg"](size.X, size.Y),
			resize.Info{Width: size.X, Height: size.Y}, target)
	}
}

func TestFitSaysByHowMuch(t *testing.T) {
	_, err := resize.New(resize.Options{}).Fit(t.Context(), kinds["jpeg"](200, 200),
		resize.Target{Name: "tiny", MaxBytes: 100, Types: carrierTypes})
	unfit, ok := errors.AsType[*resize.UnfitError](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	var missed, size, width, height, allowed int
	if _, err := fmt.Sscanf(unfit.Reason, "tiny is missed by %d bytes: %d even at %d × %d pixels, %d are allowed",
		&missed, &size, &width, &height, &allowed); err != nil || missed != size-100 || allowed != 100 || size < 300 {
		t.Errorf("reason %q", unfit.Reason)
	}
}

func TestFitOneDecodeForAllTargets(t *testing.T) {
	data := kinds["png"](640, 480)
	f := resize.New(resize.Options{})
	targets := []resize.Target{
		resize.Thumb,
		{Name: "same", MaxBytes: 10 << 20, Types: carrierTypes},
		{Name: "small", MaxBytes: 20_000, MaxWidth: 500, MaxHeight: 500, Types: carrierTypes},
	}
	results, err := f.Fit(t.Context(), data, targets...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		checkResult(t, resize.Info{Width: 640, Height: 480}, targets[i], r)
		if r.PassThrough != (i == 1) {
			t.Errorf("%s passes through: %v", r.Name, r.PassThrough)
		}
	}
	if results[0].Width != 320 {
		t.Errorf("the thumb is %d wide", results[0].Width)
	}
}

func TestFitTransparency(t *testing.T) {
	f := resize.New(resize.Options{})
	for _, name := range []string{"png alpha", "png palette alpha", "png 16 alpha", "gif alpha", "webp alpha"} {
		t.Run(name, func(t *testing.T) {
			data := kinds[name](90, 60)
			box := resize.Target{Name: "t", MaxBytes: 1 << 20, MaxWidth: 45, MaxHeight: 45, Types: carrierTypes}
			results, err := f.Fit(t.Context(), data, box)
			if err != nil {
				t.Fatal(err)
			}
			kept := decoded(t, results[0].Data)
			if opaque, ok := kept.(interface{ Opaque() bool }); !ok || opaque.Opaque() || results[0].Lost != nil {
				t.Errorf("transparency is gone: %s, lost %v", results[0].ContentType, results[0].Lost)
			}
			box.Types = []string{"image/jpeg"}
			if results, err = f.Fit(t.Context(), data, box); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(results[0].Lost, []string{resize.LostAlpha}) {
				t.Errorf("lost %v as JPEG", results[0].Lost)
			}
		})
	}
}

func TestFitLaysTransparencyOnWhite(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 32, 32)) // black, wholly transparent
	results, err := resize.New(resize.Options{}).Fit(t.Context(), asPNG(img),
		resize.Target{MaxBytes: 10_000, Types: []string{"image/jpeg"}})
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := decoded(t, results[0].Data).At(16, 16).RGBA(); r>>8 < 250 || g>>8 < 250 || b>>8 < 250 {
		t.Errorf("ground is %d %d %d", r>>8, g>>8, b>>8)
	}
}

func TestFitKeepsPixelsOfEveryFormat(t *testing.T) {
	for name, kind := range kinds {
		data := kind(48, 36)
		results, err := resize.New(resize.Options{}).Fit(t.Context(), data,
			resize.Target{MaxBytes: 1 << 20, Types: []string{"image/png"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, got := decoded(t, data), decoded(t, results[0].Data)
		for y := range 36 {
			for x := range 48 {
				a := color.NRGBA64Model.Convert(want.At(x, y)).(color.NRGBA64)
				b := color.NRGBA64Model.Convert(got.At(x, y)).(color.NRGBA64)
				tolerance := uint16(0)
				if strings.HasPrefix(name, "jpeg") { // decoders may differ by 1, which colours multiply
					tolerance = 3
				}
				if a.A>>8 != b.A>>8 || a.A>>8 == 255 && max(apart(a.R, b.R), apart(a.G, b.G), apart(a.B, b.B)) > tolerance {
					t.Fatalf("%s: at %d,%d %v became %v", name, x, y, a, b)
				}
			}
		}
	}
}

// apart returns by how much the upper eight bits differ.
func apart(a, b uint16) uint16 { return max(a>>8, b>>8) - min(a>>8, b>>8) }

func TestFitAnimation(t *testing.T) {
	data := asGIF(paletted(photo(60, 40, false), false), 5)
	f := resize.New(resize.Options{})
	whole := resize.Target{Name: "whole", MaxBytes: len(data), MaxWidth: 60, MaxHeight: 60, Types: carrierTypes}
	narrow, short, still := whole, whole, whole
	narrow.MaxWidth = 59
	short.MaxBytes = len(data) - 1
	still.Types = []string{"image/jpeg", "image/png"}
	results, err := f.Fit(t.Context(), data, whole, narrow, short, still)
	if err != nil {
		t.Fatal(err)
	}
	if !results[0].PassThrough || !bytes.Equal(results[0].Data, data) {
		t.Error("an animation inside the limits does not pass through")
	}
	for i, r := range results[1:3] {
		if info, err := resize.Inspect(r.Data); err != nil || r.ContentType != "image/gif" || info.Frames != 5 || r.Lost != nil {
			t.Errorf("%s: %s, %+v, lost %v, %v", r.Name, r.ContentType, info, r.Lost, err)
		}
		checkResult(t, resize.Info{Width: 60, Height: 40}, []resize.Target{narrow, short}[i], r)
	}
	if r := results[3]; r.ContentType == "image/gif" || !slices.Equal(r.Lost, []string{resize.LostFrames}) {
		t.Errorf("%s, lost %v", r.ContentType, r.Lost)
	}
}

// The first picture of many animations is empty.
func TestFitStillOfAnimationIsNotBlank(t *testing.T) {
	full := paletted(photo(60, 40, false), false)
	blank := image.NewPaletted(full.Rect, full.Palette)
	g := &gif.GIF{Image: []*image.Paletted{blank, full}, Delay: []int{10, 10}}
	data := must(func(b *bytes.Buffer) error { return gif.EncodeAll(b, g) })
	results, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Target{MaxBytes: 20_000, Types: []string{"image/png"}})
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, results[0].Data)
	for _, at := range []image.Point{{5, 5}, {40, 30}, {20, 35}} {
		want := color.RGBAModel.Convert(full.At(at.X, at.Y))
		if c := color.RGBAModel.Convert(got.At(at.X, at.Y)); c != want {
			t.Errorf("at %v %v, want %v", at, c, want)
		}
	}
	if !slices.Equal(results[0].Lost, []string{resize.LostFrames}) {
		t.Errorf("lost %v", results[0].Lost)
	}
}

// What is cut off stays animated as far as it is there, and says so.
func TestFitAnimationCutOff(t *testing.T) {
	data := asGIF(paletted(photo(60, 40, false), false), 5)
	target := resize.Target{MaxBytes: len(data), Types: carrierTypes}
	for _, tt := range []struct {
		cut, frames int
		lost        []string
	}{{1, 5, nil}, {200, 5, []string{resize.LostPart}}, {len(data) / 2, 3, []string{resize.LostPart}}} {
		results, err := resize.New(resize.Options{}).Fit(t.Context(), data[:len(data)-tt.cut], target)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		info, err := resize.Inspect(r.Data)
		if err != nil || r.ContentType != "image/gif" || info.Frames != tt.frames || !slices.Equal(r.Lost, tt.lost) {
			t.Errorf("cut by %d: %+v, lost %v, %v", tt.cut, info, r.Lost, err)
		}
		decoded(t, r.Data)
	}
}

// A first picture that does not cover the screen leaves the rest transparent.
func TestFitAnimationBeginsInACorner(t *testing.T) {
	corner := image.NewPaletted(image.Rect(10, 5, 20, 15), color.Palette{color.White, color.RGBA{R: 0xff, A: 0xff}})
	for i := range corner.Pix {
		corner.Pix[i] = 1
	}
	data := asGIFScreen(corner, 40, 30)
	results, err := resize.New(resize.Options{}).Fit(t.Context(), data,
		resize.Target{MaxBytes: 10_000, Types: []string{"image/png"}})
	if err != nil {
		t.Fatal(err)
	}
	img := decoded(t, results[0].Data)
	if r, _, _, a := img.At(15, 10).RGBA(); r != 0xffff || a != 0xffff {
		t.Error("the first picture is not where it belongs")
	}
	if _, _, _, a := img.At(30, 20).RGBA(); a != 0 || img.Bounds().Dx() != 40 {
		t.Error("the rest of the screen is not transparent")
	}
}

// What comes out is chosen by what is seen, not by what came in: photographs are
// JPEG, drawings PNG while they fit.
func TestFitChoosesByContent(t *testing.T) {
	f := resize.New(resize.Options{})
	for name, want := range map[string]string{
		"png": "image/jpeg", "bmp": "image/jpeg", "webp": "image/jpeg", "png 16": "image/jpeg",
	} {
		results, err := f.Fit(t.Context(), kinds[name](200, 150), resize.Target{MaxBytes: 1 << 20, MaxWidth: 100, Types: carrierTypes})
		if err != nil || results[0].ContentType != want {
			t.Errorf("a photograph as %s became %v, %v", name, results, err)
		}
	}
	for name, data := range map[string][]byte{
		"png": asPNG(screenshot(600, 400)), "bmp": asBMP(screenshot(600, 400)), "webp": asWebP(screenshot(600, 400)),
	} {
		target := resize.Target{MaxBytes: 1 << 20, MaxWidth: 300, Types: carrierTypes}
		results, err := f.Fit(t.Context(), data, target)
		if err != nil || results[0].ContentType != "image/png" || results[0].Quality != 0 {
			t.Fatalf("a screenshot as %s became %v, %v", name, results, err)
		}
		// A little less than it takes without loss: in 256 colours letters are still
		// sharper than in a JPEG. In far less, a JPEG is what is left.
		target.MaxBytes = len(results[0].Data) - 1
		if results, err = f.Fit(t.Context(), data, target); err != nil || results[0].ContentType != "image/png" {
			t.Errorf("a screenshot as %s in fewer bytes became %v, %v", name, results, err)
		}
		target.MaxBytes = 5000
		if results, err = f.Fit(t.Context(), data, target); err != nil || results[0].ContentType != "image/jpeg" {
			t.Errorf("a screenshot as %s in 5000 bytes became %v, %v", name, results, err)
		}
	}
}
