package fit

import "testing"

// A result that is more bytes than its source says so.
func TestChange(t *testing.T) {
	for _, tt := range []struct {
		before, after int
		want          string
	}{
		{1000, 1000, "same"},
		{1000, 420, "-58 %"},
		{1000, 1300, "+30 %"},
		{1000, 4200, "4.2× larger"},
		{100_000, 100_012, "+12 B"},
		{100_000, 99_999, "-1 B"},
	} {
		if got := change(tt.before, tt.after); got != tt.want {
			t.Errorf("%d to %d bytes is %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
}
