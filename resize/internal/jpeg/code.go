package jpeg

import (
	"cmp"
	"slices"
)

// code is a Huffman code for the symbols of one table.
type code struct {
	counts [16]uint8 // of each length from 1 on
	values []uint8   // symbols in the order of their codes
	length [symbols]uint8
	bits   [symbols]uint16
}

// newCode makes the best code for symbols of that many occurrences, of at most
// 16 bits and without one of all ones (T.81, K.2).
func newCode(occurrences []uint32) *code {
	lengths := codeLengths(occurrences)
	c := &code{}
	next := uint16(0)
	for length := 1; length <= 16; length++ {
		for symbol := range symbols {
			if int(lengths[symbol]) != length {
				continue
			}
			c.counts[length-1]++
			c.values = append(c.values, uint8(symbol))
			c.length[symbol] = uint8(length)
			c.bits[symbol] = next
			next++
		}
		next <<= 1
	}
	return c
}

// wordShift is where the bits of a word begin, behind their number.
const wordShift = 5

// fill makes words of the codes: each with room for the bits that follow its
// symbol, and the number of both, which is at most 27.
func (c *code) fill(words []uint32) {
	for symbol, length := range c.length {
		size := symbol & 15
		words[symbol] = uint32(c.bits[symbol])<<(size+wordShift) | uint32(int(length)+size)
	}
}

// codeLengths returns the length of each symbol's code, 0 for those that do not
// occur. The two rarest are joined until one is left; what joins gets a bit
// longer each time. One more symbol takes the code of all ones, and is removed
// then.
func codeLengths(occurrences []uint32) [symbols]uint8 {
	const reserved = symbols
	var weight [symbols + 1]uint64
	var length [symbols + 1]int
	var next [symbols + 1]int // what has joined a symbol, as a list
	for i := range next {
		next[i] = -1
	}
	for i, n := range occurrences {
		weight[i] = uint64(n)
	}
	weight[reserved] = 1
	for {
		a, b := twoRarest(&weight)
		if b < 0 {
			break
		}
		weight[a] += weight[b]
		weight[b] = 0
		end := a
		for length[a]++; next[end] >= 0; length[end]++ {
			end = next[end]
		}
		next[end] = b
		for end = b; end >= 0; end = next[end] {
			length[end]++
		}
	}
	return limitLengths(&length, occurrences)
}

// twoRarest returns the indices of the two smallest weights that are not 0, of
// equal ones the later; -1 for what is not there.
func twoRarest(weight *[symbols + 1]uint64) (a, b int) {
	a, b = -1, -1
	for i, w := range weight {
		switch {
		case w == 0:
		case a < 0 || w <= weight[a]:
			a, b = i, a
		case b < 0 || w <= weight[b]:
			b = i
		}
	}
	return a, b
}

// limitLengths shortens codes of more than 16 bits: of two that are too long and
// differ in the last bit alone, one takes the place one bit shorter, the other
// goes with a shorter code that is made one longer (T.81, figure K.3). Then the
// longest lengths go to the rarest symbols.
func limitLengths(length *[symbols + 1]int, occurrences []uint32) (out [symbols]uint8) {
	var count [symbols + 2]int
	longest := 0
	for _, n := range length {
		if n > 0 {
			count[n]++
			longest = max(longest, n)
		}
	}
	for n := longest; n > 16; n-- {
		for count[n] > 0 {
			shorter := n - 2
			for count[shorter] == 0 {
				shorter--
			}
			count[n] -= 2
			count[n-1]++
			count[shorter+1] += 2
			count[shorter]--
		}
	}
	n := min(longest, 16)
	for count[n] == 0 {
		n--
	}
	count[n]-- // the reserved one
	order := byOccurrence(occurrences)
	n = 1
	for _, symbol := range order {
		for count[n] == 0 {
			n++
		}
		count[n]--
		out[symbol] = uint8(n)
	}
	return out
}

// byOccurrence returns the symbols that occur, the most frequent first, of equal
// ones the smaller.
func byOccurrence(occurrences []uint32) []int {
	var order []int
	for symbol, n := range occurrences {
		if n > 0 {
			order = append(order, symbol)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(occurrences[b], occurrences[a]) })
	return order
}
