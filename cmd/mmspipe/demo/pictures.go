package demo

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
)

// picture is one that is sent where no files are named.
type picture struct {
	name string
	data []byte
}

// drawPictures draws one of each kind that phones send: a photograph, a screenshot and
// an animation.
func drawPictures() ([]picture, error) {
	var photo, screen, ball bytes.Buffer
	err := errors.Join(
		jpeg.Encode(&photo, drawPhoto(3264, 2448), &jpeg.Options{Quality: 92}),
		png.Encode(&screen, drawScreen(1170, 2532)),
		gif.EncodeAll(&ball, drawBall(240, 180)),
	)
	return []picture{{"ball.gif", ball.Bytes()}, {"photo.jpg", photo.Bytes()}, {"screenshot.png", screen.Bytes()}}, err
}

// drawPhoto draws a sunset over hills, with the noise of a camera.
func drawPhoto(width, height int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	noise := rand.New(rand.NewPCG(1, 2))
	for x := range width {
		u := float64(x) / float64(width)
		hill := 0.62 + 0.08*math.Sin(7*u) + 0.03*math.Sin(23*u+1) + 0.005*math.Sin(190*u)
		for y := range height {
			v := float64(y) / float64(height)
			sun := math.Exp(-30 * ((u-0.7)*(u-0.7) + (v-0.45)*(v-0.45)))
			r, g, b := 60+150*v+120*sun, 80+60*v+90*sun, 150-60*v+20*sun
			if v > hill {
				shade := (v-hill)*90 + 12*math.Sin(400*u*v)
				r, g, b = 30+shade, 45+shade, 25+shade/2
			}
			grain := 14 * (noise.Float64() - 0.5)
			m.SetRGBA(x, y, color.RGBA{level(r + grain), level(g + grain), level(b + grain), 255})
		}
	}
	return m
}

func level(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

// drawScreen draws a conversation: flat bubbles with lines of text.
func drawScreen(width, height int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	letters := rand.New(rand.NewPCG(3, 4))
	for y := range height {
		theirs, row := y/260%2 == 0, y%260
		for x := range width {
			paint := color.RGBA{250, 250, 252, 255}
			left := 60
			if !theirs {
				left = width / 3
			}
			if row > 30 && row < 230 && x > left && x < left+width*3/5 {
				paint = color.RGBA{226, 228, 234, 255}
				if !theirs {
					paint = color.RGBA{40, 120, 245, 255}
				}
				if row%60 > 20 && row%60 < 44 && x > left+40 && x < left+width/2 && letters.IntN(3) == 0 {
					paint = color.RGBA{20, 20, 30, 255}
				}
			}
			m.SetRGBA(x, y, paint)
		}
	}
	return m
}

// drawBall draws a ball that bounces once.
func drawBall(width, height int) *gif.GIF {
	const frames, radius = 16, 24
	colours := color.Palette{color.RGBA{235, 240, 245, 255}, color.RGBA{200, 60, 50, 255}}
	animation := &gif.GIF{}
	for i := range frames {
		m := image.NewPaletted(image.Rect(0, 0, width, height), colours)
		u := float64(i) / frames
		cx, cy := float64(width)/2, float64(height-radius)-4*u*(1-u)*float64(height-3*radius)
		for y := range height {
			for x := range width {
				if math.Hypot(float64(x)-cx, float64(y)-cy) < radius {
					m.SetColorIndex(x, y, 1)
				}
			}
		}
		animation.Image, animation.Delay = append(animation.Image, m), append(animation.Delay, 6)
	}
	return animation
}
