package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/store"
)

// filled is a closed bucket of some hundred objects, of which a part has been
// sorted into tables.
func filled(t *testing.T) (path string) {
	t.Helper()
	path = t.TempDir()
	d := reopen(t, nil, path)
	for round := range 2 {
		for n := range 100 {
			if _, err := put(t.Context(), d, fmt.Sprintf("%d/%03d", round, n), strings.Repeat("content ", 100), store.IfAbsent()); err != nil {
				t.Fatal(err)
			}
		}
		if round == 0 {
			d = reopen(t, d, path)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// largest is the largest file of that kind in the log.
func largest(t *testing.T, path, pattern string) (name string, data []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(path, "log", pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if d, err := os.ReadFile(n); err == nil && len(bytes.TrimRight(d, "\x00")) > len(data) {
			name, data = n, bytes.TrimRight(d, "\x00")
		}
	}
	if data == nil {
		t.Fatalf("no file %s among %q", pattern, names)
	}
	return name, data
}

// Damage is an error of OpenDir, or of the calls that meet it, and what they
// return otherwise is what was stored. Nothing is silently missing.
func TestDirDamage(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"log flipped in the middle": func(t *testing.T, path string) {
			name, data := largest(t, path, "*.log")
			data[len(data)/2] ^= 0xff
			rewrite(t, name, data)
		},
		"log file cut": func(t *testing.T, path string) {
			name, data := largest(t, path, "*.log")
			rewrite(t, name, data[:len(data)/2])
		},
		"log file gone": func(t *testing.T, path string) {
			name, _ := largest(t, path, "*.log")
			os.Remove(name)
		},
		"marker emptied": func(t *testing.T, path string) { rewrite(t, filepath.Join(path, "objects"), nil) },
		"table flipped": func(t *testing.T, path string) {
			name, data := largest(t, path, "*.sst")
			data[len(data)/4] ^= 0xff
			rewrite(t, name, data)
		},
		"table cut": func(t *testing.T, path string) {
			name, data := largest(t, path, "*.sst")
			rewrite(t, name, data[:len(data)/2])
		},
		"table gone": func(t *testing.T, path string) {
			name, _ := largest(t, path, "*.sst")
			os.Remove(name)
		},
		"manifest flipped": func(t *testing.T, path string) {
			name, data := largest(t, path, "MANIFEST-*")
			data[len(data)/2] ^= 0xff
			rewrite(t, name, data)
		},
		"manifest gone": func(t *testing.T, path string) {
			name, _ := largest(t, path, "MANIFEST-*")
			os.Remove(name)
		},
		"log gone": func(t *testing.T, path string) { os.RemoveAll(filepath.Join(path, "log")) },
		"log empty": func(t *testing.T, path string) {
			os.RemoveAll(filepath.Join(path, "log"))
			os.Mkdir(filepath.Join(path, "log"), 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			damage(t, path)
			d, err := store.OpenDir(path)
			if err != nil {
				t.Log(err)
				return
			}
			defer d.Close()
			_, err = d.List(t.Context(), "", "", 1000)
			for round := range 2 {
				for n := range 100 {
					_, of := d.Stat(t.Context(), fmt.Sprintf("%d/%03d", round, n))
					if errors.Is(of, store.ErrNotFound) {
						t.Fatalf("%d/%03d is silently missing", round, n)
					}
					err = errors.Join(err, of)
				}
			}
			if err == nil {
				t.Error("no call has met the damage")
			}
			t.Log(strings.SplitN(fmt.Sprint(err), "\n", 2)[0])
		})
	}
}

func rewrite(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A large object whose file is gone is damage, and not an object that is absent.
func TestDirFileGone(t *testing.T) {
	path := t.TempDir()
	d := reopen(t, nil, path)
	if _, err := put(t.Context(), d, "key", strings.Repeat("x", 1<<20), store.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	for _, file := range filesBelow(t, filepath.Join(path, "blobs")) {
		os.Remove(file)
	}
	if _, _, err := d.Get(t.Context(), "key", 0, -1); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("read a file that is gone: %v", err)
	}
}

// Only one Dir has a directory.
func TestDirIsLocked(t *testing.T) {
	path := t.TempDir()
	d := reopen(t, nil, path)
	if second, err := store.OpenDir(path); err == nil {
		second.Close()
		t.Error("opened twice")
	}
	if _, err := put(t.Context(), reopen(t, d, path), "key", "content", store.Condition{}); err != nil {
		t.Error(err)
	}
	if _, err := d.Stat(t.Context(), "key"); err == nil {
		t.Error("a closed bucket answers")
	}
}
