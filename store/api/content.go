package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"mmspipe/store"
	"mmspipe/store/mediatype"
	"mmspipe/store/rest"
)

const (
	// linkLife is how long a signed link is good for, as Twilio's are
	// (https://help.twilio.com/articles/223183748).
	linkLife = 4 * time.Hour

	// publicAge is how long caches keep public content. It never changes, but it
	// can be deleted.
	publicAge = 5 * time.Minute

	// awaitPause is how often a medium that is waited for is looked for.
	awaitPause = 100 * time.Millisecond
)

// content is GET …/Media/{ME}: the bytes of the original, or of ?variant=NAME.
func (a *api) content(w http.ResponseWriter, r *http.Request, p path) error {
	if err := allow(r, http.MethodGet, http.MethodHead, http.MethodDelete); err != nil {
		return err
	}
	if a.MediaAuth == "public" {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "ETag, Repr-Digest")
		return a.serveContent(w, r, p, fmt.Sprintf("public, max-age=%d", int(publicAge.Seconds())))
	}
	if expires, ok := a.Links.Verify(r.URL.Path, r.URL.Query(), time.Now()); ok {
		return a.serveContent(w, r, p, fmt.Sprintf("private, max-age=%d", int(time.Until(expires).Seconds())))
	}
	if err := a.authorize(r, p, false); err != nil {
		return err
	}
	return a.redirect(w, r, p)
}

// blob is one stored object of a medium.
type blob struct {
	media       store.Media
	name        string
	contentType string
	store.Blob
}

// findBlob returns what a path and the query's variant name.
func (a *api) findBlob(r *http.Request, p path) (blob, error) {
	if err := a.await(r, p); err != nil {
		return blob{}, err
	}
	m, err := a.find(r, p)
	if err != nil {
		return blob{}, err
	}
	name := r.URL.Query().Get("variant")
	if name == "" || name == store.Original {
		return blob{m, store.Original, m.ContentType, m.Blob}, nil
	}
	i := slices.IndexFunc(m.Variants, func(v store.Variant) bool { return v.Name == name })
	if i < 0 {
		return blob{}, rest.NotFound(r)
	}
	v := m.Variants[i]
	return blob{m, v.Name, v.ContentType, v.Blob}, nil
}

// await waits until a medium is recorded, for [Options].MediaWait at most and only
// while a Job of its message is queued, which is looked up without the bucket.
func (a *api) await(r *http.Request, p path) error {
	account, message, err := p.sids(r)
	sid, err2 := store.ParseMediaSID(p.media)
	if a.MediaWait == 0 || err != nil || err2 != nil {
		return nil // and is not found
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.MediaWait)
	defer cancel()
	for {
		queued, err := a.Streams.Queued(ctx, account, message)
		if err == nil && queued {
			_, err = a.Store.Media(ctx, store.MediaKey{Account: account, Message: message, Media: sid})
		}
		switch {
		case ctx.Err() != nil && r.Context().Err() == nil: // long enough
			return nil
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		case !queued || err == nil:
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(awaitPause):
		}
	}
}

// redirect leads whoever has credentials to a link that needs none.
func (a *api) redirect(w http.ResponseWriter, r *http.Request, p path) error {
	b, err := a.findBlob(r, p)
	if err != nil {
		return err
	}
	location := r.URL.Path + "?" + a.Links.Sign(r.URL.Path, r.URL.Query().Get("variant"), time.Now().Add(linkLife)).Encode()
	if a.Presign != nil {
		body, err := a.open(r, b)
		if err != nil {
			return err
		}
		body.Close()
		key := a.Store.BlobKey(b.media.Key(), b.name)
		signed, err := a.Presign(r.Context(), key, linkLife, b.contentType, b.disposition())
		if err != nil {
			return err
		}
		location = signed.String()
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// serveContent sends the bytes, with conditional and range requests.
func (a *api) serveContent(w http.ResponseWriter, r *http.Request, p path, caching string) error {
	b, err := a.findBlob(r, p)
	if err != nil {
		return err
	}
	body, err := a.open(r, b)
	if err != nil {
		return err
	}
	defer body.Close()
	header := w.Header()
	if sum, err := hex.DecodeString(b.SHA256); err == nil { // RFC 9530, section 3; of all the bytes, also where a range is sent
		header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	header.Set("Content-Type", b.contentType)
	header.Set("Content-Disposition", b.disposition())
	header.Set("ETag", `"`+b.SHA256+`"`)
	header.Set("Cache-Control", caching)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	http.ServeContent(w, r, "", b.media.DateCreated, body)
	return nil
}

// open opens a blob that has the size that its record says.
func (a *api) open(r *http.Request, b blob) (io.ReadSeekCloser, error) {
	body, size, err := a.Store.OpenBlob(r.Context(), b.media.Key(), b.name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, a.damaged(r, b, "it is missing")
	case err != nil:
		return nil, err
	case size != b.Size:
		body.Close()
		return nil, a.damaged(r, b, fmt.Sprintf("it has %d bytes, and its record says %d", size, b.Size))
	}
	return body, nil
}

// damaged is the answer for a blob that is not what the record says, and reports it, unless
// the medium was deleted or made again since its record was read, or is being worked on.
func (a *api) damaged(r *http.Request, b blob, why string) error {
	again, err := a.Store.Media(r.Context(), b.media.Key())
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !again.Deleted.IsZero():
		return rest.NotFound(r)
	case err != nil:
		return err
	case again.Revision != b.media.Revision:
		return rest.Unavailable()
	}
	queued, err := a.Streams.Queued(r.Context(), b.media.Account, b.media.Message)
	if err == nil && !queued {
		_, err = a.damage.Report(r.Context(), b.media, b.name)
	}
	return errors.Join(fmt.Errorf("%w: %s of %s: %s", rest.Damaged(), b.name, b.media.SID, why), err)
}

// disposition lets a browser show pictures, audio and video, and save the rest,
// under a name made of what is known to be harmless: the SID and the extension of
// the type.
func (b blob) disposition() string {
	name := b.media.SID.String()
	if b.name != store.Original {
		name += "-" + b.name
	}
	how := "attachment"
	if mediatype.Inline(b.contentType) {
		how = "inline"
	}
	return fmt.Sprintf("%s; filename=%q", how, name+mediatype.Extension(b.contentType))
}
