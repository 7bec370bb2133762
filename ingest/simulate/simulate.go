// Package simulate stands in for Twilio: it hosts media, signs and sends
// webhooks, plays the API's messages, and misbehaves on request. It serves demos,
// tests and load runs, of this project's handler or any other.
//
// It does what Twilio does, as far as a handler can see
// (https://www.twilio.com/docs/messaging/guides/webhook-request). Media are at
// /2010-04-01/Accounts/{AC}/Messages/{MM}/Media/{ME} behind Basic
// authentication, which redirects to a second address with a signed query that
// expires and that refuses an Authorization header. Webhooks carry all
// parameters that real ones do, are signed, and are retried as the fragment of
// their URL says. Everything is kept in memory. It listens only on loopback
// addresses unless others are given.
//
// # The API
//
// Under paths that end in .json, behind the same Basic authentication, are the
// account, its phone numbers, its messages and their media: what was sent to the
// webhook or kept by [Simulator.Host], and what a client posted. A message that
// is posted is answered, then its media links are read and its status is called
// back, as Twilio does. Script says what goes wrong with it; Throttle and Cut say
// what goes wrong with other requests. Accepted, Calls and Deleted tell what a
// client has done.
package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"mmspipe/ingest/simulate/api"
	"mmspipe/ingest/simulate/cdn"
	"mmspipe/ingest/simulate/webhook"
)

// Options say whom the simulator plays. Account and Token are required.
type Options struct {
	Account string // AC…
	Token   string // signs webhooks and opens the API
	Webhook string // where messages are sent; may be set later

	Listen    string // API listener; a free loopback port if empty
	ListenCDN string // CDN listener; a free loopback port if empty
	Direct    bool   // answer with the bytes at once instead of redirecting to the CDN
	Seed      uint64 // makes the same SIDs every time; random if 0

	// LinkLife is how long a URL of the CDN is good for; if 0, Twilio's 4 hours
	// (Twilio Help, article 223183748).
	LinkLife time.Duration
}

// Simulator is a running stand-in. Its methods may be called from many
// goroutines.
type Simulator struct {
	*api.API
	o         Options
	cdn       *cdn.CDN
	origin    string
	cdnOrigin string
	client    *http.Client
	servers   []*http.Server

	stop    context.CancelFunc // ends what goes on in the background
	running sync.WaitGroup     // listeners, connections and deliveries

	mu      sync.Mutex
	webhook string
}

// Start listens and serves until Close.
func Start(o Options) (*Simulator, error) {
	if o.Account == "" || o.Token == "" {
		return nil, errors.New("simulate: an account and a token are required")
	}
	apiListener, apiOrigin, err := listen(o.Listen)
	if err != nil {
		return nil, err
	}
	cdnListener, cdnOrigin, err := listen(o.ListenCDN)
	if err != nil {
		return nil, errors.Join(err, apiListener.Close())
	}
	s := &Simulator{
		o: o, origin: apiOrigin, cdnOrigin: cdnOrigin, webhook: o.Webhook, cdn: cdn.New(cdnOrigin, o.LinkLife),
		client: &http.Client{Timeout: webhook.Timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.API = api.New(ctx, api.Options{
		Account: o.Account, Token: o.Token, Origin: apiOrigin, CDN: s.cdn, Client: s.client,
		Seed: cmp.Or(o.Seed, rand.Uint64()), Direct: o.Direct, Background: s.running.Go,
	})
	s.serve(ctx, apiListener, http.HandlerFunc(s.Serve))
	s.serve(ctx, cdnListener, s.cdn)
	return s, nil
}

// listen returns a listener with its origin.
func listen(address string) (net.Listener, string, error) {
	listener, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return nil, "", fmt.Errorf("simulate: %w", err)
	}
	return listener, "http://" + listener.Addr().String(), nil
}

// serve serves a handler until Close. Each connection is a goroutine, which is counted
// too. Its first state comes from Serve, so the count cannot rise from zero while Close
// waits.
func (s *Simulator) serve(ctx context.Context, listener net.Listener, handler http.Handler) {
	track := func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.running.Add(1)
			if ctx.Err() != nil { // too late for the server to close it
				_ = conn.Close()
			}
		case http.StateClosed, http.StateHijacked:
			s.running.Done()
		}
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ConnState: track}
	s.servers = append(s.servers, server)
	s.running.Go(func() { _ = server.Serve(listener) })
}

// Origin is that of the API, as in http://127.0.0.1:8090.
func (s *Simulator) Origin() string { return s.origin }

// CDN is the origin that media are redirected to.
func (s *Simulator) CDN() string { return s.cdnOrigin }

// Signatures returns those of the CDN URLs that were given out and have not expired, in no
// order. A handler must let nobody see them.
func (s *Simulator) Signatures() []string { return s.cdn.Signatures() }

// SetWebhook says where messages are sent from now on. The URL may end in
// connection overrides, such as #rc=5&rp=all.
func (s *Simulator) SetWebhook(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhook = address
}

// Close stops listening, cuts off every request, those that stall too, ends what
// goes on in the background, and waits for all of it. It does not end a Send that
// is under way; that ends with its context.
func (s *Simulator) Close() error {
	s.stop()
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	s.running.Wait()
	s.client.CloseIdleConnections()
	return errors.Join(errs...)
}
