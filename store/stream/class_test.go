package stream_test

import (
	"testing"

	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats.go/jetstream"
)

// TestClass: the class is that of the weaker stream, as far as its servers were
// seen.
func TestClass(t *testing.T) {
	conn := storetest.StartNATS(t)
	s := open(t, conn, stream.Options{})
	name := conn.ConnectedServerName()
	for _, c := range []struct {
		syncs map[string]bool
		want  stream.Class
	}{
		{nil, stream.Unknown},
		{map[string]bool{"another": true}, stream.Unknown},
		{map[string]bool{name: false}, stream.Lazy},
		{map[string]bool{name: true}, stream.Fsync},
	} {
		class, reason, err := s.Class(t.Context(), c.syncs)
		if err != nil || class != c.want || reason == "" {
			t.Errorf("servers %v: %s (%s), %v; want %s", c.syncs, class, reason, err, c.want)
		}
	}
	// An operator has made one of the streams asynchronous.
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := js.Stream(t.Context(), "MMS_FEED")
	if err != nil {
		t.Fatal(err)
	}
	config := feed.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), "MMS_FEED"); err != nil {
		t.Fatal(err)
	}
	config.PersistMode = jetstream.AsyncPersistMode
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if class, reason, err := s.Class(t.Context(), map[string]bool{name: true}); err != nil || class != stream.Lazy {
		t.Errorf("an asynchronous feed: %s (%s), %v", class, reason, err)
	}
}
