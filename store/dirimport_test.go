package store_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
)

// older puts files where Dir kept objects before, two of them large, and returns
// what they hold.
func older(t *testing.T, path string) map[string]string {
	t.Helper()
	want := map[string]string{
		"a!": "", "message/1/record.json": "{}", "message/1/original": strings.Repeat("x", 1<<20),
		"message/2/original": strings.Repeat("y", 33<<10), "ü": "umlaut",
	}
	for n := range 25 {
		want[fmt.Sprintf("index/%02d", n)] = fmt.Sprint(n)
	}
	for key, content := range want {
		file := filepath.Join(path, "objects", key)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.UnixMicro(1_790_000_000_000_000 + int64(len(key)))
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// holds checks that d has all of want and nothing else.
func holds(t *testing.T, d *store.Dir, want map[string]string) {
	t.Helper()
	list, err := d.List(t.Context(), "", "", 1000)
	if err != nil || len(list) != len(want) {
		t.Errorf("listed %d objects, %v, want %d", len(list), err, len(want))
	}
	for key, content := range want {
		r, o, err := d.Get(t.Context(), key, 0, -1)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != content || o.Size != int64(len(content)) {
			t.Errorf("%s: %+v, %d bytes, %v", key, o, len(got), err)
		}
		r.Close()
	}
}

// What an older version has stored is there, as old as it was, and nothing of the
// older layout is left but the file that keeps older versions from starting.
func TestDirImports(t *testing.T) {
	path := t.TempDir()
	want := older(t, path)
	d := reopen(t, nil, path)
	for range 2 {
		holds(t, d, want)
		// The ETag is what it was: the time in microseconds and the size, base 36.
		if o, err := d.Stat(t.Context(), "ü"); err != nil || o.ETag != strconv.FormatInt(1_790_000_000_000_002, 36)+"-6" {
			t.Errorf("%+v, %v", o, err)
		}
		d = reopen(t, d, path)
	}
	if marker, err := os.Stat(filepath.Join(path, "objects")); err != nil || !marker.Mode().IsRegular() {
		t.Errorf("an older version could start: %v, %v", marker, err)
	}
	for _, gone := range []string{"importing", "temp"} {
		if _, err := os.Stat(filepath.Join(path, gone)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if files := filesBelow(t, filepath.Join(path, "blobs")); len(files) != 2 {
		t.Errorf("files of two large objects: %v", files)
	}
}

// An import ends with an error, and loses nothing, at what it cannot take over.
func TestDirImportRefuses(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"a name that is no key": func(t *testing.T, path string) {
			if err := os.WriteFile(filepath.Join(path, "objects", "a\nb"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a link": func(t *testing.T, path string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(path, "objects", "link")); err != nil {
				t.Fatal(err)
			}
		},
		"two layouts": func(t *testing.T, path string) {
			if err := os.Rename(filepath.Join(path, "objects"), filepath.Join(path, "importing")); err != nil {
				t.Fatal(err)
			}
			older(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			want := older(t, path)
			spoil(t, path)
			d, err := store.OpenDir(path)
			if err == nil {
				d.Close()
				t.Fatal("opened")
			}
			t.Log(err)
			for key := range want {
				if _, err := os.Stat(filepath.Join(path, "importing", key)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
