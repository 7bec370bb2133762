package faults_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/simulate"
	"mmspipe/store/storetest"
)

// TestPoison gives the program less memory than a picture takes that it was told
// it may decode: it dies of it twice, then the picture is stored as it came.
// Nothing else waits for that.
func TestPoison(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("NOT TESTED: a picture that kills the process, because -short leaves it out")
	}
	s := newSite(t, buildProgram(t), 0, func(s *site) {
		s.storeInMemory()
		s.env["MMSPIPE_FIT_MEMORY"] = "2GiB"
	})
	s.mmspipe.kill()
	// What a process allocates counts for the limit on data (setrlimit(2)); Go's
	// runtime ends where it gets no more.
	s.mmspipe.args = append([]string{"sh", "-c", `ulimit -d 150000 && exec "$0" "$@"`}, s.mmspipe.args...)
	s.mmspipe.start()
	s.awaitReady()
	poison := interlacedPNG(t, 6200, 6200)
	killer := s.Send(simulate.Message{Media: []simulate.Media{{Data: poison, ContentType: "image/png"}}})
	deaths := 0
	var after simulate.Sent
	s.Within(2*servicetest.Patience, "the picture is stored", func() bool {
		if !s.mmspipe.running() {
			if deaths++; deaths > 2 {
				t.Fatalf("died %d times", deaths)
			}
			s.mmspipe.start()
			s.awaitReady()
			after = s.Send(simulate.Message{Media: []simulate.Media{{Data: servicetest.Image(t, "small.jpg"), ContentType: "image/jpeg"}}})
		}
		response, err := http.Get(s.Public + servicetest.MediaPath(t, killer, 0))
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	if deaths == 0 {
		t.Fatal("the picture did not kill the process: this test tests nothing")
	}
	if _, body := s.AwaitMedium(killer, 0); !bytes.Equal(body, poison) {
		t.Errorf("%d bytes, want the %d that came", len(body), len(poison))
	}
	s.AwaitMedium(after, 0)
	for _, e := range s.AwaitEvents("mms.stored", 1+deaths) {
		if e.Data["messageSid"] == killer.MessageSID && e.Data["note"] == nil {
			t.Errorf("event %v has no note", e.Data)
		}
	}
	if status := s.mmspipe.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if orphans := storetest.Audit(t, s.open()); len(orphans) > 0 {
		t.Errorf("blobs without a record: %v", orphans)
	}
}

// fitOverhead is what the program may take beside MMSPIPE_FIT_MEMORY: itself, the
// embedded NATS, the files of pictures that are being fitted, and what the garbage
// collector has not taken back yet. README states it.
const fitOverhead = 256 << 20

// TestHostileMedia sends what a stranger would to bring a worker down. Each ends
// stored as it came or as a failure, true pictures are fitted meanwhile, and the
// memory stays under the stated bound.
func TestHostileMedia(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("NOT TESTED: hostile media, because -short leaves them out")
	}
	const fitMemory = 256 << 20
	s := newSite(t, buildProgram(t), 0, func(s *site) {
		s.storeInMemory()
		s.env["MMSPIPE_FIT_MEMORY"] = strconv.Itoa(fitMemory)
		s.env["MMSPIPE_MAX_MEDIA"] = "8MiB"
	})
	photo := servicetest.Image(t, "photo.jpg")
	page := []byte("<html><script>alert(1)</script></html>")
	stored := map[string][]byte{
		"huge PNG":            hugePNG(50_000, 50_000),
		"PNG of many chunks":  manyChunks(t),
		"huge GIF frames":     hugeGIF(4000),
		"JPEG of many scans":  manyScans(photo, 5000),
		"truncated":           photo[:len(photo)/2],
		"mislabelled":         page,
		"polyglot":            append(bytes.Clone(servicetest.Image(t, "ball.gif")), page...),
		"picture and archive": append(bytes.Clone(photo), "PK\x03\x04 and so on"...),
		"large":               flatPNG(t, 5000, 5000), // 100 MB decoded
		"larger":              flatPNG(t, 7000, 7000), // more than may be
		"noise":               bytes.Repeat([]byte("\xff\xd8\xff\xe0noise"), 1000),
	}
	var all []simulate.Sent
	for name, data := range stored {
		for range 4 {
			all = append(all, s.Send(simulate.Message{Body: name, Media: []simulate.Media{{Data: data, ContentType: "image/jpeg"}}}))
		}
	}
	endless := s.Send(simulate.Message{Media: []simulate.Media{{Data: photo, ContentType: "image/jpeg", Always: simulate.Endless}}})
	nothing := s.Send(simulate.Message{Media: []simulate.Media{{ContentType: "image/jpeg"}}})
	honest := s.Send(simulate.Message{Media: []simulate.Media{{Data: photo, ContentType: "image/jpeg"}}})
	for _, sent := range all {
		response, body := s.AwaitMedium(sent, 0)
		if want := stored[sent.Form.Get("Body")]; !bytes.Equal(body, want) {
			t.Errorf("%s: %d bytes, want %d", sent.Form.Get("Body"), len(body), len(want))
		}
		if got := response.Header.Get("Content-Security-Policy"); !strings.Contains(got, "sandbox") {
			t.Errorf("%s: Content-Security-Policy %q", sent.Form.Get("Body"), got)
		}
		if kind := response.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") && !strings.HasPrefix(response.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %s is shown in place", sent.Form.Get("Body"), kind)
		}
	}
	s.AwaitMedium(honest, 0)
	if response, _ := s.Get(servicetest.MediaPath(t, honest, 0) + "?variant=us"); response.StatusCode != http.StatusOK {
		t.Errorf("the true photograph's variant: %s", response.Status)
	}
	if response, _ := s.Get(servicetest.MediaPath(t, nothing, 0)); response.StatusCode != http.StatusNotFound {
		t.Errorf("a medium without a byte: %s", response.Status)
	}
	for _, e := range s.AwaitEvents("mms.failed", 1) {
		if e.Data["messageSid"] != endless.MessageSID || e.Data["reason"] != "too-large" {
			t.Errorf("event %v, want the endless medium", e.Data)
		}
	}
	peak := peakMemory(t, s.mmspipe.cmd.Process.Pid)
	t.Logf("peak memory %d MiB with MMSPIPE_FIT_MEMORY at %d MiB", peak>>20, fitMemory>>20)
	if peak > fitMemory+fitOverhead {
		t.Errorf("peak memory %d MiB, want %d at most", peak>>20, (fitMemory+fitOverhead)>>20)
	}
	if status := s.mmspipe.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// peakMemory is the largest resident set that a process has had (proc(5), VmHWM).
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// flatPNG is a picture of one colour: few bytes for many pixels.
func flatPNG(t *testing.T, width, height int) []byte {
	t.Helper()
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range picture.Pix {
		picture.Pix[i] = 0x7f // half transparent, so that it stays what it is
	}
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, picture); err != nil {
		t.Fatal(err)
	}
	return encoded.Bytes()
}

// interlacedPNG is a picture of one colour that has to be held whole while it is
// decoded: its rows come in seven passes (PNG section 8.1).
func interlacedPNG(t *testing.T, width, height int) []byte {
	t.Helper()
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	for _, pass := range [7]struct{ x, y, dx, dy int }{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		row := bytes.Repeat([]byte{0x7f}, 1+4*((width-pass.x+pass.dx-1)/pass.dx))
		row[0] = 0 // no filter
		for y := pass.y; y < height; y += pass.dy {
			if _, err := z.Write(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(width)), uint32(height))
	header = append(header, 8, 6, 0, 0, 1)
	return bytes.Join([][]byte{[]byte(pngSignature), chunk("IHDR", header), chunk("IDAT", pixels.Bytes()), chunk("IEND", nil)}, nil)
}

// chunk is one of a PNG file.
func chunk(name string, data []byte) []byte {
	var c bytes.Buffer
	body := append([]byte(name), data...)
	_, _ = c.Write([]byte{byte(len(data) >> 24), byte(len(data) >> 16), byte(len(data) >> 8), byte(len(data))})
	_, _ = c.Write(body)
	sum := crc32.ChecksumIEEE(body)
	_, _ = c.Write([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return c.Bytes()
}

const pngSignature = "\x89PNG\r\n\x1a\n"

// hugePNG declares a size and has nothing in it.
func hugePNG(width, height uint32) []byte {
	header := []byte{byte(width >> 24), byte(width >> 16), byte(width >> 8), byte(width), byte(height >> 24), byte(height >> 16), byte(height >> 8), byte(height), 8, 6, 0, 0, 0}
	return bytes.Join([][]byte{[]byte(pngSignature), chunk("IHDR", header), chunk("IDAT", []byte{0x78, 0x9c, 3, 0, 0, 0, 0, 1}), chunk("IEND", nil)}, nil)
}

// manyChunks is a PNG with a hundred thousand chunks of text before its pixels.
func manyChunks(t *testing.T) []byte {
	small := flatPNG(t, 8, 8)
	const header = len(pngSignature) + 25
	text := bytes.Repeat(chunk("tEXt", []byte("Comment\x00x")), 100_000)
	return bytes.Join([][]byte{small[:header], text, small[header:]}, nil)
}

// hugeGIF has frames of 60000 × 60000 pixels, each of a few bytes.
func hugeGIF(frames int) []byte {
	file := []byte("GIF89a\x60\xea\x60\xea\x80\x00\x00\x00\x00\x00\xff\xff\xff")
	frame := []byte("\x21\xf9\x04\x04\x0a\x00\x00\x00\x2c\x00\x00\x00\x00\x60\xea\x60\xea\x00\x02\x02\x44\x01\x00")
	return append(append(file, bytes.Repeat(frame, frames)...), ';')
}

// manyScans repeats the last scan of a JPEG.
func manyScans(jpeg []byte, scans int) []byte {
	start := bytes.LastIndex(jpeg, []byte("\xff\xda"))
	scan := append(bytes.Clone(jpeg[start:start+14]), 0, 0)
	return append(append(bytes.Clone(jpeg[:start]), bytes.Repeat(scan, scans)...), 0xff, 0xd9)
}
