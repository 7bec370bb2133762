package resize

import (
	"cmp"
	"slices"
)

// Share returns the bytes that each of several pictures of one incoming message
// may have: equal parts of what the profile leaves for media. It depends on the
// number alone, so that each picture can be fitted and stored without the
// others. Fewer than one picture counts as one.
func Share(p Profile, pictures int) int {
	return max(p.MaxBytes-p.Reserve, 0) / max(pictures, 1)
}

// Shares returns the bytes that each picture of one outgoing message may have,
// given the sizes of all as they came and the bytes of media that cannot shrink.
// None gets more than it has; what small ones leave goes to the others in equal
// parts, as water finds its level, so that the worst is as good as it can be.
// The error is an *[UnfitError] where no bytes are left for pictures, or fewer
// than none, and says how many the message as it came is over the limit.
func Shares(p Profile, fixed int, sizes []int) ([]int, error) {
	left := p.MaxBytes - p.Reserve - fixed
	if left < 0 || left == 0 && len(sizes) > 0 {
		over := -left
		for _, size := range sizes {
			over += size
		}
		return nil, unfit("%s is missed by %d bytes: media that cannot shrink have %d, %d are allowed",
			p.Name, over, fixed, p.MaxBytes-p.Reserve)
	}
	order := make([]int, len(sizes)) // the smallest first
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[a], sizes[b]) })
	shares := make([]int, len(sizes))
	for i, picture := range order {
		shares[picture] = min(sizes[picture], left/(len(order)-i))
		left -= shares[picture]
	}
	return shares, nil
}
