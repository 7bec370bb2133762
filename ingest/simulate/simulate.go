// Package simulate stands in for Twilio: it hosts media, signs and sends
// webhooks, plays the API's messages, and misbehaves on request. It serves demos,
// tests and load runs, of this project's handler or any other.
//
// What it does is what Twilio does, as far as a handler can see it
// (https://www.twilio.com/docs/messaging/guides/webhook-request): media are at
// /2010-04-01/Accounts/{AC}/Messages/{MM}/Media/{ME} behind Basic
// authentication, which redirects to a second address with a signed query that
// expires and that refuses an Authorization header; webhooks carry all
// parameters that real ones do, are signed, and are retried as the fragment of
// their URL says. Everything is kept in memory, and only loopback addresses are
// listened on unless others are given.
//
// # The API
//
// Under paths that end in .json, behind the same Basic authentication, are the
// account, its phone numbers, its messages and their media: what was sent to the
// webhook or kept by [Simulator.Host], and what a client posted. A message that
// is posted is answered, then its media links are read and its status is called
// back, as Twilio does; [Simulator.Script] says what goes wrong with it,
// [Simulator.Throttle] and [Simulator.Cut] what goes wrong with other requests.
// [Simulator.Accepted], [Simulator.Calls] and [Simulator.Deleted] tell what a
// client has done. Shapes and error codes are those of Twilio's OpenAPI document
// (twilio-oai, twilio_api_v2010.json) and error dictionary
// (https://www.twilio.com/docs/api/errors).
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
)

// Options say whom the simulator plays. Account and Token are required.
type Options struct {
	Account string // AC…
	Token   string // that webhooks are signed with and the API is opened with
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
	o        Options
	api, cdn *http.Server
	origin   string
	cdnURL   string
	client   *http.Client

	ctx     context.Context // of what goes on in the background, until Close
	stop    context.CancelFunc
	running sync.WaitGroup // listeners, connections and deliveries

	mu       sync.Mutex
	rand     *rand.Rand
	webhook  string
	numbers  []Number
	messages map[string]*message // by SID
	history  []string            // SIDs of messages, oldest first, deleted ones too
	media    map[string]*hosted  // by SID
	links    map[string]link     // by the signature of a CDN URL
	expiring []string            // the signatures, in the order in which they expire

	script    []Outcome
	throttles map[Operation]int
	cuts      map[cutPage]int
	calls     map[Operation]int
	accepted  []*message
	deleted   []string
	bodies    map[string][]byte // media that were read for clients, by SHA-256
}

// Start listens and serves until Close.
func Start(o Options) (*Simulator, error) {
	if o.Account == "" || o.Token == "" {
		return nil, errors.New("simulate: an account and a token are required")
	}
	seed := cmp.Or(o.Seed, rand.Uint64())
	s := &Simulator{
		o: o, webhook: o.Webhook, rand: rand.New(rand.NewPCG(seed, 0)),
		messages: map[string]*message{}, media: map[string]*hosted{}, links: map[string]link{},
		throttles: map[Operation]int{}, cuts: map[cutPage]int{}, calls: map[Operation]int{}, bodies: map[string][]byte{},
		client: &http.Client{Timeout: webhookTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	var err error
	if s.api, s.origin, err = s.listen(o.Listen, s.serveAPI); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.cdn, s.cdnURL, err = s.listen(o.ListenCDN, s.serveCDN); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// listen serves a handler and returns the server with its origin.
func (s *Simulator) listen(address string, handler http.HandlerFunc) (*http.Server, string, error) {
	listener, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return nil, "", fmt.Errorf("simulate: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ConnState: s.track}
	s.running.Go(func() { _ = server.Serve(listener) })
	return server, "http://" + listener.Addr().String(), nil
}

// track counts connections, each of which is a goroutine. It hears of a new one
// from Serve, so the count cannot rise from zero while Close waits.
func (s *Simulator) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
		if s.ctx.Err() != nil { // too late for the server to close it
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.running.Done()
	}
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

// Close stops listening, cuts off every request, those that stall too, ends what
// goes on in the background, and waits for all of it. It does not end a Send that
// is under way, whose context does.
func (s *Simulator) Close() error {
	s.stop()
	var errs []error
	for _, server := range []*http.Server{s.api, s.cdn} {
		if server != nil {
			errs = append(errs, server.Close())
		}
	}
	s.running.Wait()
	s.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// sid makes up a SID. The caller holds the lock. Nothing but SIDs and numbers is
// drawn from the seed, so that they do not depend on what is fetched meanwhile.
func (s *Simulator) sid(prefix string) string {
	return fmt.Sprintf("%s%016x%016x", prefix, s.rand.Uint64(), s.rand.Uint64())
}
