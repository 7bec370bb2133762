package resize_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"mmspipe/resize"
)

// withJPEGSize sets the size in the frame header.
func withJPEGSize(file []byte, width, height uint16) []byte {
	file = bytes.Clone(file)
	at := bytes.Index(file, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(file[at+5:], height)
	binary.BigEndian.PutUint16(file[at+7:], width)
	return file
}

// withPNGSize sets the size in IHDR.
func withPNGSize(file []byte, width, height uint32) []byte {
	body := bytes.Clone(file[16:29])
	binary.BigEndian.PutUint32(body, width)
	binary.BigEndian.PutUint32(body[4:], height)
	return append(append(bytes.Clone(file[:8]), pngChunk("IHDR", body)...), file[33:]...)
}

// bombs are small files that ask for much.
func bombs() map[string][]byte {
	img := photo(16, 16, false)
	gifScreen := asGIF(paletted(img, false), 1)
	copy(gifScreen[6:], "\x50\xc3\x50\xc3")
	bmpSize := asBMP(as(image.NewRGBA(img.Rect), img))
	copy(bmpSize[18:], "\x50\xc3\x00\x00\x50\xc3\x00\x00")
	bmpCut := bytes.Clone(bmpSize)
	copy(bmpCut[18:], "\x70\x17\x00\x00\x70\x17\x00\x00") // 6000 × 6000
	webpSize := asWebP(img)
	copy(webpSize[21:], "\xff\xff\xff\x0f") // 16384 × 16384
	return map[string][]byte{
		"jpeg":          withJPEGSize(asJPEG(img), 50_000, 50_000),
		"png":           withPNGSize(asPNG(img), 50_000, 50_000),
		"png, largest":  withPNGSize(asPNG(img), 1<<31-1, 1<<31-1),
		"png, too long": withPNGSize(asPNG(img), 6_000, 6_000),
		"gif":           gifScreen,
		"bmp":           bmpSize,
		"bmp, too long": bmpCut,
		"webp":          webpSize,
		"webp, canvas":  riff(riffChunk("VP8X", []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})),
	}
}

func TestFitRefusesBombsBeforeAllocating(t *testing.T) {
	f := resize.New(resize.Options{})
	for name, data := range bombs() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := f.Fit(t.Context(), data, resize.Thumb)
		runtime.ReadMemStats(&after)
		if _, ok := errors.AsType[*resize.UnfitError](err); !ok {
			t.Errorf("%s: error %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, took)
		}
	}
}

// What compresses best is no bomb.
func TestFitTakesABlackPNG(t *testing.T) {
	data := asPNG(image.NewGray(image.Rect(0, 0, 3000, 3000)))
	if _, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Thumb); err != nil {
		t.Errorf("%d bytes for 9 million black pixels: %v", len(data), err)
	}
}

func TestFitMaxPixels(t *testing.T) {
	f := resize.New(resize.Options{MaxPixels: 99})
	for name, kind := range kinds {
		if _, err := f.Fit(t.Context(), kind(11, 9), resize.Thumb); err != nil {
			t.Errorf("%s of 99 pixels: %v", name, err)
		}
		_, err := f.Fit(t.Context(), kind(10, 10), resize.Thumb)
		unfit, ok := errors.AsType[*resize.UnfitError](err)
		if !ok || unfit.Reason != "10 × 10 pixels are more than the 99 that are decoded" {
			t.Errorf("%s of 100 pixels: %v", name, err)
		}
	}
}

// Of a JPEG no more is decoded than a smaller picture can show, so that it may be
// larger. This one lacks nearly all of it.
func TestFitTakesLargerJPEG(t *testing.T) {
	file := asJPEG(photo(16, 16, false))
	f := resize.New(resize.Options{})
	results, err := f.Fit(t.Context(), withJPEGSize(file, 11547, 8660), resize.Thumb)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Width != 320 || r.Height != 240 || !slices.Equal(r.Lost, []string{resize.LostPart}) {
		t.Errorf("%d × %d, lost %v", r.Width, r.Height, r.Lost)
	}
	if _, err = f.Fit(t.Context(), withJPEGSize(file, 11550, 8660), resize.Thumb); err == nil {
		t.Error("more than 100 megapixels are decoded")
	}
}

// An animation that asks a phone for too many pixels is no longer one, even
// where it is inside the limit in bytes.
func TestFitStopsLongAnimations(t *testing.T) {
	data := asGIF(paletted(photo(10, 10, false), false), 3000)
	target := resize.Target{MaxBytes: len(data), Types: carrierTypes}
	for maxPixels, passes := range map[int]bool{29_999: false, 30_000: true} {
		results, err := resize.New(resize.Options{MaxPixels: maxPixels}).Fit(t.Context(), data, target)
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; r.PassThrough != passes || passes != (r.ContentType == "image/gif") {
			t.Errorf("up to %d pixels: %s, passes through: %v", maxPixels, r.ContentType, r.PassThrough)
		}
	}
}

// A picture of any size may hide on a small screen.
func TestFitGIFPictureOutsideItsScreen(t *testing.T) {
	data := asGIF(paletted(photo(10, 10, false), false), 2)
	at := bytes.LastIndex(data, []byte{0x2c, 0, 0, 0, 0, 10, 0, 10, 0})
	copy(data[at+5:], "\xff\xff\xff\xff")
	target := resize.Target{MaxBytes: 1 << 20, Types: carrierTypes}
	results, err := resize.New(resize.Options{Memory: 8 << 20}).Fit(t.Context(), data, target)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.PassThrough || r.ContentType != "image/gif" {
		t.Errorf("%s, passes through: %v", r.ContentType, r.PassThrough)
	}
	checkResult(t, resize.Info{Width: 10, Height: 10}, target, results[0])
}

func TestFitRefusesEndlessScans(t *testing.T) {
	file := asJPEG(photo(16, 16, false))
	at := bytes.Index(file, []byte{0xff, 0xda})
	scan, head := file[at:len(file)-2], file[:at]
	data := append(append(bytes.Clone(head), bytes.Repeat(scan, 101)...), 0xff, 0xd9)
	_, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Thumb)
	unfit, ok := errors.AsType[*resize.UnfitError](err)
	if !ok || !strings.Contains(unfit.Reason, "more than 100 scans") {
		t.Errorf("error %v", err)
	}
}

// The header is read a second time by the decoder, which must not find more
// pixels than were checked.
func TestFitRefusesAmbiguousHeader(t *testing.T) {
	small := asWebP(photo(16, 16, false))[12:]
	data := riff(riffChunk("VP8X", []byte{0, 0, 0, 0, 3, 0, 0, 3, 0, 0}), small)
	if _, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Thumb); err == nil {
		t.Error("a canvas of 4 × 4 holds a picture of 16 × 16")
	}
}

// A file that is cut off anywhere gives a picture or an UnfitError.
func TestFitTruncated(t *testing.T) {
	cuts := 3000
	if raceDetector {
		cuts = 100
		t.Logf("FEWER CUTS: %d of a file, because of the race detector", cuts)
	}
	files := withMetadata()
	for name, kind := range kinds {
		files[name] = kind(16, 11)
	}
	for _, path := range mustGlob(t, "testdata/*.*") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = data
	}
	f := resize.New(resize.Options{})
	for name, data := range files {
		step := 1 + len(data)/cuts // a file of all metadata is longer than most
		for n := 0; n < len(data); n += step {
			_, err := f.Fit(t.Context(), data[:n], resize.Target{MaxBytes: 20_000, MaxWidth: 8, Types: carrierTypes})
			if _, ok := errors.AsType[*resize.UnfitError](err); err != nil && !ok {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
	}
}

// A file that is cut off is not passed through as if it were whole. A PNG that
// lacks no more than its end mark is given that.
func TestFitTruncatedDoesNotPassThrough(t *testing.T) {
	for name, kind := range kinds {
		data := kind(16, 11)
		results, err := resize.New(resize.Options{}).Fit(t.Context(), data[:len(data)-1],
			resize.Target{MaxBytes: 20_000, Types: carrierTypes})
		if err == nil && results[0].PassThrough && !bytes.Equal(results[0].Data, data) {
			t.Errorf("%s passes through without its last byte", name)
		}
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return paths
}

// Indices beyond the palette end the process where they meet imaging
// (CVE-2023-36308): its goroutines cannot be recovered from here.
func TestFitPaletteIndexOutOfRange(t *testing.T) {
	file := asPNG(paletted(photo(40, 30, false), false))
	at := bytes.Index(file, []byte("PLTE")) - 4
	size := int(binary.BigEndian.Uint32(file[at:]))
	file = append(append(bytes.Clone(file[:at]), pngChunk("PLTE", file[at+8:at+8+6])...), file[at+12+size:]...)
	results, err := resize.New(resize.Options{}).Fit(t.Context(), file, resize.Target{MaxBytes: 10_000, MaxWidth: 20, Types: carrierTypes})
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, resize.Info{Width: 40, Height: 30}, resize.Target{MaxBytes: 10_000, MaxWidth: 20, Types: carrierTypes}, results[0])
}

// countdown is a context that ends when it is asked for the nth time.
type countdown struct {
	context.Context
	left atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func TestFitEndsWithItsContextAtEveryStep(t *testing.T) {
	f := resize.New(resize.Options{})
	for _, name := range []string{"jpeg", "png alpha", "gif animation", "bmp", "webp"} {
		data := kinds[name](80, 60)
		for n := int64(0); ; n++ {
			ctx := &countdown{Context: t.Context()}
			ctx.left.Store(n)
			_, err := f.Fit(ctx, data, resize.Target{MaxBytes: 3000, MaxWidth: 70, Types: carrierTypes})
			if err == nil {
				if n < 3 {
					t.Errorf("%s asks its context only %d times", name, n)
				}
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s, asked %d times: %v", name, n, err)
			}
		}
	}
}

// memoryOf returns the least Options.Memory with which a picture is fitted.
func memoryOf(t *testing.T, data []byte, target resize.Target) int64 {
	t.Helper()
	low, high := int64(0), int64(1<<30) // is refused, is fitted
	for high-low > 1 {
		middle := (low + high) / 2
		_, err := resize.New(resize.Options{Memory: middle}).Fit(t.Context(), data, target)
		switch _, unfit := errors.AsType[*resize.UnfitError](err); {
		case err == nil:
			high = middle
		case unfit && strings.Contains(err.Error(), "to decode"):
			low = middle
		default:
			t.Fatal(err)
		}
	}
	return high
}

// gate is a context that holds whoever waited for memory at the next step.
type gate struct {
	context.Context
	waited  atomic.Bool
	release chan struct{}
}

func (g *gate) Done() <-chan struct{} {
	g.waited.Store(true)
	return g.Context.Done()
}

func (g *gate) Err() error {
	if g.waited.Load() {
		<-g.release
	}
	return g.Context.Err()
}

func TestFitSharesMemory(t *testing.T) {
	data := kinds["bmp"](60, 40)
	target := resize.Target{MaxBytes: 20_000, MaxWidth: 30, Types: carrierTypes}
	need := memoryOf(t, data, target)
	if need < 60*40*4 {
		t.Fatalf("%d bytes are less than the pixels take", need)
	}
	for memory, together := range map[int64]bool{2*need - 1: false, 2 * need: true} {
		synctest.Test(t, func(t *testing.T) {
			f := resize.New(resize.Options{Memory: memory})
			held := &gate{Context: t.Context(), release: make(chan struct{})}
			ended := make(chan error, 2)
			go func() {
				_, err := f.Fit(held, data, target)
				ended <- err
			}()
			synctest.Wait()
			go func() {
				_, err := f.Fit(t.Context(), data, target)
				ended <- err
			}()
			synctest.Wait()
			if got := len(ended) == 1; got != together {
				t.Errorf("with %d bytes for pictures of %d, the second is fitted beside the first: %v", memory, need, got)
			}
			close(held.release)
			for range 2 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestFitWaitsForMemoryNoLongerThanItsContext(t *testing.T) {
	data := kinds["bmp"](60, 40)
	target := resize.Target{MaxBytes: 20_000, MaxWidth: 30, Types: carrierTypes}
	need := memoryOf(t, data, target)
	synctest.Test(t, func(t *testing.T) {
		f := resize.New(resize.Options{Memory: need})
		held := &gate{Context: t.Context(), release: make(chan struct{})}
		first := make(chan error, 1)
		go func() {
			_, err := f.Fit(held, data, target)
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error, 1)
		go func() {
			_, err := f.Fit(ctx, data, target)
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		close(held.release)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}
