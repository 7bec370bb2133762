package service

import (
	"net/url"
	"time"

	"mmspipe/ingest/guard"
	"mmspipe/ingest/outbound/route"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/number"
	"mmspipe/store/rest"
)

// Config is what a service is told. The program fills it from its flags; where a
// field has no zero that is named here, it must be set.
type Config struct {
	Listen      string   // public listener, HOST:PORT; port 0 is any free one
	AdminListen string   // listener for the operator, HOST:PORT
	AdminHosts  []string // names that it is called by, beside IP addresses and localhost
	PublicURL   *url.URL // origin that the outside sees; nil: http:// and the public listener
	Roles       Roles

	Accounts  map[store.AccountSID][]string // auth tokens, two while one is replaced
	APIKeys   []rest.APIKey                 // none: an operator's key is generated into Data
	Secret    []byte                        // signs links, derives SIDs; empty: generated into Data
	MediaAuth string                        // "public" or "required"

	Data string // directory, locked while the service runs
	NATS NATS
	S3   *store.MinIOOptions // nil: objects are kept in Data

	Upstream       *url.URL // origin of the provider's API
	Relay          bool     // send outgoing messages when they are ready
	PassThrough    bool     // other resources than messages go to it
	DeleteUpstream bool     // delete the provider's copies after [operator.UpstreamGrace]
	FetchAllow     []guard.Allow
	MaxMedia       int64 // bytes of a medium at most
	Profile        resize.Profile
	Region         number.Region // where numbers without a country code are
	Route          route.Func    // chooses the profiles of outgoing messages
	FetchCache     int64         // bytes of disk; 0: nothing is kept
	FitMemory      int64         // bytes that all decodes may take together
	MaxPixels      int           // 0: the defaults of package resize

	Forward      map[store.AccountSID]*url.URL // applications; an account without one has its webhooks posted nowhere
	ForwardReply bool                          // the application's TwiML answers Twilio

	Workers   int           // messages worked on at once
	GiveUp    time.Duration // how long a medium or an application is tried
	FeedAge   time.Duration // how long events are kept
	Retention time.Duration // 0: messages are kept for ever
}

// Roles are what a process does. Fewer than all need an external NATS, an S3
// endpoint and a secret, in which the processes meet.
type Roles struct{ Receiver, Worker, API bool }

// NATS says where the streams are.
type NATS struct {
	URL            string     // servers; empty: one is embedded
	Creds          string     // credentials file; empty: none
	Listen         string     // where the embedded server listens; empty: nowhere
	Monitor        []*url.URL // monitoring ports of all servers
	RequireDurable bool       // refuse to start unless what is acknowledged survives power loss
}
