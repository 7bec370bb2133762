// Package verify compares all that is stored with what it should be: records with their
// keys, blobs with their records, the index and the feed with both. [Verifier.Verify] does
// so when a person asks for it. [Verifier.Scrub] reads the blobs all the time, slowly.
//
// # What is repaired
//
// The record of a message is made again from what the provider knows of it, and that of a
// medium from the feed. Entries of the index, lost events, and the notes of which message
// here a message at the provider is, are made from the records. Workers download or fit
// blobs again.
//
// # What goes into quarantine
//
// Everything damaged, before anything is written in its place. It stays in quarantine until
// its message is deleted. If neither the provider nor the feed knows a message, it keeps a
// bare record, made from the index, so that it can be found, listed and erased; its text and
// its numbers are in the damaged record, if anywhere. A medium that nobody can make again
// goes into quarantine as a whole, and its failure says so.
//
// # What never comes back
//
// A message or a medium that was deleted. If a record is damaged and nothing shows that it
// was not a tombstone, it becomes one again.
package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/damage"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Verifier verifies. All fields but API are required. It may be used from many goroutines.
type Verifier struct {
	Store    *store.Store
	Streams  *stream.Streams
	Feed     *feed.Feed
	Accounts []store.AccountSID
	Log      zerolog.Logger

	API *upstream.Client // the provider's API; without it no message is made anew from there
}

// What became of a [Finding].
const (
	Mended      = "mended"      // it is as it was
	Queued      = "queued"      // a worker makes it again
	Quarantined = "quarantined" // what is left of it is put aside
	Left        = "left"        // it is as it was found
)

// Finding is something that is damaged or missing.
type Finding struct {
	Account store.AccountSID `json:"accountSid"`
	Message store.MessageSID `json:"messageSid,omitzero"`
	Media   store.MediaSID   `json:"mediaSid,omitzero"`
	What    string           `json:"what"` // record, the name of a blob, claim, events or index
	Why     string           `json:"why"`
	Done    string           `json:"done"` // one of the constants above
}

// maxList bounds the findings that are listed. All are counted and logged.
const maxList = 1000

// Verified is what was verified and found, also when an error ended it.
type Verified struct {
	Messages    int       `json:"messages"`
	Media       int       `json:"media"`
	Bytes       int64     `json:"bytes"`   // of blobs that were read
	Events      int       `json:"events"`  // that were compared with the records
	Damaged     int       `json:"damaged"` // things that were found damaged or missing
	Mended      int       `json:"mended"`  // of them
	Queued      int       `json:"queued"`
	Quarantined int       `json:"quarantined"`
	Left        int       `json:"left"`
	Fix         bool      `json:"fix"` // without it nothing was changed
	List        []Finding `json:"list"`
}

// Verify reads everything: all records, all blobs, the index and the feed. With fix it mends
// what is damaged or puts it aside; without it changes nothing. It calls seen, which must
// not be nil, as it goes on, with the counts so far. What is just being worked on is not
// looked at. It may run beside everything else, be interrupted, and begin again.
func (v *Verifier) Verify(ctx context.Context, fix bool, seen func(Verified)) (Verified, error) {
	r := Verified{Fix: fix, List: []Finding{}}
	for _, account := range v.Accounts {
		a := &accountRun{
			Verifier: v, Verified: &r, account: account, seen: seen,
			repair: &repairer{
				Verifier: v, account: account, at: time.Now().UTC(),
				damage: &damage.Reporter{Store: v.Store, Feed: v.Feed, Streams: v.Streams},
			},
			messages: map[store.MessageSID]*lost{},
		}
		if err := a.verify(ctx); err != nil {
			return r, fmt.Errorf("account %s: %w", account, err)
		}
	}
	return r, nil
}

// accountRun verifies one account: it reads, compares, and reports what it finds. Its
// repairer changes what is stored.
type accountRun struct {
	*Verifier
	*Verified
	account store.AccountSID
	repair  *repairer
	seen    func(Verified)

	first    uint64                     // of the feed's events; 0 if it has none
	messages map[store.MessageSID]*lost // that have lost their record, or that of a medium
}

// repairer makes records and media of one account again, or moves what nobody can make
// again into quarantine.
type repairer struct {
	*Verifier
	account store.AccountSID
	at      time.Time // the name in quarantine of what this run moves there
	damage  *damage.Reporter
}

// lost is a message that has lost its record, or those of some media.
type lost struct {
	record  error // what is wrong with the message's own; nil if nothing is
	missing bool  // it is not there at all
	media   []lostMedia
	events  []stream.Entry // of the message, as the feed has them
}

type lostMedia struct {
	key store.MediaKey
	why error
}

// verify finds all damaged records before it repairs any, so that it reads the index and
// the feed once. It compares blobs when the records are whole.
func (a *accountRun) verify(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		a.findFirstEvent, a.readMessages, a.readMedia, a.readFeed, a.repairMessages, a.repairMedia, a.readBlobs, a.verifyIndex,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// report counts, lists and logs a finding.
func (a *accountRun) report(f Finding) {
	f.Account = a.account
	a.Damaged++
	switch f.Done {
	case Mended:
		a.Mended++
	case Queued:
		a.Queued++
	case Quarantined:
		a.Quarantined++
	default:
		f.Done = Left
		a.Left++
	}
	if len(a.List) < maxList {
		a.List = append(a.List, f)
	}
	line := a.Log.Error().Stringer("accountSid", f.Account)
	if !f.Message.IsZero() {
		line.Stringer("messageSid", f.Message)
	}
	if !f.Media.IsZero() {
		line.Stringer("mediaSid", f.Media)
	}
	line.Str("what", f.What).Str("why", f.Why).Str("done", f.Done).Msg("damage found")
}

// progress calls seen with the counts so far.
func (a *accountRun) progress() {
	counts := *a.Verified
	counts.List = nil
	a.seen(counts)
}

// lost returns what is lost of a message.
func (a *accountRun) lost(message store.MessageSID) *lost {
	l := a.messages[message]
	if l == nil {
		l = &lost{}
		a.messages[message] = l
	}
	return l
}

// errMissing is what is wrong with a record that is not there.
var errMissing = errors.New("it is missing")
