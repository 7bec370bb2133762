package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
)

// PutBlob stores size bytes from r as the blob name of a medium and describes
// it. If that blob is there already it stays as it is: PutBlob reads and
// describes what is stored and adopted is true; r may have been read in part.
// The name is [Original] or a variant's: lower-case letters, digits, hyphens.
func (s *Store) PutBlob(ctx context.Context, medium MediaKey, name string, r io.Reader, size int64) (b Blob, adopted bool, err error) {
	if err := checkName(name); err != nil {
		return Blob{}, false, err
	}
	key := s.BlobKey(medium, name)
	hash := sha256.New()
	_, err = s.bucket.Put(ctx, key, io.TeeReader(r, hash), size, IfAbsent())
	if errors.Is(err, ErrPrecondition) {
		b, err = s.describeBlob(ctx, key)
		return b, true, err
	}
	if err != nil {
		return Blob{}, false, err
	}
	return Blob{Size: size, SHA256: hex.EncodeToString(hash.Sum(nil))}, false, nil
}

// describeBlob reads all of a stored blob.
func (s *Store) describeBlob(ctx context.Context, key string) (Blob, error) {
	r, _, err := s.bucket.Get(ctx, key, 0, -1)
	if err != nil {
		return Blob{}, err
	}
	defer r.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	if err != nil {
		return Blob{}, fmt.Errorf("read blob %s: %w", key, err)
	}
	return Blob{Size: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// OpenBlob returns a reader of a blob and the blob's size, or [ErrNotFound].
// Seeking costs nothing; the first read after it opens the blob there, so that
// http.ServeContent reads only what it sends. The reader ends with ctx and is
// for one goroutine; the caller closes it.
func (s *Store) OpenBlob(ctx context.Context, medium MediaKey, name string) (io.ReadSeekCloser, int64, error) {
	if err := checkName(name); err != nil {
		return nil, 0, fmt.Errorf("open blob: %w: %w", err, ErrNotFound)
	}
	key := s.BlobKey(medium, name)
	o, err := s.bucket.Stat(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return &blobReader{ctx: ctx, bucket: s.bucket, key: key, size: o.Size}, o.Size, nil
}

// HasOriginal tells whether the original of a medium is there, of whatever content.
func (s *Store) HasOriginal(ctx context.Context, medium MediaKey) (bool, error) {
	_, err := s.bucket.Stat(ctx, s.BlobKey(medium, Original))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// DeleteBlobs removes all blobs of a medium, and whatever is in quarantine of it. None
// is no error. The record must be a tombstone by then.
func (s *Store) DeleteBlobs(ctx context.Context, medium MediaKey) error {
	if err := s.deleteQuarantined(ctx, quarantineFolder(medium.Account, medium.Message), "/"+medium.Media.s); err != nil {
		return err
	}
	for o, err := range walk(ctx, s.bucket, medium.blobs(), "", maxPage) {
		if err != nil {
			return err
		}
		if err := s.bucket.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// DeleteAllBlobs removes all blobs of those media of a message that are tombstones. The
// others keep theirs: a record of them may be visible, or become so at any moment.
func (s *Store) DeleteAllBlobs(ctx context.Context, account AccountSID, message MessageSID) error {
	buried := MediaSID{} // the last tombstone; a record is listed before its blobs
	for o, err := range walk(ctx, s.bucket, mediaFolder(account, message), "", maxPage) {
		if err != nil {
			return err
		}
		medium, name, ok := ParseMediaKey(o.Key)
		switch {
		case !ok:
		case name == "":
			m, err := s.Media(ctx, medium)
			if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
				return err
			}
			if !m.Deleted.IsZero() {
				buried = medium.Media
			}
		case medium.Media == buried:
			if err := s.bucket.Delete(ctx, o.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// DeleteBlob removes one blob of a medium. None is no error.
func (s *Store) DeleteBlob(ctx context.Context, medium MediaKey, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return s.bucket.Delete(ctx, s.BlobKey(medium, name))
}

// Damaged reads all blobs of a record and returns the names of those that are not
// there or not what the record says. A store that keeps its word has none.
func (s *Store) Damaged(ctx context.Context, m Media) (names []string, err error) {
	blobs := map[string]Blob{Original: m.Blob}
	for _, v := range m.Variants {
		blobs[v.Name] = v.Blob
	}
	for name, want := range blobs {
		got, err := s.describeBlob(ctx, s.BlobKey(m.Key(), name))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if got != want {
			names = append(names, name)
		}
	}
	return names, nil
}

// maxPage is the most that one S3 listing returns.
const maxPage = 1000

// walk yields all objects below prefix that come after a key, in order. It asks
// for a page when the one before it is used up.
func walk(ctx context.Context, b Bucket, prefix, after string, page int) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		after := after
		for {
			list, err := b.List(ctx, prefix, after, page)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, o := range list {
				if !yield(o, nil) {
					return
				}
				after = o.Key
			}
			if len(list) < page {
				return
			}
		}
	}
}

// blobReader reads an object from wherever it was last sought to.
type blobReader struct {
	ctx    context.Context // of OpenBlob; io.Reader has no place for one
	bucket Bucket
	key    string
	size   int64
	offset int64
	open   io.ReadCloser // reads from offset; nil after a seek
}

func (b *blobReader) Read(p []byte) (int, error) {
	if b.offset >= b.size {
		return 0, io.EOF
	}
	if b.open == nil {
		r, o, err := b.bucket.Get(b.ctx, b.key, b.offset, -1)
		if err != nil {
			return 0, err
		}
		if o.Size != b.size {
			r.Close()
			return 0, fmt.Errorf("read blob %s: size changed from %d to %d", b.key, b.size, o.Size)
		}
		b.open = r
	}
	n, err := b.open.Read(p)
	b.offset += int64(n)
	if errors.Is(err, io.EOF) && b.offset < b.size {
		err = fmt.Errorf("read blob %s: %w", b.key, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.offset
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fmt.Errorf("seek blob %s: offset %d, whence %d", b.key, offset, whence)
	}
	if offset == b.offset {
		return offset, nil
	}
	b.offset = offset
	return offset, b.Close()
}

// Close ends the read in progress; another Read would begin one anew.
func (b *blobReader) Close() error {
	if b.open == nil {
		return nil
	}
	err := b.open.Close()
	b.open = nil
	return err
}
