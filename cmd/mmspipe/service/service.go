// Package service runs mmspipe: from a [Config] to webhooks that are answered,
// jobs that are done and media that are served. [Run] touches neither signals nor
// flags nor the environment, so that it can be embedded, as tests do.
//
// A process that has stopped cleanly has handed back or finished what it had in
// hand. One that was killed has lost nothing that it acknowledged, as far as the
// queue's durability goes; what it stored shortly before is looked at again at the
// next start with the same data directory.
package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/ingest/upstream"
	"mmspipe/store/rest"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
)

// stopTimeout bounds the whole stop. Orchestrators kill after 30 s unless told
// otherwise (Kubernetes' terminationGracePeriodSeconds).
const stopTimeout = 28 * time.Second

// Running describes a service that answers requests.
type Running struct {
	Public, Admin net.Addr // what it listens on
	PublicURL     *url.URL // the origin that the outside sees
	Webhook       string   // the URL to give to Twilio, with the fragment that makes it retry
	Queue         string   // where the streams are, in words
	Objects       string   // where the objects are, in words
}

// service is one service that is running. Its methods start one part each.
type service struct {
	Config
	log   zerolog.Logger
	parts lifecycle
	fail  context.CancelCauseFunc // stops the service because of an error

	disk    *disk
	keys    *rest.Keys
	objects objects
	queue   *queue
	twilio  *upstream.Client // the provider's API
	public  net.Listener
	admin   net.Listener
}

// Run serves until ctx ends, and then stops within 28 s. It calls ready once, when
// requests are answered. The error is what kept the service from starting or made
// it stop, joined with what went wrong in stopping; nil if it only stopped because
// ctx ended.
func Run(ctx context.Context, c Config, log zerolog.Logger, ready func(Running)) (err error) {
	s := &service{Config: c, log: log, twilio: upstream.New(c.Upstream, c.Accounts)}
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = errors.Join(err, s.parts.stop(stopping))
	}()
	// The order matters: a part uses those that were started before it, and is
	// stopped before them.
	for _, start := range []func(context.Context) error{
		s.openData, s.openObjects, s.openQueue, s.listen, s.startWork, s.startServers,
	} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	s.warnLoopback()
	ready(Running{
		Public: s.public.Addr(), Admin: s.admin.Addr(), PublicURL: s.PublicURL, Webhook: webhookURL(s.PublicURL),
		Queue: s.queue.where, Objects: s.objects.where,
	})
	<-ctx.Done()
	log.Info().Msg("stopping")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// openData makes and locks the data directory, and reads the secrets in it.
func (s *service) openData(context.Context) error {
	if err := os.MkdirAll(s.tempDir(), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock := flock.New(filepath.Join(s.Data, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if !locked {
		return fmt.Errorf("data directory %s is in use by another mmspipe: stop that one, or set --data", s.Data)
	}
	s.parts.onStop("data directory", func(context.Context) error { return lock.Unlock() })
	if s.disk, err = newDisk(s.Data, s.log); err != nil {
		return err
	}
	s.disk.look()
	if len(s.Secret) == 0 {
		if s.Secret, err = secretFile(filepath.Join(s.Data, "secret")); err != nil {
			return err
		}
	}
	return s.openKeys()
}

func (s *service) tempDir() string { return filepath.Join(s.Data, "tmp") }

// openKeys makes the keys that requests are authenticated with. Without API keys
// of its own the service has one for the operator, in the data directory.
func (s *service) openKeys() error {
	keys := s.APIKeys
	if len(keys) == 0 {
		secret, err := secretFile(filepath.Join(s.Data, operator.KeyFile))
		if err != nil {
			return err
		}
		keys = []rest.APIKey{{SID: operator.KeySID, Secret: string(secret), Account: rest.Operator, Write: true}}
	}
	accounts := map[string][]string{}
	for sid, tokens := range s.Accounts {
		accounts[sid.String()] = tokens
	}
	s.keys = rest.NewKeys(accounts, keys)
	return nil
}

// listen binds both listeners before anything is served, so that their addresses
// are known and a port in use is an error here. The address of the admin listener
// is noted in the data directory, for the commands.
func (s *service) listen(context.Context) (err error) {
	if s.public, err = net.Listen("tcp", s.Listen); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	s.parts.onStop("public port", closing(s.public))
	if s.admin, err = net.Listen("tcp", s.AdminListen); err != nil {
		return fmt.Errorf("--admin-listen: %w", err)
	}
	s.parts.onStop("admin port", closing(s.admin))
	path := filepath.Join(s.Data, operator.AddressFile)
	if err := os.WriteFile(path, []byte(s.admin.Addr().String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("note the admin listener's address: %w", err)
	}
	s.parts.onStop("admin address", func(context.Context) error { return os.Remove(path) })
	if s.PublicURL == nil {
		s.PublicURL = &url.URL{Scheme: "http", Host: s.public.Addr().String()}
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

// startWork starts the worker and the work that is done by the clock, if this process
// has the role.
func (s *service) startWork(context.Context) error {
	if !s.Roles.Worker {
		return nil
	}
	bodies, fits, err := s.openCaches()
	if err != nil {
		return err
	}
	worker := s.newWorker(bodies, fits)
	sign, err := findLifeSign(filepath.Join(s.Data, "running"))
	if err != nil {
		return err
	}
	s.parts.background("recheck", func(ctx context.Context) { s.recheck(ctx, sign) }) // stopped after the worker
	if s.DeleteUpstream {
		s.parts.background("deletion of the provider's copies", func(ctx context.Context) { every(ctx, upstreamTick, s.deleteCopies) })
	}
	if s.Retention > 0 {
		s.parts.background("retention", func(ctx context.Context) { every(ctx, retentionTick, s.retain) })
	}
	s.parts.background("scrub", s.verifier().Scrub)
	s.parts.background("worker", worker.Run)
	return nil
}

// warnLoopback warns of a public URL that no provider can reach, where one has to.
func (s *service) warnLoopback() {
	if address, err := netip.ParseAddr(s.PublicURL.Hostname()); s.Relay && err == nil && address.IsLoopback() {
		s.log.Warn().Stringer("public_url", s.PublicURL).Msg("--relay is set, but a provider elsewhere can reach neither the links to media nor the URL for status callbacks: set --public-url")
	}
}
