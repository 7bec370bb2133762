package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/fit"
)

// pictures writes a JPEG, a PNG and a file that is no picture into a directory.
func pictures(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	img := image.NewNRGBA(image.Rect(0, 0, 400, 300))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*i>>7) | 0x80
	}
	var photo, drawing bytes.Buffer
	if err := jpeg.Encode(&photo, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(&drawing, image.NewGray(image.Rect(0, 0, 640, 480))); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"photo.jpeg": photo.Bytes(), "drawing.png": drawing.Bytes(), "notes.jpg": []byte("no picture"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runFit runs the subcommand and returns what it printed.
func runFit(t *testing.T, cmd fitCommand, stdin string) (stdout, stderr string, err error) {
	t.Helper()
	var out, complaints bytes.Buffer
	err = cmd.Run(t.Context(), stdio{strings.NewReader(stdin), &out, &complaints})
	return out.String(), complaints.String(), err
}

// size returns the pixels of a picture in a file.
func size(t *testing.T, name string) image.Point {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	config, _, err := image.DecodeConfig(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return image.Pt(config.Width, config.Height)
}

func TestFitIntoDirectory(t *testing.T) {
	dir := pictures(t)
	out := filepath.Join(dir, "made", "here")
	stdout, _, err := runFit(t, fitCommand{MaxPixels: "200x200", Output: out, Files: []string{
		filepath.Join(dir, "photo.jpeg"), filepath.Join(dir, "notes.jpg"), filepath.Join(dir, "drawing.png"),
	}}, "")
	if err == nil || err.Error() != "1 of 3 files not fitted" {
		t.Errorf("error %v", err)
	}
	for _, name := range []string{"photo.jpg", "drawing.png"} {
		if got := size(t, filepath.Join(out, name)); got != image.Pt(200, 150) {
			t.Errorf("%s is %v", name, got)
		}
	}
	for _, want := range []string{"400×300", "200×150", "notes.jpg", "is not decoded", "2 files"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestFitBesideTheFile(t *testing.T) {
	dir := pictures(t)
	cmd := fitCommand{MaxBytes: "5KB", Files: []string{filepath.Join(dir, "photo.jpeg")}}
	if _, _, err := runFit(t, cmd, ""); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "photo.fit.jpg"))
	if err != nil || info.Size() > 5000 {
		t.Fatalf("%v, %v", info, err)
	}
	if got := size(t, filepath.Join(dir, "photo.jpeg")); got != image.Pt(400, 300) {
		t.Errorf("the original is %v", got)
	}
}

func TestFitOverwritesOnlyWhenTold(t *testing.T) {
	dir := pictures(t)
	made := filepath.Join(dir, "photo.fit.jpg")
	if err := os.WriteFile(made, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := fitCommand{MaxPixels: "20x20", Files: []string{filepath.Join(dir, "photo.jpeg")}}
	stdout, _, err := runFit(t, cmd, "")
	if kept, _ := os.ReadFile(made); err == nil || string(kept) != "precious" || !strings.Contains(stdout, "--force") {
		t.Fatalf("%v, %q, %s", err, kept, stdout)
	}
	cmd.Force = true
	if _, _, err := runFit(t, cmd, ""); err != nil {
		t.Fatal(err)
	}
	if got := size(t, made); got != image.Pt(20, 15) {
		t.Errorf("result is %v", got)
	}
	left, err := fs.Glob(os.DirFS(dir), ".mmspipe*")
	if err != nil || len(left) > 0 {
		t.Errorf("%v left behind, %v", left, err)
	}
}

// Two files of one name go to one directory, even where that may overwrite.
func TestFitDoesNotMergeFiles(t *testing.T) {
	one, two, out := pictures(t), pictures(t), t.TempDir()
	_, _, err := runFit(t, fitCommand{Output: out, Force: true, Files: []string{
		filepath.Join(one, "photo.jpeg"), filepath.Join(two, "photo.jpeg"),
	}}, "")
	if err == nil || err.Error() != "1 of 2 files not fitted" {
		t.Errorf("error %v", err)
	}
}

func TestFitJSON(t *testing.T) {
	dir := pictures(t)
	stdout, _, err := runFit(t, fitCommand{Profile: "world", JSON: true, Output: t.TempDir(), Files: []string{
		filepath.Join(dir, "drawing.png"), filepath.Join(dir, "absent.jpg"),
	}}, "")
	if err == nil {
		t.Error("an absent file is no error")
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	var fitted, absent fit.JSON
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &fitted), json.Unmarshal([]byte(lines[1]), &absent)); err != nil {
		t.Fatal(err)
	}
	if !fitted.PassThrough || fitted.Before == nil || fitted.After == nil || *fitted.After != *fitted.Before ||
		fitted.After.Width != 640 || fitted.Scale != 1 || fitted.Error != "" {
		t.Errorf("%s", lines[0])
	}
	if absent.Error == "" || absent.After != nil {
		t.Errorf("%s", lines[1])
	}
}

func TestFitStandardInput(t *testing.T) {
	photo, err := os.ReadFile(filepath.Join(pictures(t), "photo.jpeg"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := runFit(t, fitCommand{MaxPixels: "100x100", Files: []string{"-"}}, string(photo))
	if err != nil {
		t.Fatal(err)
	}
	config, err := jpeg.DecodeConfig(strings.NewReader(stdout))
	if err != nil || config.Width != 100 {
		t.Errorf("%+v, %v", config, err)
	}
	if !strings.Contains(stderr, "100×75") {
		t.Errorf("report %q", stderr)
	}
}

func TestFitSheet(t *testing.T) {
	dir := pictures(t)
	page := filepath.Join(dir, "sheet.html")
	_, _, err := runFit(t, fitCommand{MaxPixels: "100x100", Output: filepath.Join(dir, "out"), Sheet: page, Files: []string{
		filepath.Join(dir, "photo.jpeg"), filepath.Join(dir, "notes.jpg"), filepath.Join(dir, "drawing.png"),
	}}, "")
	if err == nil {
		t.Error("a file that is no picture is no error")
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for what, count := range map[string]int{
		"<section>": 3, "<img src=\"data:image/jpeg;base64,": 2, "<img src=\"data:image/png;base64,": 2,
		"400×300": 1, "100×75": 2, "is not decoded": 1, "quality ": 1,
	} {
		if got := strings.Count(string(data), what); got != count {
			t.Errorf("%d times %q, want %d", got, what, count)
		}
	}
	for _, foreign := range []string{"http:", "https:", "<script", "src=\"/"} {
		if strings.Contains(string(data), foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
}

func TestFitUsage(t *testing.T) {
	for _, cmd := range []fitCommand{
		{Profile: "mars"},
		{Profile: "us", MaxBytes: "1000"},
		{Profile: "us", MaxPixels: "1x1"},
		{MaxBytes: "-1"},
		{MaxPixels: "100"},
		{MaxPixels: "100x"},
		{MaxPixels: "0x100"},
		{MaxPixels: "100x100x100"},
		{MaxPixels: "axb"},
		{Files: []string{"-", "photo.jpg"}},
		{Files: []string{"-"}, Output: "."},
		{Files: []string{"-"}, Sheet: "sheet.html"},
	} {
		if _, _, err := runFit(t, cmd, ""); !errors.Is(err, errUsage) {
			t.Errorf("%+v: error %v", cmd, err)
		}
	}
}

func TestProfilesCommand(t *testing.T) {
	var out bytes.Buffer
	if err := (profilesCommand{}).Run(stdio{out: &out}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"us (default)", "us-tollfree", "525000 bytes", "1600×1600", "https://", "image/jpeg"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
