package operate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"mmspipe/ingest/upstream"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// errNoUpstream says that a command needs the provider's API.
var errNoUpstream = errors.New("the provider's API is not configured")

// settled is how old a message is when all its media are listed upstream that ever
// will be: Twilio's propagation takes seconds (help article 44750147594523), and the
// media of an outgoing message come when they have been fetched.
const settled = 15 * time.Minute

// Reconciler finds what the provider has and the store does not. It may be used from
// many goroutines.
type Reconciler struct {
	Store    *store.Store
	Streams  *stream.Streams
	Accounts []store.AccountSID
	API      *upstream.Client // the provider's; if it is nil, Reconcile returns an error
	Log      zerolog.Logger
}

// ReconcileOptions say what is compared.
type ReconcileOptions struct {
	Account store.AccountSID // all accounts of the Reconciler if zero
	Since   time.Time        // from the beginning if zero
	Until   time.Time        // included; up to now if zero
	Fix     bool             // queue what is missing
}

// The reasons why a message is missing, the worst that holds for one of its media.
const (
	NoRecord     = "no-record"     // the message itself is not known
	MediaMissing = "media-missing" // media have neither a record nor a failure
	MediaFailed  = "failed"        // media were given up
)

// Missing is a message that lacks something which upstream has.
type Missing struct {
	Account store.AccountSID `json:"accountSid"`
	Message store.MessageSID `json:"messageSid"`
	Date    time.Time        `json:"date"` // when it was sent or received
	Media   int              `json:"media"`
	Why     string           `json:"why"`
}

// Progress is how far a comparison has come.
type Progress struct {
	Account  store.AccountSID `json:"accountSid"`
	Pages    int              `json:"pages"`    // of all accounts so far
	Messages int              `json:"messages"` // with media, that were looked at
	Missing  int              `json:"missing"`
	// Position is the date of the oldest message of Account that was handled. A
	// new call with that account and Until = Position goes on from there.
	Position time.Time `json:"position"`
}

// Reconciled is what a comparison found, also when an error ended it.
type Reconciled struct {
	Progress
	MissingMedia  int       `json:"missingMedia"`
	Queued        int       `json:"queued"`        // messages
	AlreadyQueued int       `json:"alreadyQueued"` // by a call within stream.DuplicateWindow
	GoneMedia     int       `json:"goneMedia"`     // neither upstream nor here
	List          []Missing `json:"list"`
}

// Reconcile asks upstream for the messages with media of a time, compares them with
// what is stored, and tells what is missing; with Fix it queues one Job for each
// message that lacks something. What was deleted here is not missing. A message that
// is just being received may be told as missing; its Job then finds it done.
//
// It calls progress, unless that is nil, after each page of upstream's list. After
// an error, also of ctx, the result tells how far it came, and a new call may go on
// from there, or from the beginning: what was queued before is not queued again, as
// long as the stream remembers it ([stream.DuplicateWindow]).
//
// It costs a request for two hundred messages and one for each that does not have
// as many media here as upstream says, and three calls of the bucket for a message
// with one medium.
func (c *Reconciler) Reconcile(ctx context.Context, options ReconcileOptions, progress func(Progress)) (Reconciled, error) {
	r := Reconciled{List: []Missing{}}
	if c.API == nil {
		return r, errNoUpstream
	}
	accounts := c.Accounts
	if !options.Account.IsZero() {
		accounts = []store.AccountSID{options.Account}
	}
	for _, account := range accounts {
		r.Account, r.Position = account, options.Until
		for page, err := range c.API.Messages(ctx, account, options.Since, options.Until) {
			if err != nil {
				return r, err
			}
			for _, m := range page {
				if err := c.reconcile(ctx, account, m, options.Fix, &r); err != nil {
					return r, err
				}
				r.Position = m.Date
			}
			r.Pages++
			if progress != nil {
				progress(r.Progress)
			}
		}
	}
	return r, nil
}

// reconcile compares one message.
func (c *Reconciler) reconcile(ctx context.Context, account store.AccountSID, m upstream.Message, fix bool, r *Reconciled) error {
	if m.NumMedia == 0 {
		return nil
	}
	_, err := c.Store.Claimed(ctx, account, m.SID)
	if err == nil || errors.Is(err, store.ErrDamaged) { // it was sent from here, and has its media under another SID
		r.Messages++
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	missing, gone, err := c.compare(ctx, account, m)
	if err != nil {
		return err
	}
	duplicate := false
	if fix && len(missing.media) > 0 {
		duplicate, err = c.Streams.PublishJob(ctx, stream.NewReplayFromUpstream(account, m.SID, missing.run()))
		if err != nil {
			return err
		}
	}
	r.Messages++
	r.GoneMedia += gone
	if len(missing.media) == 0 {
		return nil
	}
	r.Missing++
	r.MissingMedia += len(missing.media)
	r.List = append(r.List, Missing{Account: account, Message: m.SID, Date: m.Date, Media: len(missing.media), Why: missing.why})
	switch {
	case fix && duplicate:
		r.AlreadyQueued++
	case fix:
		r.Queued++
	}
	return nil
}

// lack is what a message lacks.
type lack struct {
	media []string // SIDs, and where it has failed the Job that gave up
	why   string
}

// run makes the id of the Job, which is the same as long as the same is missing. A medium
// that has failed again since is a reason to try again.
func (l lack) run() string {
	return fmt.Sprintf("reconcile:%.16x", sha256.Sum256(fmt.Append(nil, l.why, l.media)))
}

// compare tells which media of a message upstream has and the store does not, and
// how many neither of them has.
func (c *Reconciler) compare(ctx context.Context, account store.AccountSID, m upstream.Message) (missing lack, gone int, err error) {
	record, err := c.Store.Message(ctx, account, m.SID)
	if errors.Is(err, store.ErrDamaged) { // it is here, and has to be mended, not fetched
		logDamage(c.Log, err, "message is not compared with the provider's")
		return lack{}, 0, nil
	}
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) || !record.Deleted.IsZero() {
		return lack{}, 0, err
	}
	media, err := c.Store.ListMediaRecords(ctx, account, m.SID)
	if errors.Is(err, store.ErrDamaged) {
		logDamage(c.Log, err, "media are not compared with the provider's")
		return lack{}, 0, nil
	}
	if err != nil || known && len(media) >= m.NumMedia {
		return lack{}, 0, err
	}
	listed, err := c.API.Media(ctx, account, m.SID)
	if trouble, ok := errors.AsType[*upstream.Error](err); ok && trouble.Status == http.StatusNotFound {
		listed, err = nil, nil // deleted since it was listed
	}
	if err != nil {
		return lack{}, 0, err
	}
	missing.why = NoRecord
	if known {
		missing.why = MediaFailed
	}
	here := len(media)
	for _, medium := range listed {
		switch failure, failed := failureOf(record, medium.SID); {
		case isHere(record, media, medium.SID):
			here--
			continue
		case failed:
			missing.media = append(missing.media, fmt.Sprintf("%s/%d", medium.SID, failure.Job))
		default:
			missing.media = append(missing.media, medium.SID.String())
			if known {
				missing.why = MediaMissing
			}
		}
	}
	if time.Since(m.Date) >= settled {
		gone = max(m.NumMedia-len(listed)-here, 0) // here are those that upstream has no more
	}
	return missing, gone, nil
}

// isHere tells whether a medium that upstream lists has a record or a tombstone,
// under its own SID or, where its URL was of another origin, under a derived one.
func isHere(m store.Message, media []store.Media, sid store.MediaSID) bool {
	index := m.MediaIndex(sid)
	return slices.ContainsFunc(media, func(record store.Media) bool {
		return record.SID == sid || index >= 0 && record.Index == index
	})
}

// failureOf returns why a medium that upstream lists was given up here.
func failureOf(m store.Message, sid store.MediaSID) (store.Failure, bool) {
	if failure, ok := m.Failures[sid]; ok {
		return failure, true
	}
	index := m.MediaIndex(sid)
	for _, failure := range m.Failures {
		if index >= 0 && failure.Index == index {
			return failure, true
		}
	}
	return store.Failure{}, false
}
