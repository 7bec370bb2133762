package scale

import "math"

// Resampling is separable: each row of the result is summed up of rows of the
// source, and then each of its samples of samples of that row. Weights have 14
// bits of fraction. Only rows that are needed at the moment exist between the
// two steps.
//
// Processors multiply 64 bits as fast as 8. Two samples are therefore held in
// one word, 32 bits apart, and multiplied by a weight in one step:
//
//	(a + b·2^32)·w = a·w + b·w·2^32
//
// Negative sums borrow from the upper half; the bias that is added before the
// halves are taken apart pays that back. In the first step the two are
// neighbours in a row, in the second they are of two rows that are made together.
const (
	weightBits = 14
	keptBits   = 4 // of fraction, between the steps
	firstShift = weightBits - keptBits
	lastShift  = weightBits + keptBits
	firstBias  = 1<<22 + 1<<(firstShift-1) // 2^22 is as much as 256 samples
	lastBias   = 1<<26 + 1<<(lastShift-1)
	twice      = 1<<32 + 1 // repeats a number in both halves
)

// filterSupport is how far the filter reaches, in samples of the smaller of both
// pictures, to either side.
const filterSupport = 3

// filter is Lanczos' of three lobes, sinc(x) sinc(x/3). Against the cubic of
// Catmull and Rom it takes half as much work again, and keeps more of what the
// picture has just below the frequencies that the smaller one cannot show.
func filter(x float64) float64 {
	x = math.Abs(x) * math.Pi
	switch {
	case x == 0:
		return 1
	case x >= filterSupport*math.Pi:
		return 0
	}
	return filterSupport * math.Sin(x) * math.Sin(x/filterSupport) / (x * x)
}

// Taps say of which samples of a line each sample of another is made: of count
// from first on, each with its weight.
type Taps struct {
	first   []int
	weights []uint64 // count for each; negative ones as two's complement
	count   int
}

// NewTaps returns the taps for n samples that cover as much as toExtent of them
// would, from m that cover fromExtent. Both are centred: sample i covers the
// part from i to i+1. What lies beyond an edge is as the sample at the edge.
func NewTaps(n int, toExtent float64, m int, fromExtent float64, mirror bool) Taps {
	step := fromExtent / toExtent
	stretch := max(step, 1)
	t := Taps{count: min(m, int(math.Ceil(2*filterSupport*stretch))+1)}
	t.first, t.weights = make([]int, n), make([]uint64, n*t.count)
	values := make([]float64, t.count)
	for i := range n {
		centre := (float64(i) + 0.5) * step
		if mirror {
			centre = fromExtent - centre
		}
		low := int(math.Floor(centre - filterSupport*stretch))
		high := int(math.Ceil(centre + filterSupport*stretch))
		t.first[i] = max(0, min(low, m-t.count))
		clear(values)
		sum := 0.0
		for j := low; j < high; j++ {
			w := filter((float64(j) + 0.5 - centre) / stretch)
			values[min(max(min(max(j, 0), m-1)-t.first[i], 0), t.count-1)] += w
			sum += w
		}
		quantise(t.weights[i*t.count:][:t.count], values, sum)
	}
	return t
}

// quantise rounds weights so that their sum is exactly 1: what is left over by
// rounding is carried to the next.
func quantise(weights []uint64, values []float64, sum float64) {
	total, done := 0.0, 0
	for i, v := range values {
		total += v / sum
		upTo := int(math.Round(total * (1 << weightBits)))
		weights[i] = uint64(int64(upTo - done))
		done = upTo
	}
}

// Memory returns how many bytes the taps take that NewTaps returns for n samples
// from m.
func Memory(n, m int) int64 {
	stretch := max(float64(m)/float64(n), 1)
	return int64(n) * 8 * int64(min(float64(m), math.Ceil(2*filterSupport*stretch)+1)+1)
}
