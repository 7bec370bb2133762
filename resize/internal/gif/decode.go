package gif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"iter"
	"slices"
)

// File is a GIF file of which every frame has been decoded once.
type File struct {
	Animation
	// Missing says that part of the file could not be read.
	Missing bool
	// Clean says that any decoder reads the file as this one does: nothing had to
	// be mended.
	Clean bool
}

// Disposal methods (section 23): what becomes of a frame when the next is drawn.
const (
	disposeBackground = 2
	disposePrevious   = 3
)

// disposal are the methods that are meant: some writers have 4 for 3.
var disposal = [8]byte{0, 1, disposeBackground, disposePrevious, disposePrevious}

// opaqueBlack is a pixel as it lies in memory, read in little-endian order.
const opaqueBlack = 0xff << 24

// DecodeMemory returns the bytes that decoding takes: what is on the screen, the
// same before a frame that is taken back, and the indices of a frame.
func DecodeMemory(i Info) int64 { return 8*int64(i.Size.X)*int64(i.Size.Y) + i.largest }

// Decode decodes every frame, up to that many pixels of all together (see
// [Info.Pixels]); those beyond are not there. The caller has checked [DecodeMemory]. The error is the
// context's, or says that there is no picture at all.
func Decode(ctx context.Context, data []byte, maxPixels int64) (*File, error) {
	info := Inspect(data)
	f := &File{Animation: Animation{Size: info.Size, Loop: info.loop}, Clean: info.Trailer && !info.Mended}
	d := decoder{data: data, size: info.Size, maxPixels: maxPixels}
	f.Play = func(ctx context.Context) iter.Seq2[Frame, error] {
		return func(yield func(Frame, error) bool) {
			again := d
			again.play(ctx, yield)
		}
	}
	first := d
	watched := Animation{Play: func(ctx context.Context) iter.Seq2[Frame, error] {
		return func(yield func(Frame, error) bool) { first.play(ctx, yield) }
	}}
	if err := watched.Watch(ctx); err != nil {
		return nil, err
	}
	f.Frames, f.Best = watched.Frames, watched.Best
	if first.drawn == 0 {
		return nil, errors.New("no picture in the GIF")
	}
	f.Missing = first.missing
	f.Clean = f.Clean && !first.missing && !first.unclean
	return f, nil
}

// decoder composites the frames of a file.
type decoder struct {
	data      []byte
	size      image.Point
	maxPixels int64

	global  []byte
	control control
	canvas  *image.NRGBA
	before  []byte // the canvas before a frame that is taken back
	dispose byte   // what becomes of the last frame
	last    image.Rectangle
	indices []byte
	unpacker
	drawn   int  // pixels that were decoded
	missing bool // part of the file could not be read
	unclean bool // a frame was not coded as it should be
}

// control is a graphic control extension (section 23), which is about the next
// image.
type control struct {
	dispose     byte
	delay       int
	transparent int // index, -1 where there is none
}

// play yields the frames.
func (d *decoder) play(ctx context.Context, yield func(Frame, error) bool) {
	d.canvas = image.NewNRGBA(image.Rectangle{Max: d.size})
	d.control.transparent = -1
	frames := 0
	for b := range blocks(d.data) {
		if err := ctx.Err(); err != nil {
			yield(Frame{}, fmt.Errorf("decode GIF: %w", err))
			return
		}
		d.missing = d.missing || b.cut || b.kind == kindUnknown
		switch b.kind {
		case kindHeader:
			d.global = b.data[13:]
		case kindExtension:
			d.readControl(b)
		case kindImage:
			delay := d.control.delay
			switch ok, spent := d.draw(b, frames == 0); {
			case spent:
				d.unclean = true
				return
			case !ok:
			case !yield(Frame{NRGBA: d.canvas, Delay: delay}, nil):
				return
			default:
				frames++
			}
		}
	}
}

func (d *decoder) readControl(b block) {
	if b.cut || b.data[1] != labelControl {
		return
	}
	d.unclean = d.unclean || len(b.data) != 8 || b.data[2] != 4 || b.data[7] != 0
	if len(b.data) < 8 || b.data[2] < 4 {
		return
	}
	packed := b.data[3]
	d.control = control{
		dispose: disposal[packed>>2&7], delay: int(binary.LittleEndian.Uint16(b.data[4:])), transparent: -1,
	}
	if packed&1 != 0 {
		d.control.transparent = int(b.data[6])
	}
}

// draw decodes a frame and draws it. It is not ok where nothing of it is there,
// and all is spent where it has more pixels than are left to decode.
func (d *decoder) draw(b block, first bool) (ok, spent bool) {
	c := d.control
	d.control = control{transparent: -1}
	desc, ok := readDescriptor(b)
	if !ok {
		d.missing = true
		return false, false
	}
	if first && !desc.bounds.In(image.Rectangle{Max: d.size}) { // the screen has no size
		desc.bounds = desc.bounds.Sub(desc.bounds.Min)
	}
	area := desc.pixels(d.size)
	d.maxPixels -= max(area, int64(d.size.X)*int64(d.size.Y))
	if d.maxPixels < 0 {
		return false, true
	}
	if int64(cap(d.indices)) < area {
		d.indices = make([]byte, area)
	}
	pix := d.indices[:area]
	n, clean := d.unpack(pix, desc.codeSize, desc.coded)
	d.missing = d.missing || n < len(pix)
	d.unclean = d.unclean || !clean
	if n == 0 && len(pix) > 0 && !first {
		return false, false
	}
	d.takeBack()
	d.dispose, d.last = c.dispose, desc.bounds.Intersect(d.canvas.Rect)
	if c.dispose == disposePrevious {
		d.before = append(d.before[:0], d.canvas.Pix...)
	}
	colours := desc.colours
	if colours == nil {
		colours = d.global
	}
	d.drawn += n
	if n > 0 && len(colours) < 3<<desc.codeSize && 3*int(slices.Max(pix[:n])) >= len(colours) {
		d.unclean = true // decoders differ in what they show there
	}
	d.paint(desc, pix[:n], colourTable(colours, desc.codeSize, c.transparent))
	return true, false
}

// takeBack does with the last frame what it asks for before the next is drawn.
func (d *decoder) takeBack() {
	switch {
	case d.dispose == disposePrevious && d.before != nil:
		copy(d.canvas.Pix, d.before)
	case d.dispose == disposeBackground:
		// To be transparent is what browsers do, whatever the background colour.
		for y := d.last.Min.Y; y < d.last.Max.Y; y++ {
			clear(d.canvas.Pix[d.canvas.PixOffset(d.last.Min.X, y):][:4*d.last.Dx()])
		}
	}
}

// colourTable returns what each index stands for, 0 for transparent. Where there
// are no colours it is greys, and black behind the last of a table that is short.
func colourTable(colours []byte, codeSize, transparent int) *[256]uint32 {
	var table [256]uint32
	for i := range table {
		switch {
		case 3*i+2 < len(colours):
			c := colours[3*i:]
			table[i] = opaqueBlack | uint32(c[0]) | uint32(c[1])<<8 | uint32(c[2])<<16
		case len(colours) == 0:
			grey := uint32(min(255, i*255/(1<<max(1, min(codeSize, 8))-1)))
			table[i] = opaqueBlack | grey*0x010101
		default:
			table[i] = opaqueBlack
		}
	}
	if transparent >= 0 {
		table[transparent] = 0
	}
	return &table
}

// paint draws the pixels that were decoded.
func (d *decoder) paint(desc descriptor, pix []byte, table *[256]uint32) {
	width := desc.bounds.Dx()
	left := max(0, -desc.bounds.Min.X)
	visible := desc.bounds.Intersect(d.canvas.Rect)
	row := rows(desc.bounds.Dy(), desc.interlace)
	for y := 0; len(pix) > 0; y++ {
		line := pix[:min(width, len(pix))]
		pix = pix[len(line):]
		at := desc.bounds.Min.Y + row(y)
		if at >= visible.Max.Y || visible.Dx() == 0 {
			continue
		}
		line = line[min(left, len(line)):]
		line = line[:min(len(line), visible.Dx())]
		to := d.canvas.Pix[d.canvas.PixOffset(visible.Min.X, at):]
		for x, index := range line {
			if c := table[index]; c != 0 {
				binary.LittleEndian.PutUint32(to[4*x:], c)
			}
		}
	}
}

// rows returns which row of a frame comes as the nth (appendix E).
func rows(height int, interlace bool) func(int) int {
	if !interlace {
		return func(n int) int { return n }
	}
	return func(n int) int {
		for _, pass := range [...]struct{ start, step int }{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
			count := (height - pass.start + pass.step - 1) / pass.step
			if n < count {
				return pass.start + n*pass.step
			}
			n -= max(count, 0)
		}
		return height
	}
}
