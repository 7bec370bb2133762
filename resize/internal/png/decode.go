package png

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"io"

	"github.com/klauspost/compress/flate"
)

// allowance is how many bytes are inflated of which no pixel comes. Each byte that
// comes out pays for one that goes in, and for an eighth of one, as those of noise
// take more; it does not pay for later ones. A file of blocks with nothing in them,
// which take longer than anything else, is given up after a hundredth of a second.
// What is read ahead, and the window of 32 KiB from which bytes come in one go, need
// a quarter of it.
const allowance = 256 << 10

var errIdle = errors.New("the deflated data has too many blocks with nothing in them")

// missing is the sample of what could not be read, in all channels but that of
// transparency.
const missing = 128

// readSize is how much of the file is read at once, and after how much of it the
// context is asked.
const readSize = 32 << 10

// Memory returns how many bytes [Reader.Decode] allocates at most.
func (h Header) Memory() int64 {
	const inflater = 128 << 10
	rows := int64(2*(h.rowBytes(h.Width)+16)) + 4*int64(h.Width)
	if h.Interlaced {
		return inflater + rows + 4*int64(h.Width)*int64(h.Height)
	}
	return inflater + rows
}

// Decode gives the rows to a function, from the top down, each with
// [Reader.Channels] bytes a pixel; a row is valid until the function returns. The
// error is that of the function, wraps the context's where that ended, or says
// that not one row can be read.
func (r *Reader) Decode(ctx context.Context, row func([]uint8) error) (Outcome, error) {
	source := &pixelData{ctx: ctx, rest: r.data[len(Signature):], left: r.rawBytes()/8*9 + 64<<10}
	in := newInflater(source)
	var whole *canvas // of an interlaced picture
	if r.Interlaced {
		whole = newCanvas(r.Header, r.Channels)
	}
	got := 0
	var err error
	for _, p := range r.passes() {
		width, height := r.size(p)
		if width == 0 {
			continue
		}
		n := 0
		n, err = r.decodePass(ctx, in, p, width, height, whole, row)
		got += n
		if err != nil {
			break
		}
	}
	var bad *damageError
	switch {
	case err != nil && !errors.As(err, &bad):
		return Outcome{}, err
	case got == 0:
		return Outcome{}, fmt.Errorf("the PNG has no row that can be read: %w", err)
	}
	out := Outcome{Lost: err != nil}
	if !out.Lost {
		out.deflated, out.Odd = in.finish()
		out.adler = in.sum.Sum32()
		out.Odd = out.Odd || in.odd || r.odd || source.gaps || !source.ends()
	}
	if ctx.Err() != nil {
		return Outcome{}, fmt.Errorf("decode PNG: %w", ctx.Err())
	}
	return out, r.deliver(whole, got, row)
}

// deliver gives what is left to give: the rows of an interlaced picture, or grey
// ones in place of those that are missing.
func (r *Reader) deliver(whole *canvas, got int, row func([]uint8) error) error {
	if whole != nil {
		for y := range r.Height {
			if err := row(whole.row(y)); err != nil {
				return err
			}
		}
		return nil
	}
	blank := newCanvas(Header{Width: r.Width, Height: 1}, r.Channels).row(0)
	for range r.Height - got {
		if err := row(blank); err != nil {
			return err
		}
	}
	return nil
}

// decodePass decodes the rows of a pass and returns how many. The error is a
// *damageError where no more can be read.
func (r *Reader) decodePass(ctx context.Context, in *inflater, p pass, width, height int, whole *canvas, row func([]uint8) error) (int, error) {
	pixel := max(1, r.Depth*r.Samples()/8) // bytes to the left neighbour
	line, above := make([]uint8, 1+r.rowBytes(width)), make([]uint8, 1+r.rowBytes(width))
	out := make([]uint8, width*r.Channels)
	for y := range height {
		if err := ctx.Err(); err != nil {
			return y, fmt.Errorf("decode PNG: %w", err)
		}
		if err := in.read(line); err != nil {
			return y, err
		}
		if !unfilter(line[0], line[1:], above[1:], pixel) {
			return y, &damageError{errFilter}
		}
		r.convert(out, line[1:], width)
		if whole != nil {
			whole.put(p, y, out)
		} else if err := row(out); err != nil {
			return y, err
		}
		line, above = above, line
	}
	return height, nil
}

var errFilter = errors.New("a row names a filter that there is not")

// damageError says why no more pixels can be read.
type damageError struct{ error }

// Unwrap returns the cause.
func (e *damageError) Unwrap() error { return e.error }

// pixelData is the deflated pixels: what is in all IDAT, wherever they stand.
type pixelData struct {
	ctx   context.Context
	rest  []byte // of the file, from the end of body on
	body  []byte // of the IDAT that is being read
	left  int64  // bytes that are read at most
	idle  int    // bytes of which nothing came, as allowance has it
	given int
	began bool
	gaps  bool // IDATs do not follow each other, or one is damaged
	ended bool // the file's end mark was there
}

// Read gives the next bytes.
func (p *pixelData) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, fmt.Errorf("decode PNG: %w", err)
	}
	for len(p.body) == 0 {
		if !p.next() {
			return 0, io.EOF
		}
	}
	if p.idle >= allowance {
		return 0, errIdle
	}
	n := int(min(int64(copy(b, p.body)), p.left, int64(allowance-p.idle)))
	if n == 0 {
		return 0, io.EOF
	}
	p.body = p.body[n:]
	p.left -= int64(n)
	p.idle += n
	p.given += n
	return n, nil
}

// next goes to the next IDAT.
func (p *pixelData) next() bool {
	skipped := false
	for c := range walk(p.rest) {
		p.rest = p.rest[len(c):]
		switch {
		case c.Is("IDAT"):
			p.gaps = p.gaps || p.began && skipped || !c.Whole()
			p.body, p.began = c.Body(), true
			return true
		case c.Is("IEND"):
			p.ended = c.Whole()
		}
		skipped = true
	}
	return false
}

// ends goes to the end of the file and reports whether its mark is there.
func (p *pixelData) ends() bool {
	for c := range walk(p.rest) {
		p.ended = p.ended || c.Is("IEND") && c.Whole()
	}
	return p.ended
}

// inflater inflates the pixels (RFC 1950 and 1951).
type inflater struct {
	source *pixelData
	buffer *bufio.Reader
	flate  io.ReadCloser
	sum    hash.Hash32
	head   bool
	odd    bool // oddHead
}

func newInflater(source *pixelData) *inflater {
	return &inflater{source: source, buffer: bufio.NewReaderSize(source, readSize), sum: adler32.New()}
}

// oddHead reports whether the two bytes before the deflated data are not what zlib
// writes (RFC 1950, section 2.2).
func oddHead(b []byte) bool { return b[0]>>4 > 7 || binary.BigEndian.Uint16(b)%31 != 0 }

// read fills a row. The error is a *damageError, or the context's.
func (in *inflater) read(b []byte) error {
	if !in.head {
		in.head = true
		var header [2]byte
		if _, err := io.ReadFull(in.buffer, header[:]); err != nil {
			return in.damage(err)
		}
		// The window that it names and its check bits are not looked at: the largest is
		// there anyway. A preset dictionary nobody has.
		if header[0]&15 != 8 || header[1]&0x20 != 0 {
			return &damageError{errors.New("the pixels are not deflated")}
		}
		in.odd = oddHead(header[:])
		in.flate = flate.NewReader(in.buffer)
	}
	for rest := b; len(rest) > 0; {
		n, err := in.flate.Read(rest)
		in.source.idle = max(0, in.source.idle-n-n/8)
		if rest = rest[n:]; err != nil && len(rest) > 0 {
			return in.damage(err)
		}
	}
	_, _ = in.sum.Write(b) // a hash gives no error
	return nil
}

// damage tells the end of a context from that of the data.
func (in *inflater) damage(err error) error {
	if in.source.ctx.Err() != nil {
		return err
	}
	return &damageError{err}
}

// finish looks at what follows the last row: nothing but the checksum, or a few
// rows too many, which all decoders leave alone. It returns how many bytes the
// deflated data has, and whether the checksum is missing or wrong.
func (in *inflater) finish() (deflated int, odd bool) {
	var b [1024]byte
	for range 64 {
		n, err := in.flate.Read(b[:])
		_, _ = in.sum.Write(b[:n])
		if err == io.EOF {
			deflated = in.source.given - in.buffer.Buffered() - 2
			var want [4]byte
			_, err = io.ReadFull(in.buffer, want[:])
			return deflated, err != nil || binary.BigEndian.Uint32(want[:]) != in.sum.Sum32()
		}
		if err != nil {
			return 0, true
		}
	}
	return 0, false
}
