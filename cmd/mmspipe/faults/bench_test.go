package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
)

// BenchmarkStored measures what one incoming message costs the program, with the
// embedded queue and the directory on the disk of TMPDIR, while as many wait as it has
// workers for. The simulator shares the processors with it. Run it with a count:
//
//	go test ./cmd/mmspipe/faults -run '^$' -bench Stored -benchtime 2000x -count 5
//
// It reports messages stored a second, the processor time of the program for each, and
// how often it synced a file; the last is counted in runs of their own, on a disk that
// is 2 ms slower and on one that is as it is.
func BenchmarkStored(b *testing.B) {
	binary := buildProgram(b)
	slowsync := buildSlowsync(b)
	small := []simulate.Media{{Data: servicetest.Image(b, "small.jpg"), ContentType: "image/jpeg"}}
	for _, message := range []struct {
		name  string
		media []simulate.Media
	}{{"no media", nil}, {"one small JPEG", small}} {
		for _, disk := range []struct{ name, delay string }{{"", ""}, {", syncs counted", "0s"}, {", 2 ms slower", "2ms"}} {
			b.Run(message.name+disk.name, func(b *testing.B) {
				syncs := filepath.Join(b.TempDir(), "syncs")
				s := newSite(b, binary, 0, func(s *site) {
					s.env["MMSPIPE_LOG_LEVEL"] = "warn"
					if disk.delay != "" {
						s.around = []string{slowsync, "-count", syncs, disk.delay}
					}
				})
				measureStored(b, s, message.media, syncs)
			})
		}
	}
}

// measureStored sends b.N messages and waits until all of them are stored.
func measureStored(b *testing.B, s *site, media []simulate.Media, syncs string) {
	pid := s.program()
	before, syncsBefore := processorTime(b, pid), number(b, syncs)
	b.ResetTimer()
	report := s.Twilio.Run(b.Context(), simulate.Load{
		Message: func(int) simulate.Message { return simulate.Message{Body: "hello", Media: media} }, Count: b.N, Concurrency: 64,
	})
	acknowledged := b.Elapsed()
	if len(report.Errors) > 0 || report.Statuses[http.StatusOK] != b.N {
		b.Fatalf("answers %v, errors %v", report.Statuses, report.Errors)
	}
	s.Within(10*time.Minute, "all is stored", func() bool { return s.waiting(b.Context()) == 0 })
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "stored/s")
	b.ReportMetric(n/acknowledged.Seconds(), "acks/s")
	b.ReportMetric(float64(processorTime(b, pid)-before)/1e6/n, "cpu-ms/message")
	if total := number(b, syncs); total > 0 {
		b.ReportMetric(float64(total-syncsBefore)/n, "syncs/message")
	}
	b.ReportMetric(0, "ns/op")
}

// program is the process id of mmspipe, which a command around it may have started.
func (s *site) program() int {
	s.T.Helper()
	pid := s.mmspipe.cmd.Process.Pid
	if len(s.around) == 0 {
		return pid
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		s.T.Fatal(err)
	}
	for _, thread := range threads {
		children, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended
		}
		if _, err := fmt.Sscan(string(children), &pid); err == nil {
			return pid
		}
	}
	s.T.Fatalf("%v has started no process", s.around)
	return 0
}

// waiting is how many jobs there are in the queue.
func (s *site) waiting(ctx context.Context) uint64 {
	s.T.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin+"/readyz", nil)
	if err != nil {
		s.T.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.T.Fatal(err)
	}
	defer response.Body.Close()
	var r health.Report
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil || r.Streams == nil {
		s.T.Fatalf("GET /readyz: %v, %+v", err, r)
	}
	return r.Streams.Jobs
}

// processorTime is what a process has used of all processors, in user and in system
// mode (proc(5), /proc/pid/stat; in ticks of 10 ms).
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11], &user); err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(fields[12], &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// number reads a file of one number; 0 if there is none.
func number(b *testing.B, path string) (n int) {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// buildSlowsync builds the command that counts syncs and slows them down.
func buildSlowsync(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "slowsync")
	if output, err := exec.Command("go", "build", "-o", path, "mmspipe/testdata/bench/slowsync").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}
