package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/disintegration/imaging"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"mmspipe/resize"
)

// scene draws a frame of an animation.
type scene struct {
	name          string
	width, height int
	frames, delay int
	dither        bool // and colours of its own for each frame, as of video
	draw          func(img *image.NRGBA, n int)
}

// writeGIFs writes animations such as people send into a directory: photographs
// and video, recordings of screens, drawings. photos are the photographs.
func writeGIFs(dir string, photos []string) error {
	var pictures []image.Image
	for _, name := range photos {
		img, err := imaging.Open(name)
		if err != nil {
			return err
		}
		pictures = append(pictures, imaging.Fill(img, 1200, 900, imaging.Center, imaging.Lanczos))
	}
	for _, s := range scenes(pictures) {
		if err := s.write(filepath.Join(dir, s.name+".gif")); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// part draws a part of a picture in the size of img.
func part(img *image.NRGBA, picture image.Image, x, y, width float64) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	height := width * float64(h) / float64(w)
	r := image.Rect(int(x), int(y), int(x+width), int(y+height))
	draw.Draw(img, img.Rect, imaging.Resize(imaging.Crop(picture, r), w, h, imaging.Linear), image.Point{}, draw.Src)
}

func fill(img *image.NRGBA, r image.Rectangle, c color.Color) {
	draw.Draw(img, r, image.NewUniform(c), image.Point{}, draw.Src)
}

func disc(img *image.NRGBA, x, y, radius float64, c color.NRGBA) {
	for py := int(y - radius - 1); py <= int(y+radius+1); py++ {
		for px := int(x - radius - 1); px <= int(x+radius+1); px++ {
			if edge := radius - math.Hypot(float64(px)-x, float64(py)-y) + 0.5; edge > 0 && image.Pt(px, py).In(img.Rect) {
				c.A = uint8(255 * min(edge, 1))
				draw.Draw(img, image.Rect(px, py, px+1, py+1), image.NewUniform(c), image.Point{}, draw.Over)
			}
		}
	}
}

func text(img draw.Image, x, y int, c color.Color, s string) {
	d := font.Drawer{Dst: img, Src: image.NewUniform(c), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}
	d.DrawString(s)
}

// caption draws a line in large letters.
func caption(img *image.NRGBA, y int, s string) {
	line := image.NewNRGBA(image.Rect(0, 0, 7*len(s), 16))
	text(line, 0, 12, color.White, s)
	large := imaging.Resize(line, img.Rect.Dx()*9/10, 0, imaging.NearestNeighbor)
	draw.Draw(img, large.Rect.Add(image.Pt(img.Rect.Dx()/20, y)), large, image.Point{}, draw.Over)
}

// noise adds what a sensor does, another in each frame.
func noise(img *image.NRGBA, n, amplitude int) {
	state := uint32(n*7919 + 1)
	for i := range img.Pix {
		if i%4 == 3 {
			continue
		}
		state = state*1664525 + 1013904223
		img.Pix[i] = uint8(max(0, min(255, int(img.Pix[i])+int(state>>24)*amplitude/128-amplitude)))
	}
}

var words = []string{
	"func", "return", "if err != nil", "range", "package main", "import", "the quick brown fox", "select",
	"jumps over", "0x1f8b", "type Frame struct", "}", "for i := range n {", "// a comment of some length",
}

func scenes(photos []image.Image) []scene {
	at := func(n, of int) float64 { return float64(n) / float64(of) }
	line := func(n int) string { return words[n*5%len(words)] + " " + words[n*3%len(words)] }
	return []scene{
		{"pan", 480, 360, 48, 5, true, func(img *image.NRGBA, n int) { part(img, photos[0], 400*at(n, 48), 100+80*at(n, 48), 640) }},
		{"zoom", 400, 300, 40, 6, true, func(img *image.NRGBA, n int) { part(img, photos[1], 6*float64(n), 4*float64(n), 1100-12*float64(n)) }},
		{"meme", 500, 375, 30, 8, false, func(img *image.NRGBA, n int) {
			part(img, photos[2], 0, 0, 1200)
			disc(img, 250+120*math.Sin(at(n, 30)*2*math.Pi), 200, 30, color.NRGBA{255, 220, 0, 255})
			caption(img, 10, "WHEN THE BUILD")
			caption(img, 310, "IS GREEN AGAIN")
		}},
		{"video", 480, 270, 45, 7, true, func(img *image.NRGBA, n int) {
			part(img, photos[3], 20, 20, 1100)
			disc(img, 40+9*float64(n), 150+40*math.Sin(float64(n)/4), 26, color.NRGBA{200, 60, 40, 255})
			noise(img, n, 6)
		}},
		{"fade", 480, 320, 24, 10, true, func(img *image.NRGBA, n int) {
			part(img, photos[0], 100, 100, 900)
			over := image.NewNRGBA(img.Rect)
			part(over, photos[3], 100, 100, 900)
			draw.DrawMask(img, img.Rect, over, image.Point{}, image.NewUniform(color.Alpha{uint8(255 * n / 23)}), image.Point{}, draw.Over)
		}},
		{"typing", 800, 600, 60, 10, false, func(img *image.NRGBA, n int) {
			fill(img, img.Rect, color.NRGBA{30, 30, 36, 255})
			fill(img, image.Rect(0, 0, 800, 24), color.NRGBA{60, 60, 70, 255})
			for i := range 36 {
				text(img, 20, 50+15*i, color.NRGBA{200, 200, 180, 255}, line(i))
			}
			text(img, 320, 300, color.NRGBA{120, 220, 140, 255}, "sudo make me a sandwich && go test ./... -race -count=1"[:min(n, 55)])
			disc(img, 100+10*float64(n), 500-6*float64(n), 5, color.NRGBA{255, 255, 255, 255})
		}},
		{"scroll", 640, 480, 40, 8, false, func(img *image.NRGBA, n int) {
			fill(img, img.Rect, color.White)
			for i := range 70 {
				text(img, 12, 20+15*i-6*n, color.NRGBA{20, 30, 60, 255}, line(i)+" "+line(i+9)+" "+line(i+4))
			}
			fill(img, image.Rect(0, 0, 640, 40), color.NRGBA{66, 103, 178, 255})
		}},
		{"pixels", 384, 288, 32, 10, false, func(img *image.NRGBA, n int) {
			small := image.NewNRGBA(image.Rect(0, 0, 96, 72))
			fill(small, small.Rect, color.NRGBA{92, 148, 252, 255})
			for i := range 24 {
				fill(small, image.Rect(i*8-n%8, 60, i*8-n%8+7, 66), color.NRGBA{200, 76, 12, 255})
				fill(small, image.Rect(i*8-n%8, 67, i*8-n%8+7, 72), color.NRGBA{252, 188, 176, 255})
			}
			fill(small, image.Rect(40, 44-int(12*math.Abs(math.Sin(float64(n)/5))), 50, 60-int(12*math.Abs(math.Sin(float64(n)/5)))), color.NRGBA{216, 40, 0, 255})
			disc(small, 90-2*float64(n), 15, 6, color.NRGBA{255, 255, 255, 255})
			draw.Draw(img, img.Rect, imaging.Resize(small, 384, 288, imaging.NearestNeighbor), image.Point{}, draw.Src)
		}},
		{"cartoon", 500, 500, 36, 6, false, func(img *image.NRGBA, n int) {
			for y := range 500 {
				fill(img, image.Rect(0, y, 500, y+1), color.NRGBA{uint8(120 + y/5), uint8(180 + y/10), 240, 255})
			}
			for i := range 12 {
				a := at(n, 36)*2*math.Pi + float64(i)*math.Pi/6
				disc(img, 250+150*math.Cos(a), 250+150*math.Sin(a), 40, color.NRGBA{uint8(20 * i), uint8(255 - 20*i), 120, 255})
			}
		}},
		{"sticker", 400, 400, 24, 8, false, func(img *image.NRGBA, n int) {
			for i := range 5 {
				a := at(n, 24)*2*math.Pi/5 + float64(i)*2*math.Pi/5
				disc(img, 200+90*math.Cos(a), 200+90*math.Sin(a), 70, color.NRGBA{255, uint8(60 + 40*i), 40, 255})
			}
			disc(img, 200, 200, 60, color.NRGBA{255, 255, 240, 255})
		}},
	}
}

// write encodes with the standard library, every frame whole.
func (s scene) write(name string) error {
	g := &gif.GIF{Config: image.Config{Width: s.width, Height: s.height}}
	var colours color.Palette
	for n := range s.frames {
		img := image.NewNRGBA(image.Rect(0, 0, s.width, s.height))
		s.draw(img, n)
		if colours == nil || s.dither {
			colours = medianCut(img, 255)
		}
		frame := image.NewPaletted(img.Rect, append(color.Palette{color.NRGBA{}}, colours...))
		if s.dither {
			draw.FloydSteinberg.Draw(frame, img.Rect, img, image.Point{})
		} else {
			for i := range frame.Pix {
				if img.Pix[4*i+3] > 127 {
					frame.Pix[i] = uint8(1 + colours.Index(color.NRGBA{img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], 255}))
				}
			}
		}
		g.Image, g.Delay, g.Disposal = append(g.Image, frame), append(g.Delay, s.delay), append(g.Disposal, gif.DisposalBackground)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := gif.EncodeAll(f, g); err != nil {
		return err
	}
	return f.Close()
}

// medianCut returns the colours of a picture, that many at most.
func medianCut(img *image.NRGBA, colours int) color.Palette {
	var pixels [][3]uint8
	for i := 0; i < len(img.Pix); i += 4 {
		if img.Pix[i+3] > 127 {
			pixels = append(pixels, [3]uint8(img.Pix[i:i+3]))
		}
	}
	boxes := [][][3]uint8{pixels}
	spread := func(b [][3]uint8) (axis, width int) {
		for a := range 3 {
			low, high := uint8(255), uint8(0)
			for _, p := range b {
				low, high = min(low, p[a]), max(high, p[a])
			}
			if int(high)-int(low) > width {
				axis, width = a, int(high)-int(low)
			}
		}
		return axis, width
	}
	for len(boxes) < colours {
		widest, axis, width := 0, 0, 0
		for i, b := range boxes {
			if a, w := spread(b); w > width && len(b) > 1 {
				widest, axis, width = i, a, w
			}
		}
		if width == 0 {
			break
		}
		b := boxes[widest]
		slices.SortFunc(b, func(p, q [3]uint8) int { return cmp.Compare(p[axis], q[axis]) })
		at := len(b) / 2
		for at < len(b)-1 && b[at][axis] == b[0][axis] {
			at++
		}
		boxes[widest] = b[:at]
		boxes = append(boxes, b[at:])
	}
	var out color.Palette
	for _, b := range boxes {
		var sum [3]int
		for _, p := range b {
			sum[0], sum[1], sum[2] = sum[0]+int(p[0]), sum[1]+int(p[1]), sum[2]+int(p[2])
		}
		n := max(len(b), 1)
		out = append(out, color.NRGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255})
	}
	return out
}

func moving(data []byte, r request) ([]byte, error) {
	results, err := resize.New(resize.Options{}).Fit(context.Background(), data, resize.Target{
		Name: "bench", MaxBytes: r.Max, Types: []string{"image/jpeg", "image/png", "image/gif"},
	})
	if err != nil {
		return nil, err
	}
	if results[0].ContentType != "image/gif" {
		return nil, fmt.Errorf("became %s", results[0].ContentType)
	}
	return results[0].Data, nil
}

// command runs a program and says what it took.
func command(args []string) (a answer, err error) {
	cmd := exec.Command(args[0], args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return a, fmt.Errorf("%w: %s", err, out)
	}
	a.Milliseconds = float64((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Microseconds()) / 1e3
	a.Peak = int(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	return a, nil
}

// shown is what is seen of an animation from some time on, in hundredths of a
// second.
type shown struct {
	grey
	from int
}

// play composites an animation on white with the standard library, in that size
// where it is not 0, and leaves out all but every nth frame.
func play(data []byte, width, height, every int) ([]shown, error) {
	g, err := gif.DecodeAll(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, g.Config.Width, g.Config.Height))
	var out []shown
	now := 0
	for i, frame := range g.Image {
		before := slices.Clone(canvas.Pix)
		draw.Draw(canvas, frame.Rect, frame, frame.Rect.Min, draw.Over)
		if i%every == 0 {
			seen := image.NewNRGBA(canvas.Rect)
			fill(seen, seen.Rect, color.White)
			draw.Draw(seen, seen.Rect, canvas, image.Point{}, draw.Over)
			if width > 0 && seen.Rect.Dx() != width {
				seen = imaging.Resize(seen, width, height, imaging.CatmullRom)
			}
			out = append(out, shown{luma(seen), now})
		}
		switch g.Disposal[i] {
		case gif.DisposalBackground:
			draw.Draw(canvas, frame.Rect, image.Transparent, image.Point{}, draw.Src)
		case gif.DisposalPrevious:
			copy(canvas.Pix, before)
		}
		now += g.Delay[i]
	}
	return out, nil
}

// likeness is the mean MS-SSIM of every fourth frame of the reference and what is
// seen at that time, in decibels.
func likeness(reference string, data []byte) (float64, error) {
	source, err := os.ReadFile(reference)
	if err != nil {
		return 0, err
	}
	want, err := play(source, 0, 0, 4)
	if err != nil {
		return 0, err
	}
	got, err := play(data, want[0].width, want[0].height, 1)
	if err != nil {
		return 0, err
	}
	sum, i := 0.0, 0
	for _, w := range want {
		for i+1 < len(got) && got[i+1].from <= w.from {
			i++
		}
		sum += msssim(w.grey, got[i].grey)
	}
	return decibel(sum / float64(len(want))), nil
}
