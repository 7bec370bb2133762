package resize_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/resize"
)

// zeros deflates that many zeros.
func zeros(n int) []byte {
	return must(func(b *bytes.Buffer) error {
		z, err := zlib.NewWriterLevel(b, zlib.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(z, zeroReader{}, int64(n)); err != nil {
			return err
		}
		return z.Close()
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// pngOf makes a PNG of zeros, or of the deflated data given.
func pngOf(width, height, depth, colour, interlaced int, deflated []byte, extra ...[]byte) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(width)), uint32(height))
	head = append(head, byte(depth), byte(colour), 0, 0, byte(interlaced))
	if deflated == nil {
		samples := map[int]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
		deflated = zeros(height * (1 + (width*depth*samples+7)/8) * (1 + interlaced))
	}
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", head), slices.Concat(extra...),
		pngChunk("IDAT", deflated), pngChunk("IEND", nil))
}

// emptyBlocks are deflated blocks with a code of their own and nothing in it, the
// dearest way to say nothing.
func emptyBlocks(n int) []byte {
	w := &bitWriter{data: []byte{0x78, 0x01}, n: 16}
	for range n {
		w.write(0, 1)  // not the last
		w.write(2, 2)  // with a code
		w.write(0, 5)  // 257 symbols
		w.write(0, 5)  // one distance
		w.write(14, 4) // lengths of lengths, up to that of 1
		for i := range 18 {
			length := uint32(0)
			if i == 2 || i == 17 { // 18, a run of zeros; and 1
				length = 1
			}
			w.write(length, 3)
		}
		w.write(1, 1) // 138 zeros
		w.write(138-11, 7)
		w.write(1, 1) // 118 more: 256
		w.write(118-11, 7)
		w.write(0, 1) // the end has a code of one bit
		w.write(0, 1) // and so has the one distance
		w.write(0, 1) // the end
	}
	return w.data
}

// manyScans is a progressive JPEG of that size with as many scans of nothing.
func manyScans(width, height uint16, scans int) []byte {
	out := []byte{0xff, 0xd8}
	out = append(out, jpegSegment(0xdb, "\x00"+strings.Repeat("\x01", 64))...)
	frame := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{8}, height), width)
	out = append(out, jpegSegment(0xc2, string(append(frame, 1, 1, 0x11, 0)))...)
	for range scans {
		out = append(out, jpegSegment(0xda, "\x01\x01\x00\x01\x3f\x00")...)
		out = append(out, bytes.Repeat([]byte{0xea, 0x00}, 40)...)
	}
	return append(out, 0xff, 0xd9)
}

// arithmeticZeros is a JPEG of arithmetic coding that goes on in zeros.
func arithmeticZeros(width, height uint16, progressive bool) []byte {
	marker := byte(0xc9)
	if progressive {
		marker = 0xca
	}
	out := append([]byte{0xff, 0xd8}, jpegSegment(0xdb, "\x00"+strings.Repeat("\x01", 64))...)
	frame := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{8}, height), width)
	out = append(out, jpegSegment(marker, string(append(frame, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)))...)
	scan := "\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00"
	if progressive {
		scan = "\x03\x01\x00\x02\x00\x03\x00\x00\x00\x00"
	}
	for range 30 {
		out = append(append(out, jpegSegment(0xda, scan)...), "\x12\x34\x56\x78"...)
	}
	return append(out, 0xff, 0xd9)
}

// heavy are files that ask for as much as can be had of each format.
func heavy() map[string][]byte {
	frames, moving := 60, 100
	if raceDetector {
		frames, moving = 4, 4
	}
	files := map[string][]byte{
		"png, one row":           pngOf(39_000_000, 1, 8, 0, 0, nil),
		"png, one column":        pngOf(1, 30_000_000, 1, 0, 0, nil),
		"png, widest":            pngOf(65_535, 50, 16, 6, 0, nil),
		"png, highest":           pngOf(50, 65_535, 16, 6, 0, nil),
		"png, 6 megapixels":      pngOf(3000, 2000, 8, 2, 0, nil),
		"png, interlaced":        pngOf(2000, 2000, 16, 6, 1, nil),
		"png, empty blocks":      pngOf(3000, 300, 8, 2, 0, emptyBlocks(50_000)),
		"png, profile of zeros":  pngOf(8, 8, 8, 2, 0, nil, pngChunk("iCCP", append([]byte("x\x00\x00"), zeros(50_000_000)...))),
		"jpeg, widest":           manyScans(65_535, 1500, 1),
		"jpeg, scans":            manyScans(5000, 5000, 100),
		"jpeg, 100 megapixels":   manyScans(10_000, 10_000, 3),
		"jpeg, tables":           slices.Insert(asJPEG(photo(16, 16, false)), 2, bytes.Repeat(jpegSegment(0xc4, "\x00"+strings.Repeat("\x00", 15)+"\x01\x05"), 500_000)...),
		"jpeg, arithmetic":       arithmeticZeros(2000, 2000, false),
		"jpeg, arithmetic scans": arithmeticZeros(2000, 2000, true),
		"bmp, runs":              bmpRuns(4000, 4000),
		"bmp, one bit":           asBMPHeader(4000, 4000, 1, 0, make([]byte, 8+4000*500)),
		"gif, widest":            asGIFScreen(paletted(photo(8, 8, false), false), 65_535, 150),
		"gif, frames":            asGIF(paletted(photo(400, 400, false), false), frames),
		"webp, frames":           longWebP(moving),
	}
	maps.Copy(files, bombs())
	return files
}

// longWebP is an animated WebP whose pictures come that many times.
func longWebP(times int) []byte {
	data := must(func(b *bytes.Buffer) error {
		file, err := os.ReadFile(images + "ball.webp")
		b.Write(file)
		return err
	})
	frames := data[bytes.Index(data, []byte("ANMF")):]
	data = append(data, bytes.Repeat(frames, times-1)...)
	binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
	return data
}

// asBMPHeader makes a BMP with these pixels behind its headers.
func asBMPHeader(width, height, depth, coding int, rest []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00"), 54+4<<depth)
	out = le.AppendUint32(le.AppendUint32(le.AppendUint32(out, 40), uint32(width)), uint32(height))
	out = le.AppendUint32(le.AppendUint16(le.AppendUint16(out, 1), uint16(depth)), uint32(coding))
	return append(append(out, make([]byte, 20)...), rest...)
}

// bmpRuns is a BMP whose runs say that it ends at once.
func bmpRuns(width, height int) []byte {
	return asBMPHeader(width, height, 8, 1, append(make([]byte, 1024), 0, 1))
}

// TestMain runs the bombs instead of the tests in the process that
// TestFitBombs starts.
func TestMain(m *testing.M) {
	if memory := os.Getenv("MMSPIPE_TEST_BOMBS"); memory != "" {
		if err := defuse(memory); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// defuse fits all bombs, one by one and then all at once, and prints by how much
// the process grew. One by one they meet no race.
func defuse(memory string) error {
	limit, err := strconv.ParseInt(memory, 10, 64)
	if err != nil {
		return err
	}
	files := heavy()
	debug.SetGCPercent(10) // what was given back counts as little as can be
	debug.FreeOSMemory()
	before, err := resident("VmRSS")
	if err != nil {
		return err
	}
	f := resize.New(resize.Options{Memory: limit})
	us, err := resize.ProfileNamed("us")
	if err != nil {
		return err
	}
	fit := func(name string) error {
		start := time.Now()
		_, err := f.Fit(context.Background(), files[name], us.Target(1), resize.Thumb)
		fmt.Printf("%s: %d bytes, %v, %v\n", name, len(files[name]), time.Since(start).Round(time.Millisecond), err)
		if _, ok := errors.AsType[*resize.UnfitError](err); err != nil && !ok {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if !raceDetector {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if err := fit(name); err != nil {
				return err
			}
		}
	}
	var all sync.WaitGroup
	failed := make(chan error, len(files))
	for name := range files {
		all.Go(func() { failed <- fit(name) })
	}
	all.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	peak, err := resident("VmHWM")
	fmt.Printf("grew by %d\n", peak-before)
	return err
}

// resident returns a figure of the process's memory, in bytes.
func resident(name string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, name+": %d kB", &kB); n == 1 {
			return kB << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", name)
}

// Whatever a file asks for, together they take no more memory than Options allow,
// and what the garbage collector and the runtime have on top. A process of its own
// shows how much that is.
func TestFitBombs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("NOT MEASURED: a process's peak of memory is read as Linux gives it")
	}
	memories := []int64{64 << 20, 512 << 20}
	if raceDetector {
		memories = memories[:1]
		t.Log("FEWER AND SMALLER BOMBS: animations of few pictures, all at once, and 64 MiB alone, because of the race detector")
	}
	for _, memory := range memories {
		t.Run(fmt.Sprint(memory>>20, "MiB"), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "MMSPIPE_TEST_BOMBS="+strconv.FormatInt(memory, 10))
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Fatal(err)
			}
			last := bytes.TrimSpace(out)
			last = last[bytes.LastIndexByte(last, '\n')+1:]
			var grew int64
			if _, err := fmt.Sscanf(string(last), "grew by %d", &grew); err != nil {
				t.Fatal(err)
			}
			if limit := memory + memory/4 + 40<<20; grew > limit {
				t.Errorf("the process grew by %d MiB, more than %d", grew>>20, limit>>20)
			}
		})
	}
}

// A picture of extreme sides is refused before it is decoded.
func TestFitRefusesSides(t *testing.T) {
	for name, data := range map[string][]byte{
		"wide": pngOf(65_536, 1, 8, 0, 0, nil), "high": pngOf(1, 65_536, 8, 0, 0, nil), "bmp": asBMPHeader(70_000, 1, 8, 0, make([]byte, 80_000)),
	} {
		_, err := resize.New(resize.Options{}).Fit(t.Context(), data, resize.Thumb)
		if unfit, ok := errors.AsType[*resize.UnfitError](err); !ok || !strings.Contains(unfit.Reason, "a side of more than the 65535") {
			t.Errorf("%s: %v", name, err)
		}
	}
	results, err := resize.New(resize.Options{}).Fit(t.Context(), pngOf(65_535, 40, 8, 0, 0, nil), resize.Thumb)
	if err != nil || results[0].Width != 320 || results[0].Height != 1 {
		t.Errorf("the widest: %v, %v", results, err)
	}
}
