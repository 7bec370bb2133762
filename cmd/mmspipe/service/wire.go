package service

import (
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/ingest/forward"
	"mmspipe/ingest/inbound"
	"mmspipe/ingest/media"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/outbound"
	"mmspipe/ingest/receive"
	"mmspipe/ingest/removal"
	"mmspipe/ingest/status"
	"mmspipe/ingest/verify"
	"mmspipe/ingest/webhook"
	"mmspipe/resize"
	"mmspipe/store/feed"
	"mmspipe/store/link"
	"mmspipe/store/stream"
)

// All that is made of the packages below ingest is made in this file.

const (
	// drainTimeout is how long jobs in hand may take to finish when the service
	// stops: a part of stopTimeout.
	drainTimeout = 15 * time.Second

	// RetryFragment is appended to the webhook's URL. It makes Twilio retry a
	// webhook that was answered 503 (Twilio's connection overrides).
	RetryFragment = webhook.RetryFragment
)

// WebhookURL is the URL of the webhook under an origin, without [RetryFragment].
func WebhookURL(origin *url.URL) *url.URL { return origin.JoinPath(webhook.Path) }

// webhookURL is what Twilio is given.
func webhookURL(origin *url.URL) string { return WebhookURL(origin).String() + RetryFragment }

// openCaches opens two caches: of the media of outgoing messages as they were
// downloaded, and of the pictures made of them. Each gets half of the space. Together
// they take a tenth of the disk at most, so that a cache never stops the intake.
func (s *service) openCaches() (bodies, fits *fetch.Cache, err error) {
	if s.FetchCache == 0 {
		return nil, nil, nil
	}
	_, size, err := Space(s.Data)
	if err != nil {
		return nil, nil, err
	}
	half := min(s.FetchCache, size/10) / 2
	if bodies, err = fetch.OpenCache(filepath.Join(s.Data, "cache", "media"), half); err != nil {
		return nil, nil, err
	}
	fits, err = fetch.OpenCache(filepath.Join(s.Data, "cache", "fit"), half)
	return bodies, fits, err
}

// feed announces what happens, and takes it back.
func (s *service) feed() *feed.Feed { return feed.New(s.objects.records, s.queue.streams) }

func (s *service) applications() forward.Applications {
	return forward.Applications{Accounts: s.Accounts, Targets: s.Forward, PublicURL: s.PublicURL}
}

// newWorker wires up the handlers of all kinds of Jobs.
func (s *service) newWorker(bodies, fits *fetch.Cache) *ingest.Worker {
	records, events, applications := s.objects.records, s.feed(), s.applications()
	remover := &removal.Remover{Store: records, Feed: events}
	statuses := &status.Recorder{Store: records, Feed: events, Streams: s.queue.streams, Applications: applications}
	pipeline := media.New(media.Options{
		Store: records, Feed: events, Profile: s.Profile, Accounts: s.Accounts, GiveUp: s.GiveUp, TempDir: s.tempDir(), FitCache: fits,
		Fetcher: fetch.New(fetch.Options{Upstream: s.Upstream, Allow: s.FetchAllow, MaxBytes: s.MaxMedia, Slots: s.Workers, Cache: bodies}),
		Fitter:  resize.New(resize.Options{Memory: s.FitMemory, MaxPixels: s.MaxPixels}),
	})
	in := inbound.New(inbound.Options{
		Store: records, Feed: events, Media: pipeline, Removal: remover, Status: statuses, GiveUp: s.GiveUp, API: s.twilio,
	})
	links := outbound.Links{Store: records, PublicURL: s.PublicURL, Signer: link.New(s.Secret)}
	out := outbound.New(outbound.Options{
		Store: records, Feed: events, Preparer: &outbound.Preparer{Store: records, Media: pipeline, GiveUp: s.GiveUp},
		Links: links, Status: statuses, Removal: remover, Route: s.Route, Elsewhere: in.Elsewhere,
	})
	if s.Relay {
		out.Sender = &outbound.Sender{Store: records, Feed: events, API: s.twilio, Links: links, PublicURL: s.PublicURL, GiveUp: s.GiveUp}
	}
	in.Outgoing = out.Replay
	posting := forward.Options{
		Applications: applications, Store: records, Feed: events, Client: forward.NewClient(s.FetchAllow), GiveUp: s.GiveUp,
	}
	if s.ForwardReply {
		posting.Hold = forward.ReplyHold
	}
	return ingest.NewWorker(ingest.Options{
		Streams: s.queue.streams, Reject: in.Reject, Log: s.log, Jobs: s.Workers, Drain: drainTimeout, Hold: s.disk.full,
		Handlers: map[stream.Kind]ingest.Handler{
			stream.Inbound:  in.Handle,
			stream.Outbound: out.Handle,
			stream.Status:   out.HandleStatus,
			stream.Replay:   in.Replay,
			stream.Forward:  forward.New(posting).Handle,
			stream.Delete:   remover.Handle,
		},
	})
}

// newReceiver answers webhooks. It takes none while the disk under the embedded
// queue is full.
func (s *service) newReceiver() http.Handler {
	o := receive.Options{
		PublicURL: s.PublicURL, Accounts: s.Accounts, Streams: s.queue.streams, Log: s.log,
		Forward: s.Forward, Store: s.objects.records, Full: s.queueFull(),
	}
	if s.ForwardReply {
		o.Replier = &forward.Replier{
			Applications: s.applications(), Store: s.objects.records, Streams: s.queue.streams, Client: forward.NewClient(s.FetchAllow),
		}
	}
	return receive.New(o)
}

// operations does the work of the operator API and what is done by the clock.
func (s *service) operations() operate.Operations {
	return operate.New(operate.Options{
		Store: s.objects.records, Streams: s.queue.streams, Feed: s.feed(), Removal: &removal.Remover{Store: s.objects.records, Feed: s.feed()},
		Accounts: slices.Collect(maps.Keys(s.Accounts)), API: s.twilio, Log: s.log,
	})
}

// verifier verifies what is stored, when it is asked to and by the clock.
func (s *service) verifier() *verify.Verifier {
	return &verify.Verifier{Store: s.objects.records, Streams: s.queue.streams, Feed: s.feed(), Accounts: slices.Collect(maps.Keys(s.Accounts)), API: s.twilio, Log: s.log}
}
