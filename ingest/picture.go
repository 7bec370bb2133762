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
	head := make([]byte, sniffLength)
	n, err := spool.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("spool: %w", err)
	}
	record.ContentType = contentType(head[:n], declared)
	if resize.Sniff(head[:n]) == "" {
		record.Note = w.asItCame(record)
		return nil
	}

	select { // pictures wait here on disk, not in memory
	case w.pictures <- struct{}{}:
		defer func() { <-w.pictures }()
	case <-ctx.Done():
		return ctx.Err()
	}
	note, err := w.guarded(ctx, d, record, func() error { return w.fitPicture(ctx, hook, record, spool) })
	if note != "" {
		zerolog.Ctx(ctx).Error().Msg(note)
		record.Note = note
	}
	return err
}

// fitPicture makes and stores the variants of the picture in spool.
func (w *Worker) fitPicture(ctx context.Context, hook webhook, record *store.Media, spool *os.File) error {
	data := make([]byte, record.Size)
	if _, err := spool.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("spool: %w", err)
	}
	if info, err := resize.Inspect(data); err == nil {
		record.Width, record.Height = info.Width, info.Height
	}
	results, err := w.Fitter.Fit(ctx, data, w.Profile.Target(hook.pictures()), resize.Thumb)
	if unfit, ok := errors.AsType[*resize.UnfitError](err); ok {
		record.Note = unfit.Error()
		return nil
	}
	if err != nil {
		return fmt.Errorf("fit %s: %w", record.SID, err)
	}
	for _, result := range results {
		variant, err := w.putVariant(ctx, record, result)
		if err != nil {
			return err
		}
		record.Variants = append(record.Variants, variant)
		zerolog.Ctx(ctx).Debug().Str("variant", variant.Name).Str("type", variant.ContentType).
			Int64("from_bytes", record.Size).Int("from_width", record.Width).Int("from_height", record.Height).
			Int64("bytes", variant.Size).Int("width", variant.Width).Int("height", variant.Height).
			Int("quality", variant.Quality).Float64("scale", variant.Scale).Strs("lost", variant.Lost).Bool("pass_through", variant.PassThrough).
			Int64("ms", variant.Milliseconds).Msg("fitted")
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
func (w *Worker) asItCame(record *store.Media) string {
	limit := int64(w.Profile.MaxBytes - w.Profile.Reserve)
	if record.Size > limit {
		return fmt.Sprintf("%s is kept as it came; it is %d bytes over the limit of profile %s", record.ContentType, record.Size-limit, w.Profile.Name)
	}
	return fmt.Sprintf("%s is kept as it came; it is inside the limit of profile %s", record.ContentType, w.Profile.Name)
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
