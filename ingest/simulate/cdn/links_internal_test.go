package cdn

import (
	"testing"
	"time"
)

// TestLinksExpire: a link that has expired takes no memory. Nobody outside can tell it
// from one that is refused.
func TestLinksExpire(t *testing.T) {
	c := New("http://127.0.0.1", time.Nanosecond)
	for range 1000 {
		c.Link(&Object{}, "")
	}
	if len(c.links) > 100 || len(c.links) != len(c.expiring) {
		t.Errorf("%d links, %d in order", len(c.links), len(c.expiring))
	}
}
