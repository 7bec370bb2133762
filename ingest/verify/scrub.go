package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"mmspipe/store"
	"mmspipe/store/damage"
)

const (
	// scrubEach is the time between the starts of two rounds: once a month, as the tools
	// for RAID and ZFS of Debian do by themselves.
	scrubEach = 30 * 24 * time.Hour

	// scrubRate bounds what is read, in bytes a second. It is a tenth of what one hard
	// disk reads, and 20 TB a month.
	scrubRate = 8 << 20

	// scrubSave is the time between two notes of how far it came.
	scrubSave = time.Minute

	// scrubLease is after what time without a note another process goes on. A medium of
	// the largest size takes seconds.
	scrubLease = 15 * time.Minute

	// scrubLook is the time between two looks whether there is something to do.
	scrubLook = time.Minute
)

// Scrub reads the blobs of all media once a month, at a bounded rate, until ctx ends.
// Damage becomes a failure, is told by the feed and made good by a worker, as when a client
// asks for the medium. Of several processes with one bucket one reads at a time. How far
// it came is kept in the bucket: after a restart it goes on.
func (v *Verifier) Scrub(ctx context.Context) {
	holder := rand.Text()
	tick := time.NewTicker(scrubLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := v.ScrubRound(ctx, holder); err != nil && ctx.Err() == nil {
			v.Log.Error().Err(err).Msg("scrub was interrupted; it goes on")
		}
	}
}

// scrubRound is a round under way.
type scrubRound struct {
	*Verifier
	state                store.Scrub
	holder               string
	damage               *damage.Reporter
	media, damagedOrLost int
	bytes                int64
}

// ScrubRound does what is left of the round that is due, for a holder that no other process
// has the name of. It does nothing if none is due, or another holder is at work.
func (v *Verifier) ScrubRound(ctx context.Context, holder string) error {
	state, err := v.Store.Scrub(ctx)
	if err != nil {
		return err
	}
	switch {
	case state.Reading && state.Holder != holder && time.Since(state.Renewed) < scrubLease:
		return nil
	case !state.Reading && time.Since(state.Started) < scrubEach:
		return nil
	case !state.Reading:
		state.Started, state.Reading, state.After = time.Now().UTC(), true, nil
	}
	r := &scrubRound{
		Verifier: v, state: state, holder: holder,
		damage: &damage.Reporter{Store: v.Store, Feed: v.Feed, Streams: v.Streams},
	}
	err = r.read(ctx)
	if errors.Is(err, store.ErrPrecondition) {
		return nil // another process has taken over
	}
	if err != nil {
		return err
	}
	v.Log.Info().Time("since", r.state.Started).Int("media", r.media).Int64("bytes", r.bytes).Int("damaged", r.damagedOrLost).Msg("scrub is through")
	return nil
}

// read reads from where the state is, and notes how far it came: at the end, from time to
// time, and when ctx ends.
func (r *scrubRound) read(ctx context.Context) (err error) {
	var after store.MediaKey
	if r.state.After != nil {
		after = *r.state.After
	}
	if err := r.save(ctx); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			err = errors.Join(err, r.save(last))
		}
	}()
	for key, err := range r.Store.MediaKeys(ctx, store.AccountSID{}, store.MessageSID{}, after) {
		if err != nil {
			return err
		}
		if err := r.medium(ctx, key); err != nil {
			return err
		}
		r.state.After = &key
		if time.Since(r.state.Renewed) > scrubSave {
			if err := r.save(ctx); err != nil {
				return err
			}
		}
	}
	r.state.Reading, r.state.After = false, nil
	return r.save(ctx)
}

func (r *scrubRound) save(ctx context.Context) (err error) {
	r.state.Holder, r.state.Renewed = r.holder, time.Now().UTC()
	next, err := r.Store.PutScrub(ctx, r.state)
	if err == nil {
		r.state = next
	}
	return err
}

// medium reads the blobs of one medium, and waits as long as the rate wants.
func (r *scrubRound) medium(ctx context.Context, key store.MediaKey) error {
	record, names, err := damagedBlobs(ctx, r.Store, r.Streams, key)
	if err != nil {
		return err
	}
	if record.SID.IsZero() {
		if _, err := r.Store.Media(ctx, key); errors.Is(err, store.ErrDamaged) {
			record, names = store.Media{Account: key.Account, Message: key.Message, SID: key.Media}, []string{"record"}
		}
	}
	r.media++
	r.bytes += record.TotalSize()
	if len(names) > 0 {
		r.damagedOrLost++
		if err := r.report(ctx, record, names); err != nil {
			return err
		}
	}
	pause := time.NewTimer(time.Duration(record.TotalSize()) * time.Second / scrubRate)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (r *scrubRound) report(ctx context.Context, record store.Media, names []string) error {
	r.Log.Error().Stringer("accountSid", record.Account).Stringer("messageSid", record.Message).Stringer("mediaSid", record.SID).
		Strs("damaged", names).Msg("scrub found damage")
	var err error
	if names[0] == "record" { // no worker mends that
		_, err = r.damage.Note(ctx, record, names...)
	} else {
		_, err = r.damage.Report(ctx, record, names...)
	}
	if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound) {
		r.Log.Error().Err(err).Str("hint", "mmspipe verify --fix mends it or puts it aside").Msg("damage cannot be noted")
		return nil
	}
	return err
}
