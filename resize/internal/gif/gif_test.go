package gif

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	stdgif "image/gif"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// drawn is an animation that is drawn: a disc that moves over gradients, or over
// nothing, with noise of that amplitude.
func drawn(size image.Point, frames, noise int, transparent bool) *Animation {
	random := rand.New(rand.NewPCG(uint64(size.X), uint64(frames)))
	var all []*image.NRGBA
	for n := range frames {
		img := image.NewNRGBA(image.Rectangle{Max: size})
		x0 := float64(size.X) * (0.2 + 0.6*float64(n)/float64(frames))
		for y := range size.Y {
			for x := range size.X {
				c := color.NRGBA{uint8(200 * x / size.X), uint8(200 * y / size.Y), 90, 255}
				if math.Hypot(float64(x)-x0, float64(y-size.Y/2)) < float64(size.Y)/4 {
					c = color.NRGBA{240, 60, 30, 255}
				} else if transparent {
					continue
				}
				if noise > 0 {
					c.G += uint8(random.IntN(noise))
				}
				img.SetNRGBA(x, y, c)
			}
		}
		all = append(all, img)
	}
	return &Animation{Size: size, Frames: frames, Play: func(context.Context) iter.Seq2[Frame, error] {
		return func(yield func(Frame, error) bool) {
			for i, img := range all {
				if !yield(Frame{img, 5 + i%3}, nil) {
					return
				}
			}
		}
	}}
}

// seen returns what is on the screen after each frame, and for how long.
func seen(t testing.TB, a *Animation) (frames []*image.NRGBA, delays []int) {
	t.Helper()
	for f, err := range a.Play(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, &image.NRGBA{Pix: bytes.Clone(f.Pix), Stride: f.Stride, Rect: f.Rect})
		delays = append(delays, f.Delay)
	}
	return frames, delays
}

// reference composites what the standard library decodes.
func reference(t testing.TB, data []byte) []*image.NRGBA {
	t.Helper()
	g, err := stdgif.DecodeAll(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("the standard library does not read it: %v", err)
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, g.Config.Width, g.Config.Height))
	var out []*image.NRGBA
	for i, frame := range g.Image {
		before := bytes.Clone(canvas.Pix)
		draw.Draw(canvas, frame.Rect, frame, frame.Rect.Min, draw.Over)
		out = append(out, &image.NRGBA{Pix: bytes.Clone(canvas.Pix), Stride: canvas.Stride, Rect: canvas.Rect})
		switch g.Disposal[i] {
		case stdgif.DisposalBackground:
			draw.Draw(canvas, frame.Rect, image.Transparent, image.Point{}, draw.Src)
		case stdgif.DisposalPrevious:
			copy(canvas.Pix, before)
		}
	}
	return out
}

func decode(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Decode(t.Context(), data, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func fit(t testing.TB, a *Animation, o Options) *Result {
	t.Helper()
	if o.Size == (image.Point{}) {
		o.Size = a.Size
	}
	r, err := Fit(t.Context(), a, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// standard encodes frames of every disposal, with transparency, at places all
// over the screen and beyond none of its edges.
func standard(interlace bool) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	g := &stdgif.GIF{Config: image.Config{Width: 40, Height: 30}, LoopCount: 3}
	for n := range 12 {
		r := image.Rect(random.IntN(20), random.IntN(15), 21+random.IntN(19), 16+random.IntN(14))
		if n == 0 {
			r = image.Rect(0, 0, 40, 30)
		}
		palette := color.Palette{color.NRGBA{}}
		for range 1 + random.IntN(60) {
			palette = append(palette, color.NRGBA{uint8(random.Uint32()), uint8(random.Uint32()), uint8(random.Uint32()), 255})
		}
		img := image.NewPaletted(r, palette)
		for i := range img.Pix {
			img.Pix[i] = uint8(random.IntN(len(palette)))
		}
		g.Image, g.Delay = append(g.Image, img), append(g.Delay, n)
		g.Disposal = append(g.Disposal, byte(n%4))
	}
	var out bytes.Buffer
	if err := stdgif.EncodeAll(&out, g); err != nil {
		panic(err)
	}
	data := out.Bytes()
	if interlace { // the rows are in disorder then, for both decoders alike
		for b := range blocks(data) {
			if b.kind == kindImage {
				b.data[9] |= 0x40
			}
		}
	}
	return data
}

func TestDecodeAsTheStandardLibrary(t *testing.T) {
	for _, interlace := range []bool{false, true} {
		data := standard(interlace)
		f := decode(t, data)
		got, delays := seen(t, &f.Animation)
		want := reference(t, data)
		if len(got) != len(want) || f.Frames != len(want) || !f.Clean || f.Missing || f.Loop != 4 {
			t.Fatalf("%d frames, %+v", len(got), f)
		}
		for i := range want {
			if !bytes.Equal(got[i].Pix, want[i].Pix) || delays[i] != i {
				t.Errorf("interlaced %v: frame %d differs, or its delay is %d", interlace, i, delays[i])
			}
		}
	}
}

// still is one frame of those indices, in a coding that only begins the
// dictionary anew. The parts of the file can be changed before they are joined.
type still struct {
	screen, at, size image.Point
	table            []byte
	codeSize         int
	pix              []byte
	noEnd, noTrailer bool
	behind           string // of the end code
}

func (s still) file() []byte {
	le := binary.LittleEndian
	out := le.AppendUint16(le.AppendUint16([]byte("GIF89a"), uint16(s.screen.X)), uint16(s.screen.Y))
	packed := byte(0)
	if s.table != nil {
		packed = 0x80 | byte(tableBits(len(s.table)/3)-1)
	}
	out = append(append(out, packed, 0, 0), s.table...)
	return s.frame(out)
}

// frame appends the frame, and the trailer.
func (s still) frame(out []byte) []byte {
	out = append(out, kindImage)
	for _, v := range []int{s.at.X, s.at.Y, s.size.X, s.size.Y} {
		out = binary.LittleEndian.AppendUint16(out, uint16(v))
	}
	out = append(out, 0, byte(s.codeSize))
	var coded []byte
	bits, n := uint32(0), 0
	put := func(code int) {
		bits |= uint32(code) << n
		for n += s.codeSize + 1; n >= 8; n -= 8 {
			coded, bits = append(coded, byte(bits)), bits>>8
		}
	}
	for i, p := range s.pix {
		if i%(1<<s.codeSize-2) == 0 {
			put(1 << s.codeSize)
		}
		put(int(p))
	}
	if !s.noEnd {
		put(1<<s.codeSize + 1)
	}
	coded = append(append(coded, byte(bits)), s.behind...)
	for len(coded) > 0 {
		k := min(255, len(coded))
		out = append(append(out, byte(k)), coded[:k]...)
		coded = coded[k:]
	}
	out = append(out, 0)
	if s.noTrailer {
		return out
	}
	return append(out, kindTrailer)
}

// pattern is a still picture of 16 × 12 in eight colours.
func pattern() still {
	s := still{screen: image.Pt(16, 12), size: image.Pt(16, 12), codeSize: 3}
	for i := range 8 {
		s.table = append(s.table, byte(30*i), byte(255-30*i), byte(90+i))
	}
	for i := range 16 * 12 {
		s.pix = append(s.pix, byte(i*i/7%8))
	}
	return s
}

func (s still) colour(x, y int) color.NRGBA {
	i := 3 * int(s.pix[y*s.size.X+x])
	if i+2 >= len(s.table) {
		return color.NRGBA{A: 255}
	}
	return color.NRGBA{s.table[i], s.table[i+1], s.table[i+2], 255}
}

func TestDecodeMends(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*still)
		cut     int         // bytes from the end
		at      image.Point // where the picture's corner is seen
		size    image.Point
		clean   bool
		missing bool
	}{
		{name: "nothing", change: func(*still) {}, clean: true},
		{name: "no trailer", change: func(s *still) { s.noTrailer = true }},
		{name: "no end code", change: func(s *still) { s.noEnd = true }},
		{name: "bytes behind the end", change: func(s *still) { s.behind = "surplus" }},
		{name: "pixels behind the last", change: func(s *still) { s.pix = append(s.pix, 1, 2, 3, 4, 5) }},
		{name: "short palette", change: func(s *still) { s.table = s.table[:12] }},
		{name: "screen of no size", change: func(s *still) { s.screen = image.Point{} }},
		{name: "screen of no size, frame elsewhere", change: func(s *still) { s.screen, s.at = image.Pt(0, 9), image.Pt(7, 5) }},
		{name: "screen too small", change: func(s *still) { s.screen = image.Pt(3, 2) }},
		{name: "frame beyond the screen", change: func(s *still) { s.at = image.Pt(5, 4) }, at: image.Pt(5, 4), size: image.Pt(21, 16)},
		{name: "cut off", change: func(*still) {}, cut: 30, missing: true},
		{name: "cut off in the terminator", change: func(*still) {}, cut: 2, missing: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := pattern()
			tt.change(&s)
			data := s.file()
			f := decode(t, data[:len(data)-tt.cut])
			if tt.size == (image.Point{}) {
				tt.size = image.Pt(16, 12)
			}
			if f.Size != tt.size || f.Frames != 1 || f.Clean != tt.clean || f.Missing != tt.missing {
				t.Fatalf("%v, %d frames, clean %v, missing %v", f.Size, f.Frames, f.Clean, f.Missing)
			}
			img, err := f.Still(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for y := range 12 - tt.cut/4 {
				for x := range 16 {
					if got := img.NRGBAAt(x+tt.at.X, y+tt.at.Y); got != s.colour(x, y) {
						t.Fatalf("at %d,%d %v, want %v", x, y, got, s.colour(x, y))
					}
				}
			}
		})
	}
}

func TestDecodeWithoutPalette(t *testing.T) {
	s := pattern()
	s.table = nil
	img, err := decode(t, s.file()).Still(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range s.pix {
		grey := uint8(int(p) * 255 / 7)
		if got := img.NRGBAAt(i%16, i/16); got != (color.NRGBA{grey, grey, grey, 255}) {
			t.Fatalf("index %d is %v", p, got)
		}
	}
}

func TestDecodeCutOffKeepsWhatIsThere(t *testing.T) {
	data := standard(false)
	whole := decode(t, data)
	for n := range data {
		f, err := Decode(t.Context(), data[:n], 1<<40)
		if err != nil {
			continue
		}
		if f.Clean || f.Frames > whole.Frames || f.Frames < Inspect(data[:n]).Frames-1 {
			t.Fatalf("cut at %d: %d frames, clean %v", n, f.Frames, f.Clean)
		}
	}
	if _, err := Decode(t.Context(), data[:20], 1<<40); err == nil {
		t.Error("a header is a picture")
	}
	for _, codeSize := range []int{0, 9, 64, 255} {
		s := pattern()
		data := s.file()
		data[bytes.IndexByte(data, kindImage)+10] = byte(codeSize)
		if _, err := Decode(t.Context(), data, 1<<40); err == nil {
			t.Errorf("pixels are decoded from codes of %d bits", codeSize)
		}
	}
}

func TestDecodeStopsAtItsBound(t *testing.T) {
	data := standard(false)
	f, err := Decode(t.Context(), data, 5*40*30)
	if err != nil || f.Frames != 5 || f.Clean {
		t.Errorf("%+v, %v", f, err)
	}
	if got := Inspect(data); got.Pixels != 12*40*30 || got.Frames != 12 {
		t.Errorf("%+v", got)
	}
}

func TestDecodeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Decode(ctx, standard(false), 1<<40); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Fit(ctx, drawn(image.Pt(80, 60), 4, 0, false), Options{Size: image.Pt(80, 60), MaxBytes: 3000}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The first frames of many animations are blank, or fade in.
func TestBestFrame(t *testing.T) {
	blank := func(c color.Color) *image.NRGBA {
		img := image.NewNRGBA(image.Rect(0, 0, 60, 40))
		draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
		return img
	}
	full, _ := seen(t, drawn(image.Pt(60, 40), 2, 30, false))
	faint := image.NewNRGBA(image.Rect(0, 0, 60, 40))
	for i, p := range full[0].Pix {
		faint.Pix[i] = 255 - (255-p)/4
		if i%4 == 3 {
			faint.Pix[i] = 255
		}
	}
	for name, tt := range map[string]struct {
		frames []*image.NRGBA
		best   int
	}{
		"black":       {[]*image.NRGBA{blank(color.Black), full[0], full[1]}, 1},
		"white":       {[]*image.NRGBA{blank(color.White), blank(color.White), full[0]}, 2},
		"transparent": {[]*image.NRGBA{blank(color.Transparent), blank(color.White)}, 1},
		"fades in":    {[]*image.NRGBA{faint, full[0], full[1]}, 1},
		"full":        {[]*image.NRGBA{full[0], full[1], blank(color.Black)}, 0},
	} {
		a := &Animation{Size: image.Pt(60, 40), Frames: len(tt.frames), Play: func(context.Context) iter.Seq2[Frame, error] {
			return func(yield func(Frame, error) bool) {
				for _, img := range tt.frames {
					if !yield(Frame{img, 10}, nil) {
						return
					}
				}
			}
		}}
		f := decode(t, fit(t, a, Options{MaxBytes: 1 << 20}).Data)
		want := tt.best
		if name == "white" { // equal frames have become one
			want = 1
		}
		if f.Best != want {
			t.Errorf("%s: frame %d", name, f.Best)
		}
	}
}

func TestFitExactly(t *testing.T) {
	for name, a := range map[string]*Animation{
		"opaque":      drawn(image.Pt(70, 50), 5, 0, false),
		"noise":       drawn(image.Pt(12, 9), 7, 9, false),
		"transparent": drawn(image.Pt(70, 50), 6, 0, true),
		"dictionary":  &decode(t, standard(false)).Animation,
		"one":         drawn(image.Pt(70, 50), 1, 0, true),
		"pixel":       drawn(image.Pt(1, 1), 3, 0, false),
	} {
		t.Run(name, func(t *testing.T) {
			r := fit(t, a, Options{MaxBytes: 1 << 20, Exact: true})
			want, wantDelays := seen(t, a)
			f := decode(t, r.Data)
			got, gotDelays := seen(t, &f.Animation)
			std := reference(t, r.Data)
			if !f.Clean || f.Loop != a.Loop || len(std) != len(got) {
				t.Errorf("clean %v, loop %d, %d frames", f.Clean, f.Loop, f.Frames)
			}
			i, until, now := 0, shown(gotDelays[0]), 0
			for n, img := range want {
				for until <= now {
					i++
					until += shown(gotDelays[i])
				}
				now += shown(wantDelays[n])
				if !bytes.Equal(std[i].Pix, got[i].Pix) {
					t.Fatalf("frame %d is another for the standard library", i)
				}
				if name == "opaque" {
					if d := furthest(img, got[i]); d > 12 { // of more colours than a palette has
						t.Fatalf("frame %d is %d away", n, d)
					}
					continue
				}
				if !bytes.Equal(img.Pix, got[i].Pix) {
					t.Fatalf("frame %d (%d) has other pixels", n, i)
				}
			}
			if now != until {
				t.Errorf("it takes %d, not %d", until, now)
			}
		})
	}
}

func furthest(a, b *image.NRGBA) (most int) {
	for i := range a.Pix {
		most = max(most, int(a.Pix[i])-int(b.Pix[i]), int(b.Pix[i])-int(a.Pix[i]))
	}
	return most
}

func TestFitInsideEveryLimit(t *testing.T) {
	for name, a := range map[string]*Animation{
		"noise":       drawn(image.Pt(160, 120), 14, 40, false),
		"transparent": drawn(image.Pt(160, 120), 14, 40, true),
		"two":         drawn(image.Pt(160, 120), 2, 40, false),
	} {
		a.Loop = 7
		whole := 0
		for _, d := range slices.Collect(delaysOf(t, a)) {
			whole += d
		}
		last := 0.0
		for maxBytes := 2000; maxBytes < 300_000; maxBytes = maxBytes * 5 / 3 {
			r, err := Fit(t.Context(), a, Options{Size: image.Pt(160, 120), MaxBytes: maxBytes})
			var over *SizeError
			if errors.As(err, &over) && over.Size > maxBytes && maxBytes < 12_000 {
				continue
			}
			if err != nil {
				t.Fatalf("%s in %d: %v", name, maxBytes, err)
			}
			f := decode(t, r.Data)
			got := 0
			for _, d := range slices.Collect(delaysOf(t, &f.Animation)) {
				got += d
			}
			if len(r.Data) > maxBytes || f.Size != r.Size || f.Loop != 7 || got != whole || !f.Clean || f.Frames < 2 {
				t.Errorf("%s in %d: %d bytes, %v, loop %d, time %d of %d", name, maxBytes, len(r.Data), f.Size, f.Loop, got, whole)
			}
			if img, _ := f.Still(t.Context()); img.Opaque() == (name == "transparent") {
				t.Errorf("%s in %d: opaque %v", name, maxBytes, img.Opaque())
			}
			like := likeness(t, a, f)
			if like < last-0.03 {
				t.Errorf("%s in %d: similarity %.3f, %.3f in fewer bytes; %v, %d frames, %d bytes", name, maxBytes, like, last, f.Size, f.Frames, len(r.Data))
			}
			last = max(last, like)
		}
		if last < 0.9 {
			t.Errorf("%s: similarity %.3f at best", name, last)
		}
	}
}

func delaysOf(t *testing.T, a *Animation) iter.Seq[int] {
	_, delays := seen(t, a)
	return func(yield func(int) bool) {
		for _, d := range delays {
			if !yield(shown(d)) {
				return
			}
		}
	}
}

// likeness compares what is seen at the time of each of the source's frames.
func likeness(t testing.TB, a *Animation, f *File) float64 {
	t.Helper()
	want, wantDelays := seen(t, a)
	got, gotDelays := seen(t, &f.Animation)
	source, small := newRaster(a.Size), newRaster(f.Size)
	sum, i, until, now := 0.0, 0, shown(gotDelays[0]), 0
	for n, img := range want {
		for until <= now {
			i++
			until += shown(gotDelays[i])
		}
		now += shown(wantDelays[n])
		source.set(img)
		small.set(got[i])
		sum += similarity(newLook(source, a.Size), newLook(small, a.Size))
	}
	return sum / float64(len(want))
}

// What does not change takes next to nothing, and a still picture in between
// becomes a longer time.
func TestFitUnchangedPixels(t *testing.T) {
	a := drawn(image.Pt(200, 150), 2, 60, false)
	once := len(fit(t, drawn(image.Pt(200, 150), 1, 60, false), Options{MaxBytes: 1 << 20}).Data)
	frames, _ := seen(t, a)
	changed := &image.NRGBA{Pix: bytes.Clone(frames[0].Pix), Stride: frames[0].Stride, Rect: frames[0].Rect}
	draw.Draw(changed, image.Rect(10, 10, 14, 14), image.White, image.Point{}, draw.Src)
	a.Frames = 40
	a.Play = func(context.Context) iter.Seq2[Frame, error] {
		return func(yield func(Frame, error) bool) {
			for i := range 40 {
				if img := []*image.NRGBA{frames[0], changed}[i/20]; !yield(Frame{img, 4}, nil) {
					return
				}
			}
		}
	}
	r := fit(t, a, Options{MaxBytes: 1 << 20})
	f := decode(t, r.Data)
	_, delays := seen(t, &f.Animation)
	if len(r.Data) > once+200 || !slices.Equal(delays, []int{80, 80}) {
		t.Errorf("%d bytes, one frame has %d; delays %v", len(r.Data), once, delays)
	}
}

// A frame of other colours than the rest has a palette of its own.
func TestFitPaletteForOneFrame(t *testing.T) {
	rest, _ := seen(t, drawn(image.Pt(120, 90), 20, 0, false))
	other := image.NewNRGBA(rest[0].Rect)
	for i := range other.Pix {
		other.Pix[i] = []uint8{20, 20, uint8(i/4%120) * 2, 255}[i%4]
	}
	rest[7] = other
	a := &Animation{Size: image.Pt(120, 90), Frames: 20, Play: func(context.Context) iter.Seq2[Frame, error] {
		return func(yield func(Frame, error) bool) {
			for _, img := range rest {
				if !yield(Frame{img, 4}, nil) {
					return
				}
			}
		}
	}}
	f := decode(t, fit(t, a, Options{MaxBytes: 1 << 20}).Data)
	got, _ := seen(t, &f.Animation)
	if d := furthest(got[7], other); d > 8 {
		t.Errorf("it is %d away", d)
	}
}

func TestSimilarityTells(t *testing.T) {
	frames, _ := seen(t, drawn(image.Pt(90, 60), 5, 0, false))
	var looks []look
	for _, img := range frames {
		r := newRaster(image.Pt(90, 60))
		r.set(img)
		looks = append(looks, newLook(r, image.Pt(90, 60)))
	}
	a, b, c := looks[0], looks[1], looks[4]
	if same, near, far := similarity(a, a), similarity(a, b), similarity(a, c); same != 1 || near >= same || far >= near {
		t.Error(same, near, far)
	}
}

func TestScaleKeepsFlatColours(t *testing.T) {
	for _, p := range []uint32{0, 0xff000000, 0xffffffff, 0xff123456} {
		for _, to := range []image.Point{{1, 1}, {7, 3}, {30, 40}, {90, 77}} {
			src, dst := newRaster(image.Pt(41, 33)), newRaster(to)
			for i := range src.pix {
				src.pix[i] = p
			}
			new(scaler).scale(dst, src)
			if i := slices.IndexFunc(dst.pix, func(q uint32) bool { return q != p }); i >= 0 {
				t.Errorf("%#x became %#x in %v", p, dst.pix[i], to)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(standard(false))
	f.Add(standard(true))
	for _, change := range []func(*still){
		func(s *still) { s.noEnd, s.noTrailer = true, true },
		func(s *still) { s.screen, s.at = image.Point{}, image.Pt(9, 9) },
		func(s *still) { s.table = nil },
	} {
		s := pattern()
		change(&s)
		f.Add(s.file())
		f.Add(s.frame(s.frame(s.file())))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info := Inspect(data)
		if info.Size.X*info.Size.Y > 1<<14 || info.Frames > 50 || DecodeMemory(info) > 1<<20 {
			return
		}
		file, err := Decode(t.Context(), data, 1<<18)
		if err != nil {
			return
		}
		if file.Frames < 1 || file.Frames > info.Frames || file.Best >= file.Frames {
			t.Fatalf("%+v of %+v", file, info)
		}
		if got := Inspect(Strip(data)); !file.Missing && info.Pixels <= 1<<18 && (got.Size != info.Size || got.Metadata || !got.Trailer) {
			t.Fatalf("stripped it is %+v, before %+v", got, info)
		}
		r, err := Fit(t.Context(), &file.Animation, Options{Size: file.Size, MaxBytes: 4000})
		if err != nil {
			return
		}
		again, err := Decode(t.Context(), r.Data, 1<<20)
		if err != nil || !again.Clean || len(r.Data) > 4000 || again.Size != r.Size {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}

func ExampleFit() {
	a := drawn(image.Pt(120, 90), 6, 0, false)
	r, err := Fit(context.Background(), a, Options{Size: image.Pt(60, 45), MaxBytes: 20_000})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Size, len(r.Data) <= 20_000)
	// Output: (60,45) true
}
