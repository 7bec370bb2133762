package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/service/admission"
	"mmspipe/ingest/webhook"
	"mmspipe/store/api"
	"mmspipe/store/link"

	"github.com/rs/zerolog"
)

// mediaWait is how long a request for a medium waits until that is stored. An
// application that answers Twilio is given URLs before; the wait is a part of the time
// that it has to answer.
const mediaWait = 8 * time.Second

// startServers answers requests on both listeners.
func (s *service) startServers(ctx context.Context) error {
	health := s.health()
	public := http.NewServeMux()
	public.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	public.HandleFunc("GET /readyz", health.Brief)
	if s.Roles.Receiver {
		public.Handle("/"+webhook.Path, s.newReceiver())
	}
	if s.Roles.API {
		public.Handle("/", s.mediaAPI())
	}
	admin := operator.New(operator.Options{
		Operations: s.operations(), Verifier: s.verifier(), Accounts: slices.Collect(maps.Keys(s.Accounts)), Region: s.objects.records.Region,
		Keys: s.keys, Process: s.process, Health: health, Log: s.log,
	})
	host, _, _ := net.SplitHostPort(s.AdminListen) // it listens there, so that it is one
	s.startServer(ctx, "admin listener", s.admin, operator.Guard(admin, append(slices.Clip(s.AdminHosts), host)))
	s.startServer(ctx, "public listener", s.public, public)
	return nil
}

// health tells whether the process can do the work of its roles. A receiver only
// queues; what it needs of the disk is room for the embedded queue.
func (s *service) health() *health.Checker {
	return health.New(health.Probes{
		Queue: s.queue.state, Objects: s.objects.records.Ping, Disk: s.disk.check,
		Durability: func() health.Durability { return *s.queue.durability.Load() },
	}, health.Needs{
		Objects: s.Roles.Worker || s.Roles.API,
		Disk:    s.Roles.Worker || s.queue.embedded != nil,
		Durable: s.NATS.RequireDurable,
	})
}

// mediaAPI is the store over HTTP. It takes no messages while the disk under the
// embedded queue is full.
func (s *service) mediaAPI() http.Handler {
	o := api.Options{
		Store: s.objects.records, Streams: s.queue.streams, Feed: s.feed(), Keys: s.keys, Links: link.New(s.Secret), PublicURL: s.PublicURL, Log: s.log,
		MediaAuth: s.MediaAuth, Presign: s.objects.presign, Full: s.queueFull(),
	}
	if s.ForwardReply {
		o.MediaWait = mediaWait
	}
	if s.PassThrough {
		o.PassThrough = s.twilio.PassThrough
	}
	return api.New(o)
}

// queueFull tells whether the disk under the embedded queue is full. It is nil
// where the queue is elsewhere.
func (s *service) queueFull() func() bool {
	if s.queue.embedded == nil {
		return nil
	}
	return s.disk.full
}

// process is what the operator API tells of this process.
func (s *service) process() (operator.Process, error) {
	free, _, err := Space(s.Data)
	return operator.Process{Workers: s.Workers, FreeDisk: free, Durability: *s.queue.durability.Load()}, err
}

// startServer answers requests on l until it is stopped. Requests' contexts end
// with ctx, so that streams which never end by themselves do.
func (s *service) startServer(ctx context.Context, name string, l net.Listener, handler http.Handler) {
	gate := admission.New(admission.Options{})
	server := &http.Server{
		Handler:           gate.Handler(handler),
		ConnState:         gate.ConnState,
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
	s.parts.onStop(name, func(ctx context.Context) error {
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(err, server.Close()) // of requests that do not end
		}
		return nil
	})
}

// serverLog takes what net/http says of bad connections, which is seldom worth more
// than a look.
func serverLog(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(debugWriter{log}, "", 0)
}

type debugWriter struct{ log zerolog.Logger }

// Write implements io.Writer.
func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug().Msg(string(p))
	return len(p), nil
}
