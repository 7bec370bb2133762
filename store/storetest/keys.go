package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mmspipe/store"
)

// tree is some keys in the order in which they must be listed. The characters
// before and after the slash (0x2f) show whether folders are sorted as such.
var tree = []string{
	"a!", "a-b", "a.json", "a/b", "a/b.json", "a/b/c", "a/b/d", "a/bb", "a/c/d", "a0", "aa/a", "b/a/a/a/a", "b/a/a/b", "c",
}

// putTree stores the tree without the keys that are folders of others.
func putTree(t *testing.T, b store.Bucket) (keys []string) {
	t.Helper()
	for _, key := range tree {
		inside := func(other string) bool { return strings.HasPrefix(other, key+"/") }
		if !slices.ContainsFunc(tree, inside) {
			keys = append(keys, key)
		}
	}
	for i := range keys { // in another order
		mustPut(t, b, keys[(i*5+3)%len(keys)], "x")
	}
	return keys
}

func keysOf(objects []store.Object) (keys []string) {
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func testList(t *testing.T, b store.Bucket) {
	keys := putTree(t, b)
	prefixes := []string{"", "a", "a/", "a/b", "a/b/", "a/b.", "a/b/c", "a/b/cc", "b/a/a/", "b/a/a/b", "c", "c/", "d"}
	afters := append([]string{"", "a/", "a/b/", "a/b/c/", "b", "zz", "\x01"}, keys...)
	for _, prefix := range prefixes {
		for _, after := range afters {
			var want []string
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			objects, err := b.List(t.Context(), prefix, after, len(keys)+1)
			if got := keysOf(objects); err != nil || !slices.Equal(got, want) {
				t.Errorf("list %q after %q: %q, %v, want %q", prefix, after, got, err, want)
			}
		}
	}
}

func testListPages(t *testing.T, b store.Bucket) {
	keys := putTree(t, b)
	for limit := range len(keys) + 2 {
		var got []string
		after := ""
		for range len(keys) + 2 {
			page, err := b.List(t.Context(), "", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > limit {
				t.Fatalf("a page of %d has %d objects", limit, len(page))
			}
			got = append(got, keysOf(page)...)
			if len(page) < limit || limit == 0 {
				break
			}
			after = page[len(page)-1].Key
		}
		if limit > 0 && !slices.Equal(got, keys) {
			t.Errorf("pages of %d list %q, want %q", limit, got, keys)
		}
	}
}

func testOddKeys(t *testing.T, b store.Bucket) {
	keys := []string{
		"...", ".hidden", "..a/b..", "%", "%2F", "a%2Fb", "a b", " a", "a+b", "a&b=c?d#e", `a\b`, `"quoted"`, "<xml>&amp;",
		"a:b*c|d", "~", "-rf", "$HOME", "CON", "é", "e\u0301", "日本語/写真.jpg", "🐱", "temp/put-1",
		strings.Repeat("n", 255), strings.Repeat("ü", 127), strings.Repeat("123456789/", 102) + "1234",
	}
	for i, key := range keys {
		content := fmt.Sprint("content of key ", i)
		if _, err := put(t, b, key, content, store.IfAbsent()); err != nil {
			t.Errorf("%v", err)
		}
		wantContent(t, b, key, content)
	}
	slices.Sort(keys)
	objects, err := list(t.Context(), b, "")
	if got := keysOf(objects); err != nil || !slices.Equal(got, keys) {
		t.Errorf("listed %q, %v, want %q", got, err, keys)
	}
	for _, key := range keys {
		if objects, err := b.List(t.Context(), key, "", 1); err != nil || len(objects) != 1 || objects[0].Key != key {
			t.Errorf("list %q: %+v, %v", key, objects, err)
		}
		if err := b.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		wantAbsent(t, b, key)
	}
}

func testMalformedKeys(t *testing.T, b store.Bucket) {
	mustPut(t, b, "a", "a")
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../a", "./a", "b/./a", "../../../etc/passwd",
		"a\x00", "a\nb", "\x7f", "\xff", strings.Repeat("n", 256), strings.Repeat("n/", 512) + "n",
	} {
		_, putErr := put(t, b, key, "x", store.Condition{})
		_, _, getErr := b.Get(t.Context(), key, 0, -1)
		_, statErr := b.Stat(t.Context(), key)
		for what, err := range map[string]error{"put": putErr, "get": getErr, "stat": statErr, "delete": b.Delete(t.Context(), key)} {
			if err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s %.40q: %v, want it refused", what, key, err)
			}
		}
	}
	for _, prefix := range []string{"/", "//", "a//", ".", "..", "../", "./a", "a/../", "\x00", "\xff"} {
		if objects, err := b.List(t.Context(), prefix, "", 10); err == nil {
			t.Errorf("list %q: %q, want it refused", prefix, keysOf(objects))
		}
	}
	objects, err := list(t.Context(), b, "")
	if got := keysOf(objects); err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("listed %q, %v, want only a", got, err)
	}
	wantContent(t, b, "a", "a")
}
