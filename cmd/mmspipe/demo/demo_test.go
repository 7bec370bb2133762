package demo_test

import (
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/demo"
	"mmspipe/cmd/mmspipe/service/servicetest"

	"github.com/rs/zerolog"
)

func TestMain(m *testing.M) { servicetest.Main(m) }

// TestOnce: the demo tells what becomes of each message, without the service's log,
// and ends when all are stored.
func TestOnce(t *testing.T) {
	t.Parallel()
	images := filepath.Join(servicetest.Root(t), "testdata", "images")
	var out strings.Builder
	err := demo.Run(t.Context(), demo.Options{
		Files: []string{filepath.Join(images, "small.jpg"), filepath.Join(images, "ball.gif")},
		Once:  true, Data: t.TempDir(), Listen: "127.0.0.1:0", Log: zerolog.Nop(),
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for part, times := range map[string]int{"  received  ": 2, "  stored    image/jpeg": 1, "  stored    image/gif": 1, "  fitted    us ": 2, "/Media/ME": 2} {
		if n := strings.Count(out.String(), part); n != times {
			t.Errorf("%q is told %d times, want %d:\n%s", part, n, times, &out)
		}
	}
}

// TestAnywhere: without files, in a directory that has none, the demo sends pictures that
// it draws.
func TestAnywhere(t *testing.T) {
	t.Chdir(t.TempDir())
	var out strings.Builder
	err := demo.Run(t.Context(), demo.Options{Once: true, Data: t.TempDir(), Listen: "127.0.0.1:0", Log: zerolog.Nop()}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"  stored    image/jpeg", "  stored    image/png", "  stored    image/gif"} {
		if strings.Count(out.String(), part) != 1 {
			t.Errorf("want %q in\n%s", part, &out)
		}
	}
}

// TestNotServing: what keeps the service from starting ends the demo.
func TestNotServing(t *testing.T) {
	t.Parallel()
	image := filepath.Join(servicetest.Root(t), "testdata", "images", "small.jpg")
	err := demo.Run(t.Context(), demo.Options{Files: []string{image}, Once: true, Data: t.TempDir(), Listen: "192.0.2.1:1", Log: zerolog.Nop()}, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("error %v", err)
	}
}
