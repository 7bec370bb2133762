package jpeg

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
)

// SizeError says that a picture is larger than was allowed even at the lowest
// quality.
type SizeError struct {
	Size int // bytes it takes there
}

// Error says the size.
func (e *SizeError) Error() string { return fmt.Sprintf("encode JPEG: takes %d bytes", e.Size) }

// Options say what a file may be.
type Options struct {
	MaxBytes int
	// MinQuality and MaxQuality are the lowest and the highest quality, 1 to 100 on
	// the scale that libjpeg has.
	MinQuality, MaxQuality int
	// Segments are put into the file as they are, with their markers, behind its
	// first header: a colour profile.
	Segments []byte
}

const (
	// fill is how much of MaxBytes is enough, in thousandths: the search for a
	// higher quality ends there.
	fill = 985
	// aim is what it aims at, for an estimate may be that much too small.
	aim = 997
	// maxCounts is how often at most a quality is counted to come closer to the
	// limit, once one fits. Photographs take one or two.
	maxCounts = 6
	// stuffing is the share of coded bytes, one in so many, that are taken to be
	// 0xff, behind which a zero byte follows. Were bits random it would be 256.
	stuffing = 200
)

// encoder is the search for the quality of one picture.
type encoder struct {
	*transformed
	Options
	quantisers [2]quantiser // of luminance and colour
	histogram  histogram
	tokens     []token
	codes      [tables]*code
	estimates  map[int]float64 // of bytes, by quality
	counted    int             // quality that tokens and codes are of
	size       int             // bytes that it takes, as counted
}

// Encode returns the picture, which is grey or YCbCr, as a baseline file of the
// highest quality that fits, and that quality, rounded down. It is written once:
// what a quality takes is first estimated from the entropy of an eighth of the
// picture, then counted in all of it. Only the zero bytes that are stuffed in on
// writing are not known before, and so a file may turn out larger than it was
// taken to be; then lower qualities follow, in steps that double.
//
// The error is a *[SizeError] where not even the lowest quality fits, and wraps
// the context's where that ended.
func Encode(ctx context.Context, p *Picture, o Options) ([]byte, int, error) {
	t, err := newTransformed(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	e := &encoder{transformed: t, Options: o, estimates: map[int]float64{}}
	quality, err := e.search(ctx)
	for step := 1; err == nil; step *= 2 {
		if quality != e.counted {
			if _, err = e.count(ctx, quality); err != nil {
				break
			}
		}
		data := e.write()
		if len(data) <= o.MaxBytes {
			return data, quality / steps, nil
		}
		if quality == o.MinQuality*steps {
			return nil, 0, &SizeError{Size: len(data)}
		}
		quality = max(quality-step, o.MinQuality*steps)
	}
	return nil, 0, err
}

// search returns a quality, as a number of steps: the highest that fits when
// counted, or one that leaves little of the limit unused; the lowest where none
// fits.
//
// Each count corrects the estimates: they are off by what the part of the
// picture that they look at differs from the whole, which is much the same
// factor for all qualities.
func (e *encoder) search(ctx context.Context) (int, error) {
	lowest, highest := e.MinQuality*steps, e.MaxQuality*steps
	fits, fails := lowest-1, highest+1
	factor := 1.0
	for counts := 0; fails-fits > 1 && (counts < maxCounts || fits < lowest); counts++ {
		guess := e.guess(fits, fails, factor)
		if counts >= maxCounts { // estimates lead nowhere
			guess = (fits + fails) / 2
		}
		size, err := e.count(ctx, guess)
		if err != nil {
			return 0, err
		}
		factor = float64(size) / e.estimate(guess)
		if size > e.MaxBytes {
			fails = guess
			continue
		}
		fits = guess
		if e.MaxBytes-size <= e.MaxBytes/1000*(1000-fill) {
			break
		}
	}
	return max(fits, lowest), nil
}

// guess returns the highest quality between two that is estimated to fit.
func (e *encoder) guess(fits, fails int, factor float64) int {
	budget := float64(e.MaxBytes) / 1000 * aim
	low, high := fits, fails-1
	if e.estimate(high)*factor <= budget {
		return high
	}
	for high-low > 1 {
		middle := (low + high) / 2
		if e.estimate(middle)*factor <= budget {
			low = middle
		} else {
			high = middle
		}
	}
	return max(low, fits+1)
}

const (
	// Of each samplePeriod MCUs that follow each other, sampleRun are looked at:
	// enough of them together for the differences of DC to be right.
	sampleRun    = 16
	samplePeriod = 128
	// smallPicture is up to how many MCUs all are looked at.
	smallPicture = 512
)

// estimate returns about how many bytes a quality takes: the entropy of its
// symbols, and their bits.
func (e *encoder) estimate(quality int) float64 {
	if size, ok := e.estimates[quality]; ok {
		return size
	}
	e.quantise(quality)
	seen := 0
	for from := 0; from < e.units; from += samplePeriod {
		to := min(from+sampleRun, e.units)
		if e.units <= smallPicture {
			to = min(from+samplePeriod, e.units)
		}
		e.tokens = e.tokenise(from, to, e.tokens[:0])
		seen += to - from
	}
	size := e.histogram.entropy() / 8 * float64(e.units) / float64(seen)
	size += size/stuffing + 400 // some bytes of headers
	e.estimates[quality] = size
	return size
}

// entropy returns the bits that symbols of these numbers take at least, with
// those that follow them.
func (h *histogram) entropy() float64 {
	total := 0.0
	for table := range tables {
		counts := h[table*symbols:][:symbols]
		sum := uint32(0)
		for symbol, n := range counts {
			if n == 0 {
				continue
			}
			sum += n
			total += float64(n) * (float64(symbol&15) - math.Log2(float64(n)))
		}
		if sum > 0 {
			total += float64(sum) * math.Log2(float64(sum))
		}
	}
	return total
}

// quantise prepares for a quality. What was counted before is gone.
func (e *encoder) quantise(quality int) {
	for i := range e.quantisers {
		e.quantisers[i] = newQuantiser(&standardQuantization[i], quality)
	}
	clear(e.histogram[:])
	e.counted = 0
}

// count makes the tokens and the codes of a quality and returns how many bytes
// it takes, but for the exact number of stuffed ones.
func (e *encoder) count(ctx context.Context, quality int) (int, error) {
	e.quantise(quality)
	tokens := e.tokens[:0]
	for from := 0; from < e.units; from += samplePeriod {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("encode JPEG: %w", err)
		}
		tokens = e.tokenise(from, min(from+samplePeriod, e.units), tokens)
	}
	e.tokens, e.counted = tokens, quality
	total := 0
	for table := range 2 * min(len(e.components), 2) {
		counts := e.histogram[table*symbols:][:symbols]
		c := newCode(counts)
		for symbol, n := range counts {
			total += int(n) * (int(c.length[symbol]) + symbol&15)
		}
		e.codes[table] = c
	}
	total = ceilDiv(total, 8)
	e.size = len(e.header()) + total + total/stuffing + 2
	return e.size, nil
}

// tokenise appends the tokens of a range of MCUs.
func (e *encoder) tokenise(from, to int, tokens []token) []token {
	var predictions [3]int32
	if from > 0 {
		for i, owner := range e.owners {
			q := &e.quantisers[min(owner, 1)]
			predictions[owner] = q.dc(e.blocks[64*((from-1)*len(e.owners)+i)])
		}
	}
	rest := e.blocks[64*from*len(e.owners) : 64*to*len(e.owners)]
	for len(rest) > 0 {
		for _, owner := range e.owners {
			colour := min(owner, 1)
			tokens = e.quantisers[colour].coefficients((*[64]uint16)(rest), &predictions[owner], 2*colour, tokens, &e.histogram)
			rest = rest[64:]
		}
	}
	return tokens
}

// header returns all in front of the coded data (T.81, B.2).
func (e *encoder) header() []byte {
	out := []byte{0xff, markerSOI}
	out = append(append(out, jfifHeader...), e.Segments...)
	colours := min(len(e.components), 2)
	for i := range colours {
		out = append(out, 0xff, markerDQT, 0, 67, uint8(i))
		out = append(out, e.quantisers[i].table[:]...)
	}
	out = append(out, 0xff, markerSOF0, 0, uint8(8+3*len(e.components)), 8)
	out = binary.BigEndian.AppendUint16(out, uint16(e.components[0].Height))
	out = binary.BigEndian.AppendUint16(out, uint16(e.components[0].Width))
	out = append(out, uint8(len(e.components)))
	for i, c := range e.components {
		out = append(out, uint8(i+1), uint8(c.factor*0x11), uint8(min(i, 1)))
	}
	for table := range 2 * colours {
		c := e.codes[table]
		out = append(out, 0xff, markerDHT)
		out = binary.BigEndian.AppendUint16(out, uint16(19+len(c.values)))
		out = append(out, uint8(table%2<<4|table/2))
		out = append(append(out, c.counts[:]...), c.values...)
	}
	out = append(out, 0xff, markerSOS, 0, uint8(6+2*len(e.components)), uint8(len(e.components)))
	for i := range e.components {
		out = append(out, uint8(i+1), uint8(min(i, 1)*0x11))
	}
	return append(out, 0, 63, 0)
}

// write returns the file of the quality that was counted last.
func (e *encoder) write() []byte {
	var words [tables * symbols]uint32
	for table := range 2 * min(len(e.components), 2) {
		e.codes[table].fill(words[table*symbols:])
	}
	w := bitWriter{data: append(make([]byte, 0, e.size+8), e.header()...)}
	for _, t := range e.tokens {
		word := words[t>>16&(tables*symbols-1)]
		w.write(uint64(word>>wordShift|uint32(t&0xffff)), uint(word&(1<<wordShift-1)))
	}
	return append(w.flush(), 0xff, markerEOI)
}
