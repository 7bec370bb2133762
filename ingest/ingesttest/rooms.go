package ingesttest

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/ingest/forward"
	"mmspipe/ingest/guard"
	"mmspipe/ingest/inbound"
	"mmspipe/ingest/media"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/outbound"
	"mmspipe/ingest/outbound/route"
	"mmspipe/ingest/removal"
	"mmspipe/ingest/status"
	"mmspipe/ingest/upstream"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/link"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Setup is what [Rooms] are made of.
type Setup struct {
	Accounts  ingest.Accounts
	Upstream  *url.URL
	NoAPI     bool // the provider's API is not asked for what is not known here
	Allow     []guard.Allow
	Profile   resize.Profile
	Route     route.Func
	PublicURL *url.URL
	Targets   map[store.AccountSID]*url.URL
	Hold      time.Duration
	Relay     bool
	Settle    time.Duration
	GiveUp    time.Duration
	Bodies    *fetch.Cache
	Fits      *fetch.Cache
	Log       zerolog.Logger
}

func (h *House) defaults() Setup {
	h.Helper()
	profile, err := resize.ProfileNamed("us")
	if err != nil {
		h.Fatal(err)
	}
	return Setup{
		Accounts: ingest.Accounts{h.Account: {Token}}, Upstream: h.URL(h.Twilio.Origin()), Profile: profile,
		Route:     func(string, string) resize.Profile { return profile },
		PublicURL: h.URL("https://mms.example.com"), GiveUp: 24 * time.Hour, Log: zerolog.Nop(),
	}
}

// Rooms are all handlers, over one bucket.
type Rooms struct {
	Store        *store.Store
	Feed         *feed.Feed
	API          *upstream.Client
	Media        *media.Pipeline
	Applications forward.Applications
	Forward      *forward.Handler
	Sender       *outbound.Sender // nil unless Relay is set
	Removal      *removal.Remover
	Operations   operate.Operations
	Worker       *ingest.Worker
	Links        link.Signer
}

// Rooms returns handlers over a bucket.
func (h *House) Rooms(b store.Bucket) *Rooms {
	o := h.Setup
	r := &Rooms{Store: store.New(b, Secret), API: upstream.New(o.Upstream, o.Accounts), Links: link.New(Secret)}
	r.Store.Upstream, r.Store.Region = o.Upstream, "US"
	r.Feed = feed.New(r.Store, h.Streams)
	r.Media = media.New(media.Options{
		Store: r.Store, Feed: r.Feed, Fitter: resize.New(resize.Options{}), Profile: o.Profile, Accounts: o.Accounts, GiveUp: o.GiveUp,
		Fetcher:  fetch.New(fetch.Options{Upstream: o.Upstream, Allow: o.Allow, Slots: 16, Cache: o.Bodies}),
		FitCache: o.Fits,
	})
	r.Applications = forward.Applications{Accounts: o.Accounts, Targets: o.Targets, PublicURL: o.PublicURL}
	r.Forward = forward.New(forward.Options{
		Applications: r.Applications, Store: r.Store, Feed: r.Feed, Client: forward.NewClient(o.Allow), GiveUp: o.GiveUp, Hold: o.Hold,
	})
	r.Removal = &removal.Remover{Store: r.Store, Feed: r.Feed}
	statuses := &status.Recorder{Store: r.Store, Feed: r.Feed, Streams: h.Streams, Applications: r.Applications}
	links := outbound.Links{Store: r.Store, PublicURL: o.PublicURL, Signer: r.Links}
	in := inbound.New(inbound.Options{Store: r.Store, Feed: r.Feed, Media: r.Media, Removal: r.Removal, Status: statuses, GiveUp: o.GiveUp})
	if !o.NoAPI {
		in.API = r.API
	}
	out := outbound.New(outbound.Options{
		Store: r.Store, Feed: r.Feed, Preparer: &outbound.Preparer{Store: r.Store, Media: r.Media, GiveUp: o.GiveUp},
		Links: links, Status: statuses, Removal: r.Removal, Route: o.Route, Elsewhere: in.Elsewhere,
	})
	if o.Relay {
		r.Sender = &outbound.Sender{Store: r.Store, Feed: r.Feed, API: r.API, Links: links, PublicURL: o.PublicURL, GiveUp: o.GiveUp, Settle: o.Settle}
		out.Sender = r.Sender
	}
	in.Outgoing = out.Replay
	r.Operations = operate.New(operate.Options{
		Store: r.Store, Streams: h.Streams, Feed: r.Feed, Removal: r.Removal, Accounts: []store.AccountSID{h.Account}, API: r.API, Log: o.Log,
	})
	r.Worker = ingest.NewWorker(ingest.Options{Streams: h.Streams, Reject: in.Reject, Log: o.Log, Handlers: map[stream.Kind]ingest.Handler{
		stream.Inbound: in.Handle, stream.Replay: in.Replay, stream.Outbound: out.Handle, stream.Status: out.HandleStatus,
		stream.Forward: r.Forward.Handle, stream.Delete: r.Removal.Handle,
	}})
	return r
}

// Handle has a Job done, without settling it.
func (r *Rooms) Handle(ctx context.Context, d *stream.Delivery) error {
	handler, ok := r.Worker.Handlers[d.Kind]
	if !ok {
		return fmt.Errorf("no handler for %s", d.Kind)
	}
	return handler(ctx, d)
}
