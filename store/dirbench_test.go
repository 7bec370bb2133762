package store_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mmspipe/store"
)

// BenchmarkDirPut lets some writers put objects of one size, each of which is
// created and then replaced if it is unchanged. It reports puts per second and the
// CPU time of one; strace -f -c -e trace=fsync,fdatasync counts the syncs.
func BenchmarkDirPut(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		for _, writers := range []int{1, 16, 64} {
			if size > 1<<10 && writers != 16 {
				continue
			}
			b.Run(fmt.Sprintf("size-%d/writers-%d", size, writers), func(b *testing.B) {
				benchmarkPut(b, benchmarkDir(b), size, writers)
			})
		}
	}
}

func benchmarkPut(b *testing.B, d *store.Dir, size, writers int) {
	content := strings.Repeat("x", size)
	var n atomic.Int64
	began, spent := time.Now(), cpuTime(b)
	b.ResetTimer()
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for {
				i := n.Add(2)
				if i > int64(b.N)+1 {
					return
				}
				key := fmt.Sprintf("message/AC0123456789abcdef0123456789abcdef/MM%032x/record.json", uint64(i)*0x9e3779b97f4a7c15)
				o, err := put(b.Context(), d, key, content, store.IfAbsent())
				if err == nil {
					_, err = put(b.Context(), d, key, content, store.IfMatch(o.ETag))
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "puts/s")
	b.ReportMetric(float64((cpuTime(b)-spent).Microseconds())/float64(b.N), "cpu-µs/put")
}

// cpuTime is what the process has spent.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
