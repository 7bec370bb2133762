// Command bench is the part of the benchmark that runs Go: it reads one request
// as JSON from each line of its input and writes one answer. bench.mjs starts
// it, and runs sharp in between.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"strings"
	"syscall"

	"github.com/disintegration/imaging"

	"mmspipe/resize"
)

// request names what is to be done with a file, and the budget.
type request struct {
	// Do is fit, imaging, reference, which resizes without loss, or msssim, which
	// compares with such a Reference. Of animations it is draw, which writes them
	// into the directory Out from the photographs in File, moving, which fits one,
	// likeness, which compares with Reference, and run, which runs Args.
	Do   string `json:"do"`
	File string `json:"file"`
	Size int    `json:"size"` // longest side in pixels
	Max  int    `json:"max"`  // bytes
	Out  string `json:"out"`  // where the result is written, if anywhere

	Reference string   `json:"reference"`
	Args      []string `json:"args"`
}

type answer struct {
	Milliseconds float64 `json:"ms"` // of CPU, of the work alone
	Bytes        int     `json:"bytes"`
	Quality      int     `json:"quality"`
	Peak         int     `json:"peak"` // resident memory of this process so far, or of the one that was run, kB
	Decibel      float64 `json:"db"`
	Error        string  `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var r request
		a, err := answer{}, json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			a, err = run(r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if a.Peak == 0 {
			a.Peak = peak()
		}
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			os.Exit(1)
		}
	}
}

func run(r request) (a answer, err error) {
	switch r.Do {
	case "draw":
		return a, writeGIFs(r.Out, strings.Split(r.File, "\n"))
	case "run":
		return command(r.Args)
	}
	data, err := os.ReadFile(r.File)
	if err != nil {
		return a, err
	}
	if r.Do == "likeness" {
		a.Decibel, err = likeness(r.Reference, data)
		return a, err
	}
	if r.Do == "msssim" {
		a.Decibel, err = compare(r.Reference, data)
		return a, err
	}
	var out []byte
	before := cpu()
	switch r.Do {
	case "fit":
		out, a.Quality, err = fit(data, r)
	case "moving":
		out, err = moving(data, r)
	case "imaging":
		out, a.Quality, err = loop(data, r)
	case "reference":
		out, err = reference(data, r)
	default:
		err = fmt.Errorf("no request %q", r.Do)
	}
	a.Milliseconds = cpu() - before
	a.Bytes = len(out)
	if err == nil && r.Out != "" {
		err = os.WriteFile(r.Out, out, 0o644)
	}
	return a, err
}

func fit(data []byte, r request) ([]byte, int, error) {
	results, err := resize.New(resize.Options{}).Fit(context.Background(), data, resize.Target{
		Name: "bench", MaxBytes: r.Max, MaxWidth: r.Size, MaxHeight: r.Size, Types: []string{"image/jpeg"},
	})
	if err != nil {
		return nil, 0, err
	}
	return results[0].Data, results[0].Quality, nil
}

// loop is what is usually done: lower qualities until the file is small enough.
func loop(data []byte, r request) ([]byte, int, error) {
	img, err := imaging.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, 0, err
	}
	img = imaging.Fit(img, r.Size, r.Size, imaging.Lanczos)
	for quality := 95; quality > 0; quality -= 5 {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
			return nil, 0, err
		}
		if out.Len() <= r.Max {
			return out.Bytes(), quality, nil
		}
	}
	return nil, 0, fmt.Errorf("more than %d bytes at any quality", r.Max)
}

// reference resizes with the code of neither contestant.
func reference(data []byte, r request) ([]byte, error) {
	img, err := imaging.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = png.Encode(&out, imaging.Fit(img, r.Size, r.Size, imaging.Lanczos))
	return out.Bytes(), err
}

// cpu returns the milliseconds of CPU that the process has used.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	ms := func(t syscall.Timeval) float64 { return float64(t.Sec)*1e3 + float64(t.Usec)/1e3 }
	return ms(u.Utime) + ms(u.Stime)
}

// peak returns the most memory that was resident, in kB.
func peak() int {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		var kB int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kB); n == 1 {
			return kB
		}
	}
	return 0
}

func compare(reference string, data []byte) (float64, error) {
	want, err := os.ReadFile(reference)
	if err != nil {
		return 0, err
	}
	a, _, err := image.Decode(bytes.NewReader(want))
	if err != nil {
		return 0, err
	}
	b, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	if a.Bounds() != b.Bounds() { // a smaller size was taken
		b = imaging.Resize(b, a.Bounds().Dx(), a.Bounds().Dy(), imaging.Lanczos)
	}
	return decibel(msssim(luma(a), luma(b))), nil
}
