package jpeg

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// slowCodeBits is what symbols take in Huffman's code without a limit on its
// lengths: whenever two weights are joined, all below them get a bit longer.
func slowCodeBits(weights []uint32) (total uint64) {
	rest := []uint64{1} // the code that is not to be used
	for _, w := range weights {
		if w > 0 {
			rest = append(rest, uint64(w))
		}
	}
	for len(rest) > 1 {
		slices.Sort(rest)
		joined := rest[0] + rest[1]
		total += joined
		rest = append(rest[2:], joined)
	}
	return total
}

func codeBits(c *code, weights []uint32) (total uint64) {
	for symbol, w := range weights {
		total += uint64(w) * uint64(c.length[symbol])
	}
	return total
}

// checkCode holds a code against T.81, annex C, by having it decoded.
func checkCode(t *testing.T, c *code, weights []uint32) {
	t.Helper()
	h, err := newHuffman(&c.counts, c.values)
	if err != nil {
		t.Fatal(err)
	}
	for symbol, w := range weights {
		length := int(c.length[symbol])
		if (length > 0) != (w > 0) || length > 16 {
			t.Fatalf("symbol %d of weight %d has %d bits", symbol, w, length)
		}
		if w == 0 {
			continue
		}
		if c.bits[symbol] == 1<<length-1 {
			t.Fatalf("symbol %d has the code of ones", symbol)
		}
		if got, n := h.symbol(uint64(c.bits[symbol]) << (64 - length)); int(got) != symbol || n != length {
			t.Fatalf("symbol %d is decoded as %d of %d bits", symbol, got, n)
		}
	}
}

func TestCodeAgainstHuffman(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		weights := make([]uint32, symbols)
		longest := 0
		for range 1 + r.IntN(255) {
			weights[r.IntN(symbols)] = 1 + uint32(r.IntN(1<<(1+r.IntN(12))))
		}
		c := newCode(weights)
		checkCode(t, c, weights)
		for _, n := range c.length {
			longest = max(longest, int(n))
		}
		got, want := codeBits(c, weights), slowCodeBits(weights)
		// The unused code counts once, with its length, in the reference.
		if got > want || longest < 16 && got+16 < want {
			t.Fatalf("weights %d: %d bits, Huffman's code takes %d", seed, got, want)
		}
	}
}

// Weights as Fibonacci's numbers ask for codes as long as there are symbols.
func TestCodeLimitsLengths(t *testing.T) {
	for n := 1; n <= 45; n++ {
		weights := make([]uint32, symbols)
		for i, a, b := 0, uint32(1), uint32(1); i < n; i, a, b = i+1, b, a+b {
			weights[i*5] = a
		}
		checkCode(t, newCode(weights), weights)
	}
}
