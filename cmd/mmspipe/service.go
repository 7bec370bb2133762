package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/ingest/relay"
	"mmspipe/ingest/upstream"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/link"
	"mmspipe/store/rest"
	"mmspipe/store/stream"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
)

const (
	// stopTimeout bounds the whole stop. Orchestrators kill after 30 s unless
	// told otherwise (Kubernetes' terminationGracePeriodSeconds).
	stopTimeout = 28 * time.Second

	// drainTimeout is the part of it that jobs in hand have to finish.
	drainTimeout = 15 * time.Second

	// mediaWait is how long the content of a medium is waited for whose URL an
	// application was told at once: some of the time that it has to answer in.
	mediaWait = 8 * time.Second
)

// service is one running mmspipe. Its methods start one part each and note how
// that part is stopped.
type service struct {
	config
	log  zerolog.Logger
	fail context.CancelCauseFunc // stops the service because of an error

	disk        *disk
	embedded    *embeddedNATS              // nil where NATS is external
	class       atomic.Pointer[queueClass] // of the queue
	reconnected chan struct{}              // to NATS

	keys    *rest.Keys
	presign presigner // nil where browsers do not reach the object store
	records *store.Store
	streams *stream.Streams
	twilio  *upstream.Client // the provider's API
	queue   string           // where the streams are, in words
	objects string           // where the bucket is, in words
	public  net.Listener
	admin   net.Listener

	stops []stopper // in the order of starting
}

// presigner makes links to blobs that the object store serves itself.
type presigner = func(ctx context.Context, key string, ttl time.Duration, contentType, disposition string) (*url.URL, error)

// stopper stops one part within the life of ctx.
type stopper struct {
	name string
	stop func(ctx context.Context) error
}

func (s *service) onStop(name string, stop func(context.Context) error) {
	s.stops = append(s.stops, stopper{name, stop})
}

// stop stops all parts in reverse order: no new requests, no new jobs, jobs in
// hand finished or handed back, connections drained. All share one deadline, and
// one that fails does not keep the others from stopping.
func (s *service) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var failures []error
	for _, part := range slices.Backward(s.stops) {
		if err := part.stop(ctx); err != nil {
			failures = append(failures, fmt.Errorf("stop %s: %w", part.name, err))
		}
	}
	return errors.Join(failures...)
}

// openData makes and locks the data directory and reads the secrets in it.
func (s *service) openData(context.Context) error {
	if err := os.MkdirAll(s.tempDir(), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock := flock.New(filepath.Join(s.data, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if !locked {
		return fmt.Errorf("data directory %s is in use by another mmspipe: stop that one, or set --data", s.data)
	}
	s.onStop("data directory", func(context.Context) error { return lock.Unlock() })
	if s.disk, err = newDisk(s.data, s.log); err != nil {
		return err
	}
	s.disk.look()
	if len(s.secret) == 0 {
		if s.secret, err = secretFile(filepath.Join(s.data, "secret")); err != nil {
			return err
		}
	}
	return s.openKeys()
}

func (s *service) tempDir() string { return filepath.Join(s.data, "tmp") }

// openBucket opens MinIO where it is set, else the directory.
func (s *service) openBucket(ctx context.Context) error {
	if s.s3 == nil {
		dir := filepath.Join(s.data, "bucket")
		bucket, err := store.OpenDir(dir)
		if err != nil {
			return err
		}
		s.records, s.objects = store.New(bucket, s.secret), "directory "+dir
		return nil
	}
	bucket, err := openMinIO(ctx, *s.s3)
	if err != nil {
		return err
	}
	s.records, s.objects = store.New(bucket, s.secret), fmt.Sprintf("bucket %s at %s", s.s3.Bucket, s.s3.Endpoint)
	if s.s3.PublicEndpoint != "" {
		s.presign = bucket.Presign
	}
	return nil
}

// openMinIO tries for some seconds: a MinIO that has just started refuses
// requests for a moment after its own health check succeeds.
func openMinIO(ctx context.Context, o store.MinIOOptions) (*store.MinIO, error) {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		bucket, err := store.OpenMinIO(ctx, o)
		if err == nil || attempt == attempts {
			return bucket, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// listen binds the listeners before anything is served, so that their addresses
// are known and a port in use is an error here.
func (s *service) listen(context.Context) (err error) {
	if s.public, err = net.Listen("tcp", s.config.listen); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	s.onStop("public port", closing(s.public))
	if s.admin, err = net.Listen("tcp", s.adminListen); err != nil {
		return fmt.Errorf("--admin-listen: %w", err)
	}
	s.onStop("admin port", closing(s.admin))
	if err := s.noteAddress(); err != nil {
		return err
	}
	s.onStop("admin address", func(context.Context) error { return os.Remove(filepath.Join(s.data, addressFile)) })
	if s.publicURL == nil {
		s.publicURL = &url.URL{Scheme: "http", Host: s.public.Addr().String()}
	}
	return nil
}

// closing closes a listener that a server may have closed before.
func closing(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// startWorker starts taking jobs, if this process has the role.
func (s *service) startWorker(context.Context) error {
	if !s.roles.worker {
		return nil
	}
	bodies, fits, err := s.openCaches()
	if err != nil {
		return err
	}
	worker := ingest.NewWorker(ingest.Options{
		Store: s.records, Streams: s.streams, Accounts: s.accounts, Upstream: s.upstream, Profile: s.profile,
		Fetcher: fetch.New(fetch.Options{Upstream: s.upstream, Allow: s.fetchAllow, MaxBytes: s.maxMedia, Slots: s.workers, Cache: bodies}),
		Fitter:  resize.New(resize.Options{Memory: s.fitMemory, MaxPixels: s.maxPixels}),
		Log:     s.log, TempDir: s.tempDir(), Jobs: s.workers, GiveUp: s.giveUp, Drain: drainTimeout, Hold: s.disk.full,
		API: s.twilio, PublicURL: s.publicURL, Links: link.New(s.secret), Route: s.route, FitCache: fits, Relay: s.relay,
		Forward: s.forward, Poster: s.poster(), Reply: s.forwardReply,
	})
	if err := s.startRecheck(worker); err != nil { // stopped after the worker
		return err
	}
	s.startDeleteUpstream()
	// The worker is stopped in its turn, not when the service's context ends:
	// requests that are being answered come first.
	pulling, stopPulling := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); worker.Run(pulling) }()
	s.onStop("worker", func(ctx context.Context) error {
		stopPulling()
		select {
		case <-stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return nil
}

// openCaches opens what is kept of the media of outgoing messages, and of what was
// made of them: half of the space each. On a small disk they have a tenth of it, so
// that what can be had again does not stop the intake.
func (s *service) openCaches() (bodies, fits *fetch.Cache, err error) {
	if s.fetchCache == 0 {
		return nil, nil, nil
	}
	_, size, err := space(s.data)
	if err != nil {
		return nil, nil, err
	}
	half := min(s.fetchCache, size/10) / 2
	if bodies, err = fetch.OpenCache(filepath.Join(s.data, "cache", "media"), half); err != nil {
		return nil, nil, err
	}
	fits, err = fetch.OpenCache(filepath.Join(s.data, "cache", "fit"), half)
	return bodies, fits, err
}

// poster posts webhooks to applications.
func (s *service) poster() *relay.Client { return relay.New(s.fetchAllow) }

// startServers answers requests on both listeners.
func (s *service) startServers(ctx context.Context) error {
	health := &health{service: s}
	public := http.NewServeMux()
	public.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	public.HandleFunc("GET /readyz", health.brief)
	if s.roles.receiver {
		public.Handle("/webhooks/twilio", s.receiver())
	}
	if s.roles.api {
		public.Handle("/", s.mediaAPI())
	}
	admin := http.NewServeMux()
	admin.HandleFunc("GET /readyz", health.detail)
	admin.Handle("/operator/", s.operatorAPI())
	s.startServer(ctx, "admin listener", s.admin, admin)
	s.startServer(ctx, "public listener", s.public, public)
	return nil
}

// receiver answers webhooks. While the disk that the embedded queue is on is full
// it takes none.
func (s *service) receiver() http.Handler {
	o := ingest.ReceiverOptions{PublicURL: s.publicURL, Accounts: s.accounts, Streams: s.streams, Log: s.log}
	o.Forward, o.Store = s.forward, s.records
	if s.forwardReply {
		o.Replies = &ingest.Replies{Poster: s.poster(), Upstream: s.upstream}
	}
	if s.embedded != nil {
		o.Full = s.disk.full
	}
	return ingest.NewReceiver(o)
}

// startServer answers requests on l until it is stopped. Requests' contexts end
// with ctx, so that streams which never end by themselves do.
func (s *service) startServer(ctx context.Context, name string, l net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second, // Twilio's own time for a webhook
		WriteTimeout:      time.Minute,      // package api extends it with what it writes
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          serverLog(s.log),
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
	s.onStop(name, server.Shutdown)
}

// mediaAPI is the store over HTTP. While the disk that the embedded queue is on is full
// it takes no messages.
func (s *service) mediaAPI() http.Handler {
	o := api.Options{
		Store: s.records, Streams: s.streams, Keys: s.keys, Links: link.New(s.secret), Log: s.log,
		Upstream: s.upstream, MediaAuth: s.mediaAuth, Presign: s.presign,
	}
	if s.embedded != nil {
		o.Full = s.disk.full
	}
	if s.forwardReply {
		o.MediaWait = mediaWait
	}
	return api.New(o)
}

// webhookURL is what Twilio is given.
func (s *service) webhookURL() string {
	return s.publicURL.JoinPath("webhooks/twilio").String() + ingest.RetryFragment
}

// announce logs what the service listens on and what it uses.
func (s *service) announce() {
	s.log.Info().Stringer("public", s.public.Addr()).Stringer("admin", s.admin.Addr()).Str("queue", s.queue).
		Str("objects", s.objects).Str("media_auth", s.mediaAuth).Str("webhook", s.webhookURL()).Bool("relay", s.relay).Msg("serving")
	if address, err := netip.ParseAddr(s.publicURL.Hostname()); s.relay && err == nil && address.IsLoopback() {
		s.log.Warn().Stringer("public_url", s.publicURL).Msg("--relay is set, and a provider elsewhere reaches neither the links to media nor what takes the status callbacks: set --public-url")
	}
}

// describe tells the same to a person.
func (s *service) describe(w io.Writer) {
	media := "public: whoever knows a medium's URL can read it; --media-auth=required changes that"
	if s.mediaAuth == "required" {
		media = "required: content needs credentials or a signed link"
	}
	fmt.Fprintf(w, "mmspipe is serving.\n\n")
	for _, line := range [][2]string{
		{"public", "http://" + s.public.Addr().String()},
		{"admin", "http://" + s.admin.Addr().String()},
		{"queue", s.queue},
		{"objects", s.objects},
		{"media", media},
		{"webhook", s.webhookURL()},
	} {
		fmt.Fprintf(w, "  %-8s %s\n", line[0], line[1])
	}
	fmt.Fprintf(w, "\nGive the webhook URL, with its fragment, to Twilio for incoming messages and status callbacks:\nthe fragment makes Twilio retry what is answered 503. Set a fallback URL too.\n\n")
}
