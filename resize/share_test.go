package resize_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mmspipe/resize"
)

func TestShare(t *testing.T) {
	p := resize.Profile{MaxBytes: 1000, Reserve: 100}
	for pictures, want := range map[int]int{-1: 900, 0: 900, 1: 900, 2: 450, 7: 128} {
		if got := resize.Share(p, pictures); got != want {
			t.Errorf("%d pictures: %d bytes each, want %d", pictures, got, want)
		}
	}
	if got := resize.Share(resize.Profile{MaxBytes: 10, Reserve: 20}, 1); got != 0 {
		t.Errorf("%d bytes of a profile that has none for media", got)
	}
}

func TestShares(t *testing.T) {
	p := resize.Profile{MaxBytes: 1000, Reserve: 100}
	for _, tt := range []struct {
		fixed       int
		sizes, want []int
	}{
		{sizes: nil, want: []int{}},
		{sizes: []int{5000}, want: []int{900}},
		{sizes: []int{50}, want: []int{50}},
		{sizes: []int{5000, 5000}, want: []int{450, 450}},
		{sizes: []int{5000, 100}, want: []int{800, 100}},
		{sizes: []int{100, 5000, 400, 7000}, want: []int{100, 267, 266, 267}},
		{sizes: []int{300, 300, 300}, want: []int{300, 300, 300}},
		{fixed: 600, sizes: []int{5000, 100}, want: []int{200, 100}},
		{fixed: 900, sizes: nil, want: []int{}},
	} {
		got, err := resize.Shares(p, tt.fixed, tt.sizes)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%d fixed, %d: %d, %v, want %d", tt.fixed, tt.sizes, got, err, tt.want)
		}
	}
}

func TestSharesSaysByHowMuch(t *testing.T) {
	p := resize.Profile{Name: "small", MaxBytes: 1000, Reserve: 100}
	for _, tt := range []struct {
		fixed int
		sizes []int
		by    string
	}{{901, nil, "by 1 bytes"}, {1400, []int{10}, "by 510 bytes"}, {900, []int{10, 5000}, "by 5010 bytes"}} {
		_, err := resize.Shares(p, tt.fixed, tt.sizes)
		if unfit, ok := errors.AsType[*resize.UnfitError](err); !ok || !strings.Contains(unfit.Reason, tt.by) {
			t.Errorf("%d fixed, %d: %v", tt.fixed, tt.sizes, err)
		}
	}
}

// Whatever there is to share: nothing over the limit, no picture more than it
// has, nothing left over while one is cut, and none that is cut less than another
// at that one's cost.
func TestSharesFillToOneLevel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	p := resize.Profile{MaxBytes: 600_000, Reserve: 30_000}
	for range 2000 {
		fixed := random.IntN(400_000)
		sizes := make([]int, 1+random.IntN(10))
		for i := range sizes {
			sizes[i] = 1 + random.IntN(1<<(1+random.IntN(22)))
		}
		shares, err := resize.Shares(p, fixed, sizes)
		if err != nil {
			t.Fatal(err)
		}
		sum, lowest, highest := fixed, p.MaxBytes, 0
		for i, share := range shares {
			sum += share
			highest = max(highest, share)
			if share > sizes[i] {
				t.Fatalf("%d bytes for a picture of %d", share, sizes[i])
			}
			if share < sizes[i] {
				lowest = min(lowest, share)
			}
		}
		if sum > p.MaxBytes-p.Reserve || lowest < p.MaxBytes && (sum != p.MaxBytes-p.Reserve || highest > lowest+1) {
			t.Fatalf("%d fixed, %d: %d", fixed, sizes, shares)
		}
	}
}
