package gif

import (
	"context"
	"fmt"
	"image"
	"math"
)

// Options say what [Fit] has to keep to.
type Options struct {
	Size     image.Point // of the result at most; of the aspect of the animation
	MaxBytes int
	// Exact asks for the size and the pixels as they are, or an error.
	Exact bool
}

// Result is an encoded animation.
type Result struct {
	Data []byte
	Size image.Point
	// Every is 1 where all frames are there, and n where every nth is.
	Every int
}

// SizeError says that an animation does not fit.
type SizeError struct {
	Size int // bytes that it would have had at the least that was tried
}

func (e *SizeError) Error() string { return fmt.Sprintf("%d bytes are too many", e.Size) }

const (
	// stepDown is from one size that is tried to the next smaller one.
	stepDown = 0.84
	// smallestSide is the longest side in pixels at which the steps end.
	smallestSide = 64
	// sampled is how many pixels are held to plan by.
	sampled = 6_000_000
	// windows and windowFrames are how many times and how many frames in a row are
	// looked at to plan a longer animation.
	windows, windowFrames = 3, 6
	// blurred is a similarity below which it is better to have fewer frames than
	// to see less of each.
	blurred = 0.75
	// leftOut is how much the likeness of a frame counts that is left out.
	leftOut = 0.5
	// attempts is how often a plan is carried out before a smaller one is made.
	// The first is over the limit or far below it about every third time.
	attempts = 3
	// measurements is how many levels are tried on samples to find that of a size.
	measurements = 4
)

// Memory returns the bytes that fitting an animation takes in that size: the
// frames by which it is planned, in two sizes, frames of the source and the
// result, what is known of each pixel that is being encoded, and colours.
func Memory(source, size image.Point) int64 {
	area := int64(size.X) * int64(size.Y)
	frames := min(windows*windowFrames, max(2, sampled/max(area, 1)))
	const point, pictures = 32, 5 * 4
	return (4*(2*frames)+point+pictures)*area + 24*int64(source.X)*int64(source.Y) + 4<<20
}

// plan is one way to encode an animation.
type plan struct {
	size       image.Point
	every      int
	level      int
	bytes      int     // that it is expected to have
	slope      float64 // by how much the logarithm of the bytes falls along the levels
	similarity float64
}

// planner measures plans on some of the frames.
type planner struct {
	*Animation
	Options
	frames   int // that are there
	shown    int // hundredths of a second, all of them
	colours  *histogram
	palettes map[int]*palette // by the number of colours
	samples  [][]*raster      // frames in a row
	looks    [][]look         // of the samples
	whole    bool             // the samples are all frames
}

// Fit returns the animation in the size and the quality that look best inside
// the limit. The error is a *[SizeError] where there is none, or the context's.
//
// What can be given up is pixels' exactness, colours, size, and frames. How much
// of each is found by encoding some frames: for each size the least loss that
// fits, and among the sizes the one that is most like the source. Only where all
// of them have become a blur are frames left out.
func Fit(ctx context.Context, a *Animation, o Options) (*Result, error) {
	p := &planner{Animation: a, Options: o, palettes: map[int]*palette{}}
	if err := p.sample(ctx); err != nil {
		return nil, err
	}
	if o.Exact {
		r, size, err := p.encode(ctx, plan{size: o.Size, every: 1}, o.MaxBytes)
		if err == nil && r == nil {
			err = &SizeError{Size: size}
		}
		return r, err
	}
	best, err := p.choose(ctx)
	if err != nil {
		return nil, err
	}
	return p.carryOut(ctx, best)
}

// sample goes through the animation once, counts colours, and keeps some frames:
// windows of some in a row, evenly from the first to the last.
func (p *planner) sample(ctx context.Context) error {
	p.colours = newHistogram()
	hold := max(2, min(windows*windowFrames, sampled/(p.Options.Size.X*p.Options.Size.Y)))
	length := min(windowFrames, hold)
	count := hold / length
	if p.whole = p.Frames <= hold; p.whole {
		length, count = p.Frames, 1
	}
	if !p.Exact {
		p.samples, p.looks = make([][]*raster, count), make([][]look, count)
	}
	var s scaler
	source := newRaster(p.Animation.Size)
	stride := max(1, len(source.pix)*p.Frames/2_000_000)
	for frame, err := range p.Play(ctx) {
		if err != nil {
			return err
		}
		source.set(frame.NRGBA)
		p.colours.add(source.pix, stride)
		p.shown += shown(frame.Delay)
		for i := range p.samples {
			begin := i * (p.Frames - length) / max(1, count-1)
			if begin <= p.frames && p.frames < begin+length {
				kept := newRaster(p.Options.Size)
				s.scale(kept, source)
				p.samples[i] = append(p.samples[i], kept)
				p.looks[i] = append(p.looks[i], newLook(kept, p.Options.Size))
			}
		}
		p.frames++
	}
	if p.frames == 0 {
		return &SizeError{}
	}
	return nil
}

// palette returns the palette of the whole animation.
func (p *planner) palette(colours int) *palette {
	if p.palettes[colours] == nil {
		p.palettes[colours] = p.colours.palette(colours)
	}
	return p.palettes[colours]
}

func (p *planner) encoder(pl plan) *encoder {
	q := level(pl.level)
	if p.frames == 1 && q.colours == 255 {
		q.colours = 256
	}
	return newEncoder(pl.size, p.Loop, p.palette(q.colours), q)
}

// choose returns the best plan that is expected to fit. Where none is, it is the
// smallest.
func (p *planner) choose(ctx context.Context) (plan, error) {
	var best plan
	for every := 1; every == 1 || p.canLeaveOut(every); every++ {
		pl, err := p.chooseSize(ctx, every)
		if err != nil {
			return plan{}, err
		}
		if best.size.X == 0 || pl.similarity > best.similarity {
			best = pl
		}
		if best.similarity >= blurred {
			break
		}
	}
	return best, nil
}

// canLeaveOut says whether an animation of every nth frame still moves: half a
// second for each is a slide show.
func (p *planner) canLeaveOut(every int) bool {
	return p.frames >= 2*every && p.shown*every < 50*p.frames && every <= 3
}

// chooseSize climbs from a size that is likely to the one that looks best.
func (p *planner) chooseSize(ctx context.Context, every int) (plan, error) {
	tried := map[int]plan{} // by the number of steps down
	try := func(steps int) (plan, error) {
		pl, ok := tried[steps]
		if !ok {
			pl = plan{size: scaled(p.Options.Size, math.Pow(stepDown, float64(steps))), every: every, slope: usualSlope}
			if err := p.chooseLevel(ctx, &pl); err != nil {
				return pl, err
			}
			tried[steps] = pl
		}
		return pl, nil
	}
	steps := 0
	best, err := try(0)
	if err != nil || best.level <= easyLevel {
		return best, err
	}
	if best.level > usualLevel {
		// Bytes follow the area somewhat less than evenly.
		steps = int((along(best.level) - along(usualLevel)) * best.slope / (-1.7 * math.Log(stepDown)))
		for steps > 0 && scaled(p.Options.Size, math.Pow(stepDown, float64(steps-1))) == scaled(p.Options.Size, 0) {
			steps--
		}
		if best, err = try(steps); err != nil {
			return best, err
		}
	}
	for _, direction := range []int{1, -1} {
		climbed := false
		for steps+direction >= 0 && (direction < 0 || best.size != scaled(p.Options.Size, 0)) {
			next, err := try(steps + direction)
			if err != nil {
				return best, err
			}
			if next.similarity <= best.similarity {
				break
			}
			best, steps, climbed = next, steps+direction, true
		}
		if climbed {
			break
		}
	}
	return best, nil
}

// Levels by which the search for a size is led: what is this good at full size
// stays there, and what looks best at a smaller size mostly does so at about the
// usual level. The slope is what photographs have.
const (
	easyLevel  = 8
	usualLevel = 20
	usualSlope = 1.7
)

func scaled(size image.Point, scale float64) image.Point {
	scale = max(scale, min(1, smallestSide/float64(max(size.X, size.Y))))
	return image.Pt(max(1, int(math.Round(float64(size.X)*scale))), max(1, int(math.Round(float64(size.Y)*scale))))
}

// chooseLevel finds the level at which a size is expected to fit, and how it
// looks then, from a few measurements. A level beyond the highest says that it
// does not fit, and about how much is missing.
func (p *planner) chooseLevel(ctx context.Context, pl *plan) error {
	frames := p.scaled(pl.size)
	var over, fits plan // the nearest on both sides
	var views []view    // of the one that fits
	over.level, fits.level = -1, maxLevel+1
	pl.level = usualLevel
	for range measurements {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("encode GIF: %w", err)
		}
		size, seen := p.measure(*pl, frames)
		if pl.bytes = size; size <= p.MaxBytes {
			fits, views = *pl, seen
		} else {
			over = *pl
		}
		if over.bytes > 0 && fits.bytes > 0 {
			pl.slope = max(0.3, math.Log(float64(over.bytes)/float64(fits.bytes))/(along(fits.level)-along(over.level)))
		}
		next := max(min(pl.levelFor(p.MaxBytes), fits.level-1), over.level+1)
		if fits.level == 0 || fits.bytes > p.MaxBytes*93/100 || next >= fits.level || over.level == maxLevel {
			pl.level = max(next, pl.level)
			break
		}
		pl.level = min(next, maxLevel)
	}
	if fits.bytes == 0 {
		pl.level = max(pl.level, maxLevel+1)
		return nil
	}
	slope := pl.slope
	*pl = fits
	pl.slope, pl.similarity = slope, p.compare(views)
	return nil
}

// along is a scale of levels on which the logarithm of the bytes falls about
// evenly.
func along(level int) float64 { return math.Log(float64(level) + 8) }

// levelFor returns the level at which a plan that was measured has that many bytes.
func (pl *plan) levelFor(maxBytes int) int {
	to := along(pl.level) + math.Log(float64(pl.bytes)/float64(maxBytes))/pl.slope
	return int(min(math.Ceil(math.Exp(to)-8), 10*maxLevel))
}

// scaled returns the samples in another size.
func (p *planner) scaled(size image.Point) [][]*raster {
	if size == p.Options.Size {
		return p.samples
	}
	var s scaler
	out := make([][]*raster, len(p.samples))
	for i, window := range p.samples {
		for _, f := range window {
			small := newRaster(size)
			s.scale(small, f)
			out[i] = append(out[i], small)
		}
	}
	return out
}

// view is what a sample of a plan shows.
type view struct {
	screen   *raster
	w, i, to int // the window, and the frames in it at whose time it is seen
}

// measure estimates the bytes of a plan. Of each window two frames are encoded, on
// the screen as it is after the first.
func (p *planner) measure(pl plan, frames [][]*raster) (size int, views []view) {
	first, later, laterFrames := 0, 0, 0
	for w, window := range frames {
		e := p.encoder(pl)
		for i := 0; i < len(window) && (p.whole || i <= 2*pl.every); i += pl.every {
			if i == 0 && w > 0 {
				e.draw(window[0])
				continue
			}
			if i > 0 && i+pl.every > len(window) && laterFrames > 0 {
				break // only part of the time that it is shown is there to look at
			}
			before := len(e.out)
			e.frame(window[i], following(window, i+pl.every), 10)
			if i == 0 {
				first = len(e.out)
			} else {
				later += len(e.out) - before
				laterFrames++
			}
			views = append(views, view{e.screen.clone(), w, i, min(i+pl.every, len(window))})
		}
	}
	kept := (p.frames + pl.every - 1) / pl.every
	size = first + 1
	if laterFrames > 0 {
		size += int(float64(later) / float64(laterFrames) * float64(kept-1))
	}
	return size, views
}

// compare returns how like the source that is what a plan shows.
func (p *planner) compare(views []view) float64 {
	like, looked := 0.0, 0.0
	for _, v := range views {
		shown := newLook(v.screen, p.Options.Size)
		weight := 1.0
		for _, source := range p.looks[v.w][v.i:v.to] {
			like += weight * similarity(shown, source)
			looked += weight
			weight = leftOut // what is left out is missed less than what is a blur
		}
	}
	return like / max(looked, 1)
}

func following(window []*raster, i int) *raster {
	if i < len(window) {
		return window[i]
	}
	return nil
}

// carryOut encodes as planned. What was measured on all frames then corrects the
// plan.
func (p *planner) carryOut(ctx context.Context, pl plan) (*Result, error) {
	var best *Result
	smallest := math.MaxInt
	over, fits := -1, maxLevel+1 // the nearest levels on both sides
	for try := 0; best == nil || try < attempts; try++ {
		if pl.level > maxLevel {
			if max(pl.size.X, pl.size.Y) <= smallestSide || try > 4*attempts {
				return nil, &SizeError{Size: smallest}
			}
			pl.size, pl.level = scaled(pl.size, stepDown), maxLevel*2/3
			over, fits = -1, maxLevel+1
		}
		r, size, err := p.encode(ctx, pl, p.MaxBytes)
		if err != nil {
			return nil, err
		}
		smallest = min(smallest, size)
		pl.bytes = size
		if r == nil {
			over = pl.level
		} else if best == nil || len(r.Data) > len(best.Data) {
			best, fits = r, pl.level
		}
		next := max(over+1, min(pl.levelFor(p.MaxBytes), fits-1))
		if fits <= maxLevel && (fits == 0 || next >= fits || size > p.MaxBytes*95/100 && r != nil) {
			break
		}
		if pl.level = next; try >= attempts {
			pl.level += try // the slope is not what it seemed
		}
	}
	return best, nil
}

// encode writes the whole animation. There is no result where it is too large,
// but about the size it would have.
func (p *planner) encode(ctx context.Context, pl plan, maxBytes int) (*Result, int, error) {
	e := p.encoder(pl)
	var s scaler
	source := newRaster(p.Animation.Size)
	waiting, next := newRaster(pl.size), newRaster(pl.size)
	kept := (p.frames + pl.every - 1) / pl.every
	n, written, delay := 0, 0, 0
	for frame, err := range p.Play(ctx) {
		switch {
		case err != nil:
			return nil, 0, err
		case len(e.out) > maxBytes:
			return nil, max(maxBytes+1, len(e.out)*kept/max(written, 1)), nil
		case n%pl.every != 0:
			delay += shown(frame.Delay)
		default:
			source.set(frame.NRGBA)
			s.scale(next, source)
			if n > 0 {
				e.frame(waiting, next, delay)
				written++
			}
			waiting, next = next, waiting
			if delay = frame.Delay; pl.every > 1 {
				delay = shown(delay)
			}
		}
		n++
	}
	e.frame(waiting, nil, delay)
	data := e.end()
	if len(data) > maxBytes {
		return nil, len(data), nil
	}
	return &Result{Data: data, Size: pl.size, Every: pl.every}, len(data), nil
}
