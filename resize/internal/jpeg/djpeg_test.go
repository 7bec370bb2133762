package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tool runs a program of libjpeg-turbo on data.
func tool(t *testing.T, name string, data []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(data), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.Bytes())
	}
	return out
}

// needTools ends the test where the programs are not there: without them it
// proves nothing.
func needTools(t *testing.T) {
	t.Helper()
	for _, name := range []string{"cjpeg", "djpeg"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
				t.Fatalf("%v: install libjpeg-turbo-progs", err)
			}
			t.Skipf("NOT COMPARED WITH libjpeg-turbo: %v: install libjpeg-turbo-progs", err)
		}
	}
}

// netpbm reads a binary PGM or PPM of 8 bits.
func netpbm(t *testing.T, data []byte) (pix []byte, width, height int) {
	t.Helper()
	var kind string
	var depth int
	if _, err := fmt.Sscan(string(data[:min(len(data), 40)]), &kind, &width, &height, &depth); err != nil || depth != 255 {
		t.Fatalf("no PGM or PPM: %v", err)
	}
	size := width * height
	if kind == "P6" {
		size *= 3
	}
	return data[len(data)-size:], width, height
}

// colourful is a PPM with gradients, edges and noise in all colours.
func colourful(width, height int) []byte {
	out := fmt.Appendf(nil, "P6\n%d %d\n255\n", width, height)
	noise := uint32(1)
	for y := range height {
		for x := range width {
			noise = noise*1664525 + 1013904223
			edge := (x/23 + y/17) % 2 * 60
			out = append(out, byte(x*150/width+edge), byte(y*150/height+int(noise>>27)), byte(200-x*y*150/width/height-edge/2))
		}
	}
	return out
}

// What libjpeg-turbo's encoder writes, against its decoder: no sample of
// luminance differs by more than 1 at 1/1 and 1/8. In between it does not take
// the lowest coefficients alone but the mean of the samples of all, so that only
// the mean difference says something; it is below 1.5 on noise.
func TestDecodeAgainstLibjpegTurbo(t *testing.T) {
	needTools(t)
	sources := [][]byte{colourful(203, 149), colourful(16, 16), colourful(1, 1), colourful(33, 7)}
	for _, sampling := range []string{"1x1", "2x1", "1x2", "2x2", "4x1", "4x2", "2x4", "3x1", "2x2,2x1,1x2"} {
		for _, options := range []string{
			"", "-progressive", "-restart 1B", "-progressive -restart 1", "-optimize -quality 97", "-grayscale", "-quality 10 -progressive",
			"-arithmetic", "-arithmetic -progressive", "-arithmetic -restart 1 -quality 97", "-arithmetic -progressive -restart 1B",
		} {
			t.Run(strings.TrimSpace(sampling+" "+options), func(t *testing.T) {
				for _, source := range sources {
					args := append(strings.Fields(options), "-sample", sampling)
					compareWithDjpeg(t, tool(t, "cjpeg", source, args...))
				}
			})
		}
	}
}

func compareWithDjpeg(t *testing.T, data []byte) {
	t.Helper()
	for shift := range 4 {
		scale := fmt.Sprintf("1/%d", 1<<shift)
		want, width, height := netpbm(t, tool(t, "djpeg", data, "-grayscale", "-dct", "int", "-scale", scale))
		p, err := Decode(t.Context(), data, image.Pt(width, height), nothing)
		if shift == 3 && err == nil {
			p, err = Decode(t.Context(), data, nothing, nothing)
		}
		if err != nil || p.Damaged {
			t.Fatalf("%s: %v", scale, err)
		}
		y := &p.Planes[0]
		if y.Width != width || y.Height != height {
			t.Fatalf("%s: %d × %d, djpeg has %d × %d", scale, y.Width, y.Height, width, height)
		}
		worst, sum := 0, 0
		for i, w := range want {
			d := int(y.row(i / width)[i%width]) - int(w)
			worst = max(worst, d, -d)
			sum += max(d, -d)
		}
		mean := float64(sum) / float64(len(want))
		reduced := shift == 1 || shift == 2
		if !reduced && worst > 1 || reduced && len(want) > 500 && mean > 1.5 {
			t.Errorf("%s: a sample is off by %d, the mean by %.2f", scale, worst, mean)
		}
	}
}
