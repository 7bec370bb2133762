package simulate

import (
	"testing"
	"time"
)

// TestLinksExpire: a link that is good no more takes no memory. Nobody outside
// can tell that from one that is refused.
func TestLinksExpire(t *testing.T) {
	s, err := Start(Options{Account: "AC1", Token: "t", LinkLife: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sent := s.Host(Message{Media: []Media{{}}}, time.Now())
	for range 1000 {
		s.sign(s.media[sent.MediaSIDs[0]], "")
	}
	if len(s.links) > 100 || len(s.links) != len(s.expiring) {
		t.Errorf("%d links, %d in order", len(s.links), len(s.expiring))
	}
}
