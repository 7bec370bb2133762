package resize_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"html"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmspipe/resize"
)

// TestPage writes a page of pictures before and after, for somebody to look at
// where MMSPIPE_TEST_PAGE names a directory to keep it in.
func TestPage(t *testing.T) {
	dir := cmp.Or(os.Getenv("MMSPIPE_TEST_PAGE"), t.TempDir())
	inputs := map[string][]byte{}
	for name, kind := range kinds {
		inputs["drawn "+name] = kind(640, 480)
	}
	for _, path := range slices.Concat(mustGlob(t, "testdata/*.*"), mustGlob(t, "../testdata/images/*.*[gp]")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		inputs[filepath.Base(path)] = data
	}
	photograph := inputs["photo.jpg"]
	inputs["photo cut off"] = photograph[:len(photograph)/2]
	inputs["turned"] = afterSOI(asJPEG(photo(300, 200, false)), jpegSegment(0xe1, "Exif\x00\x00"+exif(binary.BigEndian, 6, "")))

	var page strings.Builder
	page.WriteString("<!doctype html><meta charset=utf-8><title>Before and after</title>\n" +
		"<style>img{max-width:45vw;background:repeating-conic-gradient(#ccc 0 25%,#fff 0 50%) 0/20px 20px}</style>\n")
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		writePage(t, &page, dir, name, inputs[name])
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(page.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writePage writes one picture and what becomes of it in some limits.
func writePage(t *testing.T, page *strings.Builder, dir, name string, data []byte) {
	t.Helper()
	show := func(what string, data []byte) {
		file := strings.ReplaceAll(name+" "+what, " ", "-")
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(page, "<img src=%q title=%q>\n", file, html.EscapeString(what))
	}
	fmt.Fprintf(page, "<h2>%s, %d bytes</h2>\n", html.EscapeString(name), len(data))
	show("before", data)
	for _, target := range []resize.Target{
		{Name: "600 kB", MaxBytes: 600_000, MaxWidth: 1600, MaxHeight: 1600, Types: carrierTypes},
		{Name: "20 kB", MaxBytes: 20_000, MaxWidth: 480, MaxHeight: 480, Types: []string{"image/jpeg"}},
	} {
		results, err := resize.New(resize.Options{}).Fit(t.Context(), data, target)
		if err != nil {
			fmt.Fprintf(page, "<p>%s: %s</p>\n", target.Name, html.EscapeString(err.Error()))
			continue
		}
		r := results[0]
		show(target.Name, r.Data)
		fmt.Fprintf(page, "<p>%s: %s %d × %d, %d bytes, quality %d, passed through %v, lost %v</p>\n",
			target.Name, r.ContentType, r.Width, r.Height, len(r.Data), r.Quality, r.PassThrough, r.Lost)
	}
}
