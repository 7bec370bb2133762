package fetch_test

import (
	"bytes"
	"strings"
	"testing"

	"mmspipe/ingest/fetch"
)

// TestKept: what is kept is there under its name, also after a restart, until there is
// no room for it or it is not whole.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	open := func() *fetch.Cache {
		c, err := fetch.OpenCache(dir, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	if _, ok := c.Kept("a"); ok {
		t.Error("something is kept in an empty cache")
	}
	a, b := bytes.Repeat([]byte("a"), 20<<10), bytes.Repeat([]byte("b"), 20<<10)
	c.Keep("a", a)
	c.Keep("b", b)
	c.Keep("empty", nil)
	c = open()
	for name, want := range map[string][]byte{"b": b, "empty": nil, "a": a} {
		if got, ok := c.Kept(name); !ok || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), ok)
		}
	}
	if _, ok := c.Kept("b"); !ok { // the last used
		t.Error("b is gone")
	}
	if _, ok := c.Kept("empty"); !ok {
		t.Error("empty is gone")
	}
	c.Keep("c", []byte(strings.Repeat("c", 20<<10)))
	if _, ok := c.Kept("a"); ok {
		t.Error("a is kept although there is no room for all")
	}
	c.Keep("b", a) // another one in its place
	if got, ok := c.Kept("b"); !ok || !bytes.Equal(got, a) {
		t.Errorf("b: %d bytes, %v", len(got), ok)
	}
	c.Keep("huge", make([]byte, 65<<10))
	if _, ok := c.Kept("huge"); ok {
		t.Error("more is kept than the cache may hold")
	}
}
