package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"strings"

	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/stream"

	"github.com/gabriel-vasile/mimetype"
	"github.com/rs/zerolog"
)

// fit tells the type of what is in spool and, if it is a picture that can be
// decoded, makes and stores its variants. A picture that cannot be fitted is
// kept as it came, and the record's Note says why.
func (w *Worker) fit(ctx context.Context, d *stream.Delivery, hook webhook, declared string, record *store.Media, spool *os.File) error {
	isPicture, err := sniff(record, declared, spool)
	if err != nil {
		return err
	}
	if !isPicture {
		record.Note = asItCame(record, w.Profile)
		return nil
	}
	note, err := w.guarded(ctx, d, record, w.Profile.Name, func() error { return w.fitPicture(ctx, hook, record, spool) })
	if note != "" {
		zerolog.Ctx(ctx).Error().Msg(note)
		record.Note = note
	}
	return err
}

// slot waits until another picture may be in memory: they wait on disk. A suspect
// waits for its turn first (see [poison]), so that no two wait for each other.
func (w *Worker) slot(ctx context.Context) (release func(), err error) {
	select {
	case w.pictures <- struct{}{}:
		return func() { <-w.pictures }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sniff sets the type of what is in spool, and tells whether it is a picture that may
// be decoded.
func sniff(record *store.Media, declared string, spool *os.File) (isPicture bool, err error) {
	head, err := readHead(spool)
	if err != nil {
		return false, err
	}
	record.ContentType = contentType(head, declared)
	return resize.Sniff(head) != "", nil
}

// readHead reads what a medium's type is told from.
func readHead(spool *os.File) ([]byte, error) {
	head := make([]byte, sniffLength)
	n, err := spool.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return head[:n], nil
}

// fitPicture makes and stores the variants of the picture in spool.
func (w *Worker) fitPicture(ctx context.Context, hook webhook, record *store.Media, spool *os.File) error {
	release, err := w.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	fit, err := w.fitSpooled(ctx, record, spool, w.Profile.Target(hook.pictures()), resize.Thumb)
	record.Width, record.Height = fit.Width, fit.Height
	if unfit, ok := errors.AsType[*resize.UnfitError](err); ok {
		record.Note = unfit.Error()
		return nil
	}
	if err != nil {
		return err
	}
	return w.putVariants(ctx, record, fit)
}

// fitted is what was made of one picture.
type fitted struct {
	Width, Height int // of the picture as it came; 0 if they are not to be told
	Results       []resize.Result
}

// fitSpooled makes pictures for the targets from the one in spool. With an
// *[resize.UnfitError] the size of the picture is still told.
func (w *Worker) fitSpooled(ctx context.Context, record *store.Media, spool *os.File, targets ...resize.Target) (fit fitted, err error) {
	data := make([]byte, record.Size)
	if _, err := spool.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return fit, fmt.Errorf("spool: %w", err)
	}
	if info, err := resize.Inspect(data); err == nil {
		fit.Width, fit.Height = info.Width, info.Height
	}
	fit.Results, err = w.Fitter.Fit(ctx, data, targets...)
	if err != nil {
		return fit, fmt.Errorf("fit %s: %w", record.SID, err)
	}
	for _, result := range fit.Results {
		zerolog.Ctx(ctx).Debug().Str("variant", result.Name).Str("type", result.ContentType).
			Int64("from_bytes", record.Size).Int("from_width", fit.Width).Int("from_height", fit.Height).
			Int("bytes", len(result.Data)).Int("width", result.Width).Int("height", result.Height).
			Int("quality", result.Quality).Float64("scale", result.Scale).Strs("lost", result.Lost).Bool("pass_through", result.PassThrough).
			Int64("ms", result.Elapsed.Milliseconds()).Msg("fitted")
	}
	return fit, nil
}

// putVariants stores what was made of a picture and notes it in its record.
func (w *Worker) putVariants(ctx context.Context, record *store.Media, fit fitted) error {
	for _, result := range fit.Results {
		variant, err := w.putVariant(ctx, record, result)
		if err != nil {
			return err
		}
		record.Variants = append(record.Variants, variant)
	}
	return nil
}

// pictures counts the pictures among a message's media by what the webhook says
// of them, so that each one's share of the limit is known before any is fetched.
func (h webhook) pictures() int {
	n := 0
	for _, m := range h.media {
		if strings.HasPrefix(strings.ToLower(m.contentType), "image/") {
			n++
		}
	}
	return max(n, 1)
}

// asItCame is the note of a medium that is not fitted.
func asItCame(record *store.Media, p resize.Profile) string {
	limit := int64(p.MaxBytes - p.Reserve)
	if record.Size > limit {
		return fmt.Sprintf("%s is kept as it came; it is %d bytes over the limit of profile %s", record.ContentType, record.Size-limit, p.Name)
	}
	return fmt.Sprintf("%s is kept as it came; it is inside the limit of profile %s", record.ContentType, p.Name)
}

// putVariant stores a fitted picture. One that a try before this stored is
// adopted and described as it is, should another version have made it.
func (w *Worker) putVariant(ctx context.Context, record *store.Media, result resize.Result) (store.Variant, error) {
	variant := store.Variant{
		Name: result.Name, ContentType: result.ContentType, Width: result.Width, Height: result.Height,
		Quality: result.Quality, Scale: result.Scale, PassThrough: result.PassThrough, Lost: result.Lost,
		Milliseconds: result.Elapsed.Milliseconds(),
	}
	blob, adopted, err := w.Store.PutBlob(ctx, record.Account, record.Message, record.SID, result.Name, bytes.NewReader(result.Data), int64(len(result.Data)))
	if err != nil {
		return variant, err
	}
	variant.Blob = blob
	sum := sha256.Sum256(result.Data)
	if !adopted || blob.SHA256 == hex.EncodeToString(sum[:]) {
		return variant, nil
	}
	stored, _, err := w.Store.OpenBlob(ctx, record.Account, record.Message, record.SID, result.Name)
	if err != nil {
		return variant, err
	}
	defer stored.Close()
	data, err := io.ReadAll(stored)
	if err != nil {
		return variant, fmt.Errorf("read variant %s of %s: %w", result.Name, record.SID, err)
	}
	info, err := resize.Inspect(data)
	if err != nil {
		return variant, fmt.Errorf("variant %s of %s: %w", result.Name, record.SID, err)
	}
	variant.ContentType, variant.Width, variant.Height, variant.Quality = info.ContentType, info.Width, info.Height, 0
	if record.Width > 0 {
		variant.Scale = float64(info.Width) / float64(record.Width)
	}
	return variant, nil
}

// sniffLength is how much of a medium is looked at for its type, mimetype's own
// default (https://pkg.go.dev/github.com/gabriel-vasile/mimetype#SetLimit).
const sniffLength = 3072

// maxType bounds a declared type: both of its names may have 127 characters (RFC
// 6838 section 4.2).
const maxType = 255

// contentType tells a medium's type from its first bytes. What was declared is
// believed only where these say no more than that it is text, or nothing: every
// picture worth showing is told by its bytes.
func contentType(head []byte, declared string) string {
	sniffed, _, _ := strings.Cut(mimetype.Detect(head).String(), ";")
	declared, _, err := mime.ParseMediaType(declared)
	if err != nil || len(declared) > maxType {
		return sniffed
	}
	group, _, _ := strings.Cut(declared, "/")
	switch {
	case sniffed == "text/plain" && group == "text",
		sniffed == "application/octet-stream" && (group == "audio" || group == "video" || group == "application"):
		return declared
	}
	return sniffed
}
