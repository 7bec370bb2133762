// Package operate is what people on call ask of the service: what failed, what is
// known of a message, how the queue is doing, to do work again, to find what never
// came, to erase, and to delete the provider's copies of what is kept. Each is a type
// that holds what it uses; [New] makes them all.
//
// Nothing here stores media. Jobs are queued instead, and the workers do them. All of it
// may be interrupted and begun again. A Job that is queued twice within
// [stream.DuplicateWindow] is queued once.
package operate

import (
	"mmspipe/ingest/removal"
	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Options are what the operations work with. All fields but API are required.
type Options struct {
	Store    *store.Store
	Streams  *stream.Streams
	Feed     *feed.Feed
	Removal  *removal.Remover
	Accounts []store.AccountSID // that the service works for

	API *upstream.Client // the provider's API; what needs it returns an error if it is nil
	Log zerolog.Logger
}

// Operations are all that people on call may ask for.
type Operations struct {
	Failures   *Failures
	Inspector  *Inspector
	Eraser     *Eraser
	Reconciler *Reconciler
	Copies     *Copies
	Rechecker  *Rechecker
	Indexer    *Indexer
}

// New returns all operations over the same store and streams.
func New(o Options) Operations {
	return Operations{
		Failures:   &Failures{Store: o.Store, Streams: o.Streams, Accounts: o.Accounts, Log: o.Log},
		Inspector:  &Inspector{Store: o.Store, Streams: o.Streams, Feed: o.Feed, Accounts: o.Accounts, Log: o.Log},
		Eraser:     &Eraser{Store: o.Store, Streams: o.Streams, Feed: o.Feed, Removal: o.Removal, Accounts: o.Accounts, Log: o.Log},
		Reconciler: &Reconciler{Store: o.Store, Streams: o.Streams, Accounts: o.Accounts, API: o.API, Log: o.Log},
		Copies:     &Copies{Store: o.Store, Streams: o.Streams, Feed: o.Feed, Accounts: o.Accounts, API: o.API, Log: o.Log},
		Rechecker:  &Rechecker{Store: o.Store, Streams: o.Streams, Feed: o.Feed, Accounts: o.Accounts, Log: o.Log},
		Indexer:    &Indexer{Store: o.Store, Accounts: o.Accounts},
	}
}

// logDamage logs that a record is damaged where the work goes on without it.
func logDamage(log zerolog.Logger, err error, what string) {
	log.Error().Err(err).Str("hint", "mmspipe verify --fix mends it or puts it aside").Msg(what)
}
