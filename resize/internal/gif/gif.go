// Package gif decodes GIF files as tolerantly as browsers do, and encodes
// animations into a number of bytes.
//
// [Inspect] walks a file and decodes nothing: what decoding will take can be
// bounded first. [Decode] gives the animation that a file holds, and [Fit] makes
// of any animation the best GIF inside a limit. Frames are composited on the way
// between the two, so that those of another format can be encoded too.
//
// # Memory and work
//
// An [Animation] is not a list of pictures: it yields one frame after the other,
// as often as it is asked, so that a few frames are in memory at a time and not
// all. [Memory] says how much that is. A file is decoded up to a number of pixels
// that the caller gives, and every frame asks the context.
//
// # What is mended
//
// No trailer, bytes behind the end of the coded pixels or no end code, indices
// beyond the palette (black), no palette (greys), a first frame beyond the screen
// (which is enlarged) and later ones (which are cut), a screen of no size (the
// first frame's is taken). Of a file that is cut off or damaged what is there is
// kept; the rest shows what was there before.
//
// Sections named in comments are those of the GIF89a specification (CompuServe,
// 1990).
package gif

import (
	"context"
	"fmt"
	"image"
	"iter"
)

// Frame is one picture of an animation, with everything on it that is seen.
type Frame struct {
	// NRGBA has the size of the animation. Its pixels are opaque or wholly
	// transparent; what is in between is taken for the nearer of the two. They
	// may change when the next frame is asked for.
	*image.NRGBA
	Delay int // hundredths of a second until the next one
}

// Animation is what [Fit] encodes.
type Animation struct {
	Size   image.Point
	Frames int // how many; 1 is a still picture
	Loop   int // how often it is played: 0 is for ever, 1 once
	Best   int // the frame that shows the most, counted from 0
	// Play yields the frames, from the first each time it is called. The sequence
	// ends with an error, or without one where fewer frames are to be had than
	// were counted.
	Play func(context.Context) iter.Seq2[Frame, error]
}

// Watch plays the animation once, and sets Frames and Best. The error is of what is
// played.
func (a *Animation) Watch(ctx context.Context) error {
	var detail []int
	for frame, err := range a.Play(ctx) {
		if err != nil {
			return err
		}
		detail = append(detail, detailOf(frame.NRGBA))
	}
	a.Frames, a.Best = len(detail), best(detail)
	return nil
}

// Still returns the frame that shows the most.
func (a *Animation) Still(ctx context.Context) (*image.NRGBA, error) {
	n := 0
	for frame, err := range a.Play(ctx) {
		if err != nil {
			return nil, err
		}
		if n == a.Best {
			return frame.NRGBA, nil
		}
		n++
	}
	return nil, fmt.Errorf("picture %d of the animation is gone", a.Best)
}

// shown is how long a frame is shown, in hundredths of a second: browsers and
// phones take less than two for ten.
func shown(delay int) int {
	if delay < 2 {
		return 10
	}
	return delay
}
