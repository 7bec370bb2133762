package servicetest

import (
	"flag"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"mmspipe/store"
	"mmspipe/store/storetest"

	"go.uber.org/goleak"
)

// parallel is how many tests run side by side unless -parallel says otherwise. They
// wait most of their time, for fetches that are tried again and jobs that come back,
// so that more than one for each core is right.
const parallel = 8

// Main runs the tests of a package. No goroutine may be left by them.
func Main(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel)) // a number is what it takes
	}
	goleak.VerifyTestMain(tests{m})
}

type tests struct{ *testing.M }

// Run runs the tests, and then disposes of what they share, before anybody looks for
// goroutines.
func (m tests) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	defer shared.dispose()
	return m.M.Run()
}

// shared holds what the first test that needs it starts, and all tests use.
var shared process

type process struct {
	testing.TB // of the test that starts something

	mu       sync.Mutex
	minio    *store.MinIOOptions
	cleanups []func()
}

// Cleanup keeps f for the end of the process.
func (p *process) Cleanup(f func()) { p.cleanups = append(p.cleanups, f) }

// TempDir makes a directory that stays until the end of the process.
func (p *process) TempDir() string {
	p.Helper()
	dir, err := os.MkdirTemp("", "mmspipe-test-")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// AtEnd has f called when all tests of the process have ended.
func AtEnd(f func()) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.Cleanup(f)
}

func (p *process) dispose() {
	for _, cleanup := range slices.Backward(p.cleanups) {
		cleanup()
	}
}

// startMinIO returns the one MinIO of the process, which is started if it has not
// been. As in [storetest.StartMinIO] the test may be skipped.
func startMinIO(t testing.TB) store.MinIOOptions {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.minio == nil {
		shared.TB = t
		o := storetest.StartMinIO(&shared)
		shared.minio = &o
	}
	return *shared.minio
}
