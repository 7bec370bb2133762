package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
)

// site is the built program in a process of its own, with what it depends on in
// others, and a load of messages.
type site struct {
	*servicetest.Client // how its requests are made; the process is mmspipe
	env                 map[string]string
	around              []string // a command that runs the program, if any
	mmspipe             *process
	load                *load
	length              time.Duration // of the load

	// A scenario sets these.
	open    func() store.Bucket // the bucket, for the audit
	trouble float64             // share of media whose host fails at first
	fault   func()              // breaks something, and returns when all is well again; nil if only media's hosts fail
}

// scenarios are what is done while messages arrive. Each prepares the settings
// and the faults of a site.
var scenarios = []struct {
	name, faults string
	prepare      func(*site)
}{
	{"kill9", "kill -9 of mmspipe", killed},
	{"nats", "kill -9 of NATS", natsKilled},
	{"minio", "kill -9 of MinIO", minioKilled},
	{"disk", "data directory full", diskFull},
	{"upstream", "media's host fails", upstreamFails},
	{"power", "power cut", powerCut},
}

// TestFaults breaks everything that the service stands on while messages arrive,
// and then accounts for every message that was acknowledged. The load takes 3 s in
// each scenario, or MMSPIPE_TEST_FAULTS in all of them together. The scenarios
// break things one after another; the service then recovers while the next one is
// at it. The table of results is logged, and appended to the file that
// MMSPIPE_TEST_FAULTS_TABLE names.
func TestFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatal("-short would leave out the faults, and MMSPIPE_TEST_NO_SKIP=1 forbids it")
		}
		t.Skip("NOT TESTED: real processes and real faults, because -short leaves them out")
	}
	length := 3 * time.Second
	if text := os.Getenv("MMSPIPE_TEST_FAULTS"); text != "" {
		total, err := time.ParseDuration(text)
		if err != nil || total < time.Second {
			t.Fatalf("MMSPIPE_TEST_FAULTS: %q is not a duration of a second or more", text)
		}
		length = total / time.Duration(len(scenarios))
	}
	binary := buildProgram(t)
	rows := make([]row, len(scenarios))
	t.Cleanup(func() { printTable(t, rows) })
	for i, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			began := time.Now()
			s := newSite(t, binary, length, scenario.prepare)
			faults := s.suffer()
			t.Parallel() // lets the next scenario begin
			s.settle()
			rows[i] = s.account()
			rows[i].scenario, rows[i].faults, rows[i].time = scenario.faults, faults, time.Since(began)
			if status := s.mmspipe.stop(); status != 0 {
				t.Errorf("exit status %d after SIGTERM", status)
			}
			bucket := s.open()
			if orphans := storetest.Audit(t, bucket); len(orphans) > 0 {
				t.Errorf("blobs without a record: %v", orphans)
			}
			storetest.AuditIndex(t, bucket, []byte(servicetest.Secret))
		})
	}
}

// newSite starts a site and returns when it is ready. Unless the scenario says
// otherwise it has nothing but a data directory.
func newSite(t testing.TB, binary string, length time.Duration, prepare func(*site)) *site {
	t.Helper()
	twilio, err := simulate.Start(simulate.Options{Account: servicetest.Account, Token: servicetest.Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twilio.Close() })
	public, admin := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	s := &site{
		Client: &servicetest.Client{T: t, Twilio: twilio, Public: "http://" + public, Admin: "http://" + admin},
		length: length, trouble: 0.1,
		env: map[string]string{
			"MMSPIPE_ACCOUNTS": servicetest.Account + ":" + servicetest.Token,
			"MMSPIPE_UPSTREAM": twilio.Origin(), "MMSPIPE_FETCH_ALLOW": servicetest.Allow(t, twilio.CDN()),
			"MMSPIPE_LOG_LEVEL": "debug", "MMSPIPE_LOG_FORMAT": "json",
			"MMSPIPE_LISTEN": public, "MMSPIPE_ADMIN_LISTEN": admin, "MMSPIPE_SECRET": servicetest.Secret,
		},
	}
	s.storeIn(t.TempDir())
	prepare(s)
	twilio.SetWebhook(s.Public + "/webhooks/twilio" + service.RetryFragment)
	s.load = newLoad(t, twilio, s.trouble)
	s.mmspipe = newProcess(t, "mmspipe", s.env, append(s.around, binary, "serve")...)
	s.Log = func() string { return s.mmspipe.tail(50) }
	s.mmspipe.start()
	s.awaitReady()
	return s
}

// storeIn keeps the objects, and all else that has no other place, in a data
// directory inside dir.
func (s *site) storeIn(dir string) {
	data := filepath.Join(dir, "data")
	s.env["MMSPIPE_DATA"] = data
	s.open = func() store.Bucket { return servicetest.OpenDir(s.T, data) }
}

// storeInMemory keeps the data directory in memory where there is room: for tests in
// which syncing to a disk is not the point. A kill loses nothing there.
func (s *site) storeInMemory() {
	const memory, room = "/dev/shm", 2 << 30
	if free, _, err := service.Space(memory); err != nil || free < room {
		return
	}
	dir, err := os.MkdirTemp(memory, "mmspipe-test-")
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { os.RemoveAll(dir) })
	s.storeIn(dir)
}

// suffer lets messages arrive and injects faults at random moments, at least one.
// It returns how many there were.
func (s *site) suffer() (faults int) {
	s.T.Helper()
	ctx, stop := context.WithTimeout(s.T.Context(), s.length)
	defer stop()
	var sending sync.WaitGroup
	sending.Go(func() { s.load.run(ctx) })
	defer sending.Wait()
	if s.fault == nil {
		<-ctx.Done()
		sending.Wait()
		return s.load.troubled
	}
	const longest = 6 * time.Second // from one fault to the next
	for faults == 0 || ctx.Err() == nil {
		select {
		case <-time.After(rand.N(min(s.length/2, longest))):
		case <-ctx.Done():
		}
		s.fault()
		faults++
	}
	return faults
}

// ready tells whether the service says that it is.
func (s *site) ready() bool {
	if !s.mmspipe.running() {
		s.T.Fatalf("mmspipe has ended by itself: %v", s.mmspipe.cmd.ProcessState)
	}
	response, err := http.Get(s.Public + "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *site) awaitReady() {
	s.T.Helper()
	s.Eventually("ready", s.ready)
}

// killed kills the program and starts it again.
func killed(s *site) {
	s.fault = func() {
		s.mmspipe.kill()
		s.mmspipe.start()
		s.awaitReady()
	}
}

// externalNATS gives a site a NATS server in a process of its own.
func externalNATS(s *site) *process {
	port := freePort(s.T)
	nats := newProcess(s.T, "nats", map[string]string{natsStoreVariable: s.T.TempDir(), natsPortVariable: port}, os.Args[0])
	nats.start()
	s.Eventually("NATS listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	s.env["MMSPIPE_NATS_URL"] = "nats://127.0.0.1:" + port
	return nats
}

// natsKilled kills the NATS server and starts it again.
func natsKilled(s *site) {
	nats := externalNATS(s)
	s.fault = func() {
		nats.kill()
		s.Eventually("the queue's absence is noticed", func() bool { return !s.ready() })
		nats.start()
		s.awaitReady()
	}
}

// minioKilled kills the object store and starts it again.
func minioKilled(s *site) {
	externalNATS(s)
	minio := storetest.RunMinIO(s.T)
	o := minio.Options
	maps.Copy(s.env, map[string]string{
		"MMSPIPE_S3_ENDPOINT": o.Endpoint, "MMSPIPE_S3_BUCKET": o.Bucket, "MMSPIPE_S3_TLS": "false",
		"MMSPIPE_S3_ACCESS_KEY": o.AccessKey, "MMSPIPE_S3_SECRET_KEY": o.SecretKey,
	})
	s.open = func() store.Bucket { return servicetest.OpenMinIO(s.T, o) }
	s.fault = func() {
		minio.Kill()
		s.Eventually("the object store's absence is noticed", func() bool { return !s.ready() })
		minio.Start()
		s.awaitReady()
	}
}

// diskFull fills the disk of the data directory, to the last byte, until nothing
// is taken any more, and frees it. The program is not restarted.
func diskFull(s *site) {
	dir := mount(s.T, "-t", "tmpfs", "-o", "size="+strconv.FormatInt(s.diskSize(), 10), "tmpfs")
	s.storeIn(dir)
	ballast := filepath.Join(dir, "ballast")
	s.fault = func() {
		fill(s.T, ballast)
		s.Eventually("webhooks are refused and it is not ready", func() bool {
			return s.load.probe(s.T.Context()) == http.StatusServiceUnavailable && !s.ready()
		})
		if err := os.Remove(ballast); err != nil {
			s.T.Fatal(err)
		}
		s.awaitReady()
		s.Eventually("webhooks are taken", func() bool { return s.load.probe(s.T.Context()) == http.StatusOK })
	}
}

// diskSize is enough for all that the load stores and for what is kept free.
func (s *site) diskSize() int64 {
	const mib = 1 << 20
	return 256*mib + int64(s.length.Seconds()*4*mib)
}

// fill writes a file until nothing more can be written.
func fill(t testing.TB, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// upstreamFails leaves the program alone; the media's host is what fails: a quarter of
// its answers, so that it is not taken for one that has to be left alone for minutes.
func upstreamFails(s *site) { s.trouble = 0.25 }

// powerCut cuts the power: what the program had not synced is gone.
func powerCut(s *site) {
	disk := newLoopDisk(s.T, s.diskSize())
	s.storeIn(disk.dir)
	s.fault = func() {
		s.mmspipe.signal(syscall.SIGSTOP)
		after := disk.snapshot()
		s.mmspipe.kill()
		disk.replace(after)
		s.mmspipe.start()
		s.awaitReady()
	}
}

// row is what came of one scenario.
type row struct {
	scenario     string
	faults       int
	acknowledged int // messages
	stored       int // media
	failed       int // media that could not be had, visible as such
	lost         int // messages and media
	duplicates   int // events of facts that were announced before
	facts        int // distinct, in the feed
	time         time.Duration
}

// printTable logs the results as a Markdown table and appends it to the file
// that MMSPIPE_TEST_FAULTS_TABLE names.
func printTable(t *testing.T, rows []row) {
	table := "| scenario | faults injected | acknowledged | stored media | failed visibly | lost | duplicates | events per fact | time |\n" +
		"|---|---|---|---|---|---|---|---|---|\n"
	for _, r := range rows {
		if r.time > 0 { // the scenario was run to its end
			table += fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %.3g | %v |\n", r.scenario, r.faults, r.acknowledged,
				r.stored, r.failed, r.lost, r.duplicates, float64(r.facts+r.duplicates)/float64(r.facts), r.time.Round(time.Second))
		}
	}
	t.Logf("\n%s", table)
	name := os.Getenv("MMSPIPE_TEST_FAULTS_TABLE")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(table); err != nil {
		t.Error(err)
	}
}
