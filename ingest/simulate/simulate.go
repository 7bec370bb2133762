// Package simulate stands in for Twilio: it hosts media, signs and sends
// webhooks, and misbehaves on request. It serves demos, tests and load runs, of
// this project's handler or any other.
//
// What it does is what Twilio does, as far as a handler can see it
// (https://www.twilio.com/docs/messaging/guides/webhook-request): media are at
// /2010-04-01/Accounts/{AC}/Messages/{MM}/Media/{ME} behind Basic
// authentication, which redirects to a second address with a signed query that
// expires and that refuses an Authorization header; webhooks carry all
// parameters that real ones do, are signed, and are retried as the fragment of
// their URL says. Everything is kept in memory, and only loopback addresses are
// listened on unless others are given.
package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options say whom the simulator plays. Account and Token are required.
type Options struct {
	Account string // AC…
	Token   string // that webhooks are signed with and media are read with
	Webhook string // where messages are sent; may be set later

	Listen    string // API listener; a free loopback port if empty
	ListenCDN string // CDN listener; a free loopback port if empty
	Direct    bool   // answer with the bytes at once instead of redirecting to the CDN
	Seed      uint64 // makes the same SIDs every time; random if 0
}

// Simulator is a running stand-in. Its methods may be called from many
// goroutines.
type Simulator struct {
	o        Options
	api, cdn *http.Server
	origin   string
	cdnURL   string
	client   *http.Client

	mu      sync.Mutex
	rand    *rand.Rand
	webhook string
	media   map[string]*hosted // by SID
	links   map[string]link    // by the signature of a CDN URL
}

// Start listens and serves until Close.
func Start(o Options) (*Simulator, error) {
	if o.Account == "" || o.Token == "" {
		return nil, errors.New("simulate: an account and a token are required")
	}
	seed := cmp.Or(o.Seed, rand.Uint64())
	s := &Simulator{
		o: o, webhook: o.Webhook, rand: rand.New(rand.NewPCG(seed, 0)),
		media: map[string]*hosted{}, links: map[string]link{},
		client: &http.Client{Timeout: webhookTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	var err error
	if s.api, s.origin, err = listen(o.Listen, s.serveAPI); err != nil {
		return nil, err
	}
	if s.cdn, s.cdnURL, err = listen(o.ListenCDN, s.serveCDN); err != nil {
		return nil, errors.Join(err, s.api.Close())
	}
	return s, nil
}

// listen serves a handler and returns the server with its origin.
func listen(address string, handler http.HandlerFunc) (*http.Server, string, error) {
	listener, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return nil, "", fmt.Errorf("simulate: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return server, "http://" + listener.Addr().String(), nil
}

// Origin is that of the API, as in http://127.0.0.1:8090.
func (s *Simulator) Origin() string { return s.origin }

// CDN is the origin that media are redirected to.
func (s *Simulator) CDN() string { return s.cdnURL }

// SetWebhook says where messages are sent from now on. The URL may end in
// connection overrides, such as #rc=5&rp=all.
func (s *Simulator) SetWebhook(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhook = address
}

// Close stops listening and cuts off every request, those that stall too.
func (s *Simulator) Close() error {
	s.client.CloseIdleConnections()
	return errors.Join(s.api.Close(), s.cdn.Close())
}

// sid makes up a SID. The caller holds the lock. Nothing but SIDs and numbers is
// drawn from the seed, so that they do not depend on what is fetched meanwhile.
func (s *Simulator) sid(prefix string) string {
	return fmt.Sprintf("%s%016x%016x", prefix, s.rand.Uint64(), s.rand.Uint64())
}
