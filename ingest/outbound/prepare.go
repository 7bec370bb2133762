package outbound

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/ingest/media"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Preparer takes the media of outgoing messages to stored and announced records. Its
// fields are required.
type Preparer struct {
	Store  *store.Store
	Media  *media.Pipeline
	GiveUp time.Duration // age of a Job at which a message is given up that is not ready
}

// piece is one medium of an outgoing message in hand.
type piece struct {
	*media.Medium
	fitted bool // it leaves as a picture that was made for the profile
	share  int  // bytes it was fitted into
	fit    media.Fitted
}

// Prepare stores and fits the media of a message. All that it does depends on the stored
// originals alone, so that doing it again has the same result. What keeps the message
// from leaving is an *[unsendable].
func (p *Preparer) Prepare(ctx context.Context, d *stream.Delivery, m store.Message) error {
	profile, err := p.profile(m.Outgoing.Profile)
	if err != nil {
		return err
	}
	// 1. What is there of them?
	pieces, err := p.open(ctx, d, m)
	defer func() {
		for _, piece := range pieces {
			piece.Close()
		}
	}()
	if err != nil {
		return err
	}
	// 2. All originals first: only these tell how the pictures share the bytes that the
	// profile leaves.
	total := &allowance{}
	total.left.Store(maxFetched)
	if err := each(pieces, func(piece *piece) error { return p.fetch(ctx, d, m, piece, total) }); err != nil {
		return err
	}
	if d.Kind == stream.Outbound && !time.Now().Before(p.expiry(d, m)) {
		return unsendableFor(codeExpired, store.ReasonExpired, "the validity period ended before the message was ready")
	}
	// 3. Each picture is fitted into its share.
	if err := fitAll(ctx, profile, pieces); err != nil {
		return err
	}
	// 4. Variants and records follow.
	return each(pieces, func(piece *piece) error { return p.put(ctx, piece) })
}

// profile returns the one that was chosen.
func (p *Preparer) profile(name string) (resize.Profile, error) {
	if name == "" || name == p.Media.Profile.Name {
		return p.Media.Profile, nil
	}
	return resize.ProfileNamed(name)
}

// each does something for all pieces side by side. Of what fails, that which ends
// the message goes before all else, and the first medium before the others.
func each(pieces []*piece, do func(*piece) error) error {
	failures := make([]error, len(pieces))
	var all sync.WaitGroup
	for i, piece := range pieces {
		all.Go(func() { failures[i] = do(piece) })
	}
	all.Wait()
	for _, err := range failures {
		if _, ends := errors.AsType[*unsendable](err); ends {
			return err
		}
	}
	return errors.Join(failures...)
}

// open takes the media of a message in hand. Those that it returns are to be closed,
// also after an error.
func (p *Preparer) open(ctx context.Context, d *stream.Delivery, m store.Message) (pieces []*piece, err error) {
	refs := p.Store.MediaOf(m)
	if len(refs) > maxOutgoing {
		return nil, unsendableFor(codeTooLarge, string(fetch.TooLarge), "%d media are more than %d", len(refs), maxOutgoing)
	}
	for _, ref := range refs {
		ref.ContentType = m.Outgoing.Types[ref.Index]
		medium, err := p.Media.Open(ctx, media.TryOf(d), ref)
		if err != nil {
			return pieces, err
		}
		pieces = append(pieces, &piece{Medium: medium})
		if medium.Stored && !medium.Record.Deleted.IsZero() {
			return pieces, deletedMedium(ref.Index)
		}
	}
	return pieces, nil
}

// fetch makes sure that an original is stored, and tells what it is.
func (p *Preparer) fetch(ctx context.Context, d *stream.Delivery, m store.Message, piece *piece, total *allowance) error {
	if piece.Stored {
		piece.fitted = variantIndex(piece.Record, m.Outgoing.Profile) >= 0
		return total.take(piece.Record.Size)
	}
	ctx = zerolog.Ctx(ctx).With().Stringer("mediaSid", piece.Media).Logger().WithContext(ctx)
	downloaded := false
	err := piece.Original(ctx, func(spool *os.File) (fetch.Response, error) {
		downloaded = true
		response, err := p.download(ctx, piece, metered{spool, total})
		if err == nil && response.Size > 0 {
			err = p.noteType(ctx, m, piece, response.ContentType)
		}
		return response, err
	})
	if err == nil && !downloaded {
		err = errors.Join(total.take(piece.Record.Size), p.adoptType(ctx, m, piece))
	}
	if err != nil {
		return p.trouble(d, m, piece, err)
	}
	piece.fitted = piece.Picture
	return nil
}

// download gets a medium from its host, or from what is kept of it.
func (p *Preparer) download(ctx context.Context, piece *piece, dst metered) (fetch.Response, error) {
	if piece.Credentials {
		return p.Media.Fetcher.Fetch(ctx, piece.URL, p.Media.Credentials(piece.Try, piece.MediaRef), dst)
	}
	return p.Media.Fetcher.FetchCached(ctx, piece.URL, dst)
}

// noteType keeps the type that a host declares of a medium whose bytes do not tell:
// who adopts the original is not told again.
func (p *Preparer) noteType(ctx context.Context, m store.Message, piece *piece, declared string) error {
	head, err := piece.Head()
	if err != nil || media.ContentType(head, declared) == media.ContentType(head) {
		return err
	}
	_, err = p.Store.UpdateMessage(ctx, m.Account, m.SID, func(m *store.Message) error {
		if !m.Deleted.IsZero() {
			return store.ErrDeleted
		}
		if _, noted := m.Outgoing.Types[piece.Index]; noted {
			return store.ErrUnchanged
		}
		if m.Outgoing.Types == nil {
			m.Outgoing.Types = map[int]string{}
		}
		m.Outgoing.Types[piece.Index] = media.ContentType(head, declared)
		return nil
	})
	return err
}

// adoptType tells the type of an original that was stored before, if its bytes do not: the
// worker that stored it has noted before what the host declares, maybe since m was read.
func (p *Preparer) adoptType(ctx context.Context, m store.Message, piece *piece) error {
	if _, accepted := acceptedType(piece.Record.ContentType); accepted || piece.Picture {
		return nil
	}
	m, err := p.Store.Message(ctx, m.Account, m.SID)
	switch {
	case err != nil:
		return err
	case !m.Deleted.IsZero():
		return store.ErrDeleted
	}
	if noted, ok := m.Outgoing.Types[piece.Index]; ok {
		piece.Record.ContentType = noted
	}
	return nil
}

// trouble turns what kept a medium from being downloaded into what ends its message,
// unless it is to be tried again.
//
// Where a host was tried until the message expired, the code still is that of the
// download: it says what is to be mended. A 404 is for good at once, because who posts
// a URL has the medium there; only the provider's own take a while to appear.
func (p *Preparer) trouble(d *stream.Delivery, m store.Message, piece *piece, err error) error {
	if errors.Is(err, media.ErrEmpty) { // who posts a URL has the medium there
		return &unsendable{code: codeDownload, failure: store.Failure{Index: piece.Index, Reason: store.ReasonEmpty, Detail: err.Error()}}
	}
	trouble, ofHost := errors.AsType[*fetch.Error](err)
	if !ofHost {
		return err
	}
	age := time.Duration(math.MaxInt64)
	if piece.Credentials {
		age = time.Since(d.Queued)
	}
	if time.Now().Before(p.expiry(d, m)) && !ingest.PermanentFetch(trouble, age) {
		return err
	}
	return &unsendable{code: downloadCode(trouble.Reason), failure: store.Failure{
		Index: piece.Index, Reason: string(trouble.Reason), Detail: err.Error(), Status: trouble.Status,
	}}
}

// downloadCode is Twilio's code for a medium that could not be downloaded.
func downloadCode(reason fetch.Reason) int {
	switch reason {
	case fetch.TooLarge:
		return codeTooLarge
	case fetch.UnsupportedScheme, fetch.ForbiddenAddress, fetch.TooManyRedirects:
		return codeUnreachable
	}
	return codeDownload
}

// expiry is when a message is given up that is not ready by then: at the end of its
// validity period, if that is before what is tried for is given up in general.
func (p *Preparer) expiry(d *stream.Delivery, m store.Message) time.Time {
	return dueSince(d, m).Add(min(validityOf(m), p.GiveUp))
}

// metered is where a medium is downloaded to, as long as its message may have more.
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

func (a *allowance) take(n int64) error {
	if a.left.Add(-n) < 0 {
		return unsendableFor(codeTooLarge, string(fetch.TooLarge), "the media have more than %d bytes together", maxFetched)
	}
	return nil
}

// put stores the variants and the record of a medium, and announces it.
func (p *Preparer) put(ctx context.Context, piece *piece) error {
	if piece.Stored {
		return piece.Finish(ctx)
	}
	if piece.fitted {
		if err := piece.PutVariants(ctx, piece.fit); err != nil {
			return err
		}
	}
	return piece.Put(ctx)
}
