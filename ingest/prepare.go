package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// piece is one medium of an outgoing message in hand.
type piece struct {
	ref     mediaRef
	own     bool // it is on the provider's origin, for the account's credentials
	record  store.Media
	stored  bool // the record is in the bucket
	damaged bool // and its blobs are to be made again
	start   time.Time

	spool   *os.File // the original; nil if it is stored
	picture bool     // it leaves fitted
	share   int      // bytes it was fitted into
	fit     fitted
}

// prepare takes the media of an outgoing message to stored and announced records.
// No record is made before all originals are stored, because only these tell how the
// pictures share the bytes that the profile leaves. All that it does depends on the
// stored originals alone, so that doing it again has the same result. What keeps the
// message from leaving is an *[unsendable].
func (w *Worker) prepare(ctx context.Context, d *stream.Delivery, message store.Message) error {
	profile, err := w.profile(message.Outgoing.Profile)
	if err != nil {
		return err
	}
	pieces, err := w.pieces(ctx, d, message)
	defer closeSpools(pieces)
	if err != nil {
		return err
	}
	total := newAllowance(maxFetched)
	err = each(pieces, func(p *piece) error { return w.fetchPiece(ctx, d, message, p, total) })
	if err != nil {
		return err
	}
	if d.Kind == stream.Outbound && !time.Now().Before(w.expiry(d, message)) {
		return &unsendable{code: codeExpired, failure: store.Failure{Reason: reasonExpired, Detail: "the validity period ended before the message was ready"}}
	}
	if err := w.fitPieces(ctx, d, profile, pieces); err != nil {
		return err
	}
	return each(pieces, func(p *piece) error { return w.storePiece(ctx, d, p) })
}

// each does something for all pieces side by side. Of what fails, that which ends
// the message goes before all else, and the first medium before the others.
func each(pieces []*piece, do func(*piece) error) error {
	failures := make([]error, len(pieces))
	var all sync.WaitGroup
	for i, p := range pieces {
		all.Go(func() { failures[i] = do(p) })
	}
	all.Wait()
	for _, err := range failures {
		if _, ends := errors.AsType[*unsendable](err); ends {
			return err
		}
	}
	return errors.Join(failures...)
}

func closeSpools(pieces []*piece) {
	for _, p := range pieces {
		if p.spool != nil {
			p.spool.Close()
		}
	}
}

// pieces finds out what there is of a message's media.
func (w *Worker) pieces(ctx context.Context, d *stream.Delivery, message store.Message) (pieces []*piece, err error) {
	refs := outgoingHook(message).media
	if len(refs) > maxOutgoing {
		return nil, &unsendable{code: codeTooLarge, failure: store.Failure{Reason: string(fetch.TooLarge), Detail: fmt.Sprintf("%d media are more than %d", len(refs), maxOutgoing)}}
	}
	for i, ref := range refs {
		sid, _ := w.Store.Identify(message.Account, message.SID, i, ref.url, w.Upstream)
		p := &piece{ref: ref, own: store.IsAccounts(message.Account, ref.url, w.Upstream), start: time.Now()}
		p.ref.contentType = message.Outgoing.Types[i]
		p.record, err = w.Store.Media(ctx, message.Account, message.SID, sid)
		p.stored = err == nil
		if p.stored && d.Kind == stream.Replay {
			p.damaged, err = w.clearDamage(ctx, p.record)
		}
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return pieces, err
		case !p.record.Deleted.IsZero():
			return pieces, deletedMedium(i)
		}
		if !p.stored || p.damaged {
			p.record = store.Media{
				Account: message.Account, Message: message.SID, SID: sid, Index: i, Attempts: d.Attempt, DateCreated: p.start.UTC(),
			}
			if p.spool, err = w.newSpool(); err != nil {
				return pieces, err
			}
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

// fetchPiece makes sure that an original is stored, and tells what it is.
func (w *Worker) fetchPiece(ctx context.Context, d *stream.Delivery, message store.Message, p *piece, total *allowance) error {
	if p.spool == nil {
		_, _, p.picture = variantNamed(p.record, message.Outgoing.Profile)
		return total.take(p.record.Size)
	}
	ctx = zerolog.Ctx(ctx).With().Stringer("mediaSid", p.record.SID).Logger().WithContext(ctx)
	got := false
	declared, err := w.original(ctx, p.ref, &p.record, p.spool, func(spool *os.File) (fetch.Response, error) {
		got = true
		response, err := w.fetchOutgoing(ctx, d, p, metered{spool, total})
		if err == nil {
			err = w.noteType(ctx, message, p, response.ContentType)
		}
		return response, err
	})
	if err == nil && !got {
		err = total.take(p.record.Size)
	}
	if err != nil {
		return w.outgoingTrouble(d, message, p, err)
	}
	p.picture, err = sniff(&p.record, declared, p.spool)
	return err
}

// fetchOutgoing gets a medium from its host, or from what is kept of it.
func (w *Worker) fetchOutgoing(ctx context.Context, d *stream.Delivery, p *piece, dst metered) (fetch.Response, error) {
	var response fetch.Response
	var err error
	if p.own {
		response, err = w.Fetcher.Fetch(ctx, p.ref.url, w.credentials(d, true), dst)
	} else {
		response, err = w.Fetcher.FetchCached(ctx, p.ref.url, dst)
	}
	if err == nil && response.Size == 0 {
		err = &unsendable{code: codeDownload, failure: store.Failure{Index: p.record.Index, Reason: reasonEmpty, Detail: fmt.Sprintf("medium %d has no bytes", p.record.Index)}}
	}
	return response, err
}

// noteType keeps the type that a host declares of a medium whose bytes do not tell:
// who adopts the original is not told again.
func (w *Worker) noteType(ctx context.Context, message store.Message, p *piece, declared string) error {
	head, err := readHead(p.spool)
	if err != nil || contentType(head, declared) == contentType(head, "") {
		return err
	}
	_, err = w.Store.UpdateMessage(ctx, message.Account, message.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return errDeleted
		}
		if _, noted := m.Outgoing.Types[p.record.Index]; noted {
			return errUnchanged
		}
		if m.Outgoing.Types == nil {
			m.Outgoing.Types = map[int]string{}
		}
		m.Outgoing.Types[p.record.Index] = contentType(head, declared)
		return nil
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return err
}

// metered is where a medium is fetched to, as long as its message may have more.
type metered struct {
	spool *os.File
	total *allowance
}

// Write implements [io.Writer].
func (m metered) Write(b []byte) (int, error) {
	if err := m.total.take(int64(len(b))); err != nil {
		return 0, err
	}
	return m.spool.Write(b)
}

// allowance is how many bytes the media of a message may still have together.
type allowance struct{ left atomic.Int64 }

func newAllowance(n int64) *allowance {
	a := &allowance{}
	a.left.Store(n)
	return a
}

func (a *allowance) take(n int64) error {
	if a.left.Add(-n) < 0 {
		return &unsendable{code: codeTooLarge, failure: store.Failure{Reason: string(fetch.TooLarge), Detail: fmt.Sprintf("the media have more than %d bytes together", maxFetched)}}
	}
	return nil
}

// fitPieces fits the pictures of a message into what the profile leaves, each into
// its share. One that cannot be fitted leaves as it came, and the others share what
// it leaves.
func (w *Worker) fitPieces(ctx context.Context, d *stream.Delivery, profile resize.Profile, pieces []*piece) error {
	for {
		shares, err := shareOut(profile, pieces)
		if err != nil {
			return err
		}
		var asTheyCame atomic.Int64
		err = each(pieces, func(p *piece) error {
			share := shares[p.record.Index]
			if !p.picture || p.spool == nil || share == p.share {
				return nil
			}
			p.share = share
			err := w.fitPiece(ctx, d, profile, p)
			unfit, ok := errors.AsType[*resize.UnfitError](err)
			if !ok {
				return err
			}
			asTheyCame.Add(1)
			p.picture, p.record.Note = false, unfit.Error()
			return nil
		})
		if err != nil || asTheyCame.Load() == 0 {
			return err
		}
	}
}

// shareOut gives each picture its bytes, by its place in the message, and finds out
// whether the other media may leave as they came.
func shareOut(profile resize.Profile, pieces []*piece) (map[int]int, error) {
	var fixed int64
	var pictures, sizes []int
	for i, p := range pieces {
		if p.picture {
			pictures, sizes = append(pictures, i), append(sizes, wants(p, profile))
			continue
		}
		accepted, ok := acceptedType(p.record.ContentType)
		if !ok {
			return nil, &unsendable{code: codeType, failure: store.Failure{Index: i, Reason: reasonType, Detail: fmt.Sprintf("medium %d is %s", i, p.record.ContentType)}}
		}
		p.record.ContentType = accepted
		fixed += p.record.Size
	}
	if fixed > maxLeaving {
		return nil, &unsendable{code: codeTooLarge, failure: store.Failure{Reason: string(fetch.TooLarge), Detail: fmt.Sprintf("media that cannot shrink have %d bytes", fixed)}}
	}
	shares, err := resize.Shares(profile, int(fixed), sizes)
	if err != nil {
		return nil, &unsendable{code: codeCarrier, failure: store.Failure{Reason: reasonCarrier, Detail: err.Error()}}
	}
	byPlace := map[int]int{}
	for i, picture := range pictures {
		byPlace[picture] = shares[i]
	}
	return byPlace, nil
}

// fitPiece fits one picture into its share.
func (w *Worker) fitPiece(ctx context.Context, d *stream.Delivery, profile resize.Profile, p *piece) error {
	ctx = zerolog.Ctx(ctx).With().Stringer("mediaSid", p.record.SID).Logger().WithContext(ctx)
	target := profile.Target(1)
	target.MaxBytes = p.share
	targets := []resize.Target{target, resize.Thumb}
	name, err := fitName(p.record.SHA256, targets)
	if err != nil {
		return err
	}
	kept := false
	if p.fit, kept = w.keptFit(ctx, name); !kept {
		note, err := w.guarded(ctx, d, &p.record, profile.Name, func() (err error) {
			p.fit, err = w.fitOnce(ctx, name, &p.record, p.spool, targets)
			return err
		})
		if note != "" {
			zerolog.Ctx(ctx).Error().Msg(note)
			err = &resize.UnfitError{Reason: note}
		}
		if err != nil {
			return err
		}
	}
	p.record.Width, p.record.Height = p.fit.Width, p.fit.Height
	return nil
}

// storePiece stores the variants and the record of a medium, and announces it.
func (w *Worker) storePiece(ctx context.Context, d *stream.Delivery, p *piece) error {
	if p.spool == nil {
		return w.finish(ctx, d, p.record)
	}
	if p.picture {
		if err := w.putVariants(ctx, &p.record, p.fit); err != nil {
			return err
		}
	}
	p.record.Milliseconds, p.record.DateUpdated = time.Since(p.start).Milliseconds(), time.Now().UTC()
	put := w.Store.CreateMedia
	if p.damaged {
		put = w.replaceMedia
	}
	record, created, err := put(ctx, p.record)
	if err != nil {
		return err
	}
	if created {
		zerolog.Ctx(ctx).Info().Stringer("mediaSid", record.SID).Int64("bytes", record.Size).Str("type", record.ContentType).
			Str("note", record.Note).Int("variants", len(record.Variants)).Int64("ms", record.Milliseconds).Msg("stored")
	}
	return w.finish(ctx, d, record)
}
