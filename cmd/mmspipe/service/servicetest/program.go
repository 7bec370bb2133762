// Package servicetest runs whole services in tests, with a simulated Twilio as the
// world outside, over an embedded and over an external NATS and object store.
package servicetest

import (
	"context"
	"crypto/rand"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/settings"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"

	"github.com/rs/zerolog"
)

const (
	// Account is the only account of the simulated Twilio.
	Account = "AC0123456789abcdef0123456789abcdef"

	// Token is its auth token.
	Token = "auth0token1of2the3tests4only5abcd"

	// Secret is for services that do not generate one.
	Secret = "secret0of0the0tests0only0and0not0a0real0one"

	// Patience is how long anything may take that happens by itself. It is long
	// because only a test that fails waits for it.
	Patience = 2 * time.Minute
)

// Program is a service that runs in this process.
type Program struct {
	*Client
	Config service.Config // for the next start
	Logs   *Logs

	// Stop stops it as SIGTERM does and returns the error of [service.Run].
	Stop func() error
}

// Backend is where a program keeps its streams and objects.
type Backend struct {
	Name string
	// Prepare returns settings, as flags, and how to open the same bucket for the
	// audit.
	Prepare func(t testing.TB) (flags []string, open func() store.Bucket)
}

// Embedded needs nothing but a directory.
var Embedded = Backend{"embedded", func(t testing.TB) ([]string, func() store.Bucket) {
	data := t.TempDir()
	return []string{"--data=" + data}, func() store.Bucket { return OpenDir(t, data) }
}}

// External is a NATS server of its own and a bucket of its own in a MinIO.
var External = Backend{"external", func(t testing.TB) ([]string, func() store.Bucket) {
	o := startMinIO(t)
	o.Bucket = "mmspipe-" + strings.ToLower(rand.Text())
	flags := append(S3Flags(o), "--data="+t.TempDir(), "--nats-url="+StartNATS(t).URL())
	return flags, func() store.Bucket { return OpenMinIO(t, o) }
}}

// S3Flags are the settings for an object store.
func S3Flags(o store.MinIOOptions) []string {
	return []string{
		"--s3-endpoint=" + o.Endpoint, "--s3-bucket=" + o.Bucket, "--s3-tls=false",
		"--s3-access-key=" + o.AccessKey, "--s3-secret-key=" + o.SecretKey,
	}
}

// OpenDir opens the bucket in a data directory that no service uses. It is closed when
// the test ends, or before.
func OpenDir(t testing.TB, data string) *store.Dir {
	t.Helper()
	bucket, err := store.OpenDir(filepath.Join(data, "bucket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	return bucket
}

// OpenMinIO opens a bucket. It may be called when the test ends.
func OpenMinIO(t testing.TB, o store.MinIOOptions) store.Bucket {
	t.Helper()
	bucket, err := store.OpenMinIO(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

// OnBackends runs a test on every backend, side by side and beside other tests.
func OnBackends(t *testing.T, test func(t *testing.T, b Backend)) {
	t.Parallel()
	for _, b := range []Backend{Embedded, External} {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

// Start starts a program with the settings of b and these, as flags. When the test
// ends the program is stopped, and every blob in its bucket is compared with its
// record.
func Start(t testing.TB, b Backend, flags ...string) *Program {
	t.Helper()
	p, open := newProgram(t, b, flags)
	p.Start()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("stopped with %v", err)
		}
		if orphans := storetest.Audit(t, open()); len(orphans) > 0 {
			t.Errorf("blobs without a record: %v", orphans)
		}
	})
	return p
}

// Refused returns the error of a program that does not start.
func Refused(t testing.TB, b Backend, flags ...string) error {
	t.Helper()
	p, _ := newProgram(t, b, flags)
	return service.Run(t.Context(), p.Config, zerolog.Nop(), func(service.Running) { t.Error("it serves") })
}

func newProgram(t testing.TB, b Backend, flags []string) (p *Program, open func() store.Bucket) {
	t.Helper()
	more, open := b.Prepare(t)
	twilio, err := simulate.Start(simulate.Options{Account: Account, Token: Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twilio.Close() })
	var all []string
	allow := []string{Allow(t, twilio.CDN())}
	for _, flag := range append(more, flags...) {
		if ports, ok := strings.CutPrefix(flag, "--fetch-allow="); ok {
			allow = append(allow, ports)
		} else {
			all = append(all, flag)
		}
	}
	// The world outside is the test's own, whatever the backend says.
	s, err := settings.From(append(all, "--fetch-allow="+strings.Join(allow, ","),
		"--accounts="+Account+":"+Token, "--upstream="+twilio.Origin(), "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")...)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := s.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return &Program{Client: &Client{T: t, Twilio: twilio}, Config: c}, open
}

// Allow is what lets a service fetch from an origin of loopback.
func Allow(t testing.TB, origin string) string {
	t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return u.Hostname() + "/32:" + u.Port()
}

// Start runs the service until it answers requests. Its log is a new one.
func (p *Program) Start() {
	p.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.Logs = &Logs{}
	p.Log = p.Logs.String
	ready, exited := make(chan service.Running, 1), make(chan error, 1)
	log := zerolog.New(p.Logs).With().Timestamp().Logger()
	go func() {
		exited <- service.Run(ctx, p.Config, log, func(r service.Running) { ready <- r })
	}()
	p.Stop = sync.OnceValue(func() error { cancel(); return <-exited })
	select {
	case r := <-ready:
		p.Public, p.Admin = "http://"+r.Public.String(), "http://"+r.Admin.String()
		p.Twilio.SetWebhook(p.Public + "/webhooks/twilio")
	case err := <-exited:
		exited <- nil // for Stop
		p.T.Fatalf("it does not serve: %v\n%s", err, p.Logs)
	case <-time.After(Patience):
		p.T.Fatalf("not serving after %v:\n%s", Patience, p.Logs)
	}
}
