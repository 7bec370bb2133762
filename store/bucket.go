package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrNotFound is wrapped by the error of every read of a key, record or blob
// that does not exist.
var ErrNotFound = errors.New("not found")

// ErrDamaged is wrapped by the error of every read of a record that is there and cannot
// be read, or is that of another key.
var ErrDamaged = errors.New("damaged")

// ErrPrecondition is wrapped by the error of a [Bucket.Put] whose [Condition]
// does not hold. Nothing was written then.
var ErrPrecondition = errors.New("precondition failed")

// Bucket keeps objects under keys. It is the one interface of the project and
// has two implementations, [Dir] and [MinIO], which pass one suite
// (store/storetest). All methods may be called at once from many goroutines,
// and by several processes where the implementation says so.
//
// A method whose context ends returns an error that wraps the context's.
// Errors name the key.
//
// A key is 1 to 1024 bytes of UTF-8 without control characters. It has segments
// of 1 to 255 bytes with single slashes between them, and none is "." or "..".
// Every method refuses any other key. No key may be a folder of another, as "a"
// is of "a/b": Dir cannot store both, and MinIO leaves the inner one out of its
// listings.
type Bucket interface {
	// Put stores size bytes from r under key if cond holds, and returns what
	// was stored. It is all or nothing: after an error, whether of r, of the
	// context or of the store, readers see what they saw before, or (when only
	// the answer was lost) the whole new object, never a part. An r that ends
	// early or holds more than size bytes is an error. Put does not read r after
	// it has returned, so it waits for a read that is under way. When it returns nil,
	// the object is as durable as the store can make it.
	Put(ctx context.Context, key string, r io.Reader, size int64, cond Condition) (Object, error)

	// Get reads length bytes of key from offset, or to its end if length is
	// negative or reaches past it. The Object describes all of what is stored,
	// not the range. An offset past the end reads as empty. The caller closes
	// the reader, at any time. An absent key is ErrNotFound.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, Object, error)

	// Stat describes key. An absent key is ErrNotFound.
	Stat(ctx context.Context, key string) (Object, error)

	// Delete removes key. An absent key is no error.
	Delete(ctx context.Context, key string) error

	// List returns at most limit objects whose keys begin with prefix and are
	// greater than after, in byte order of their keys. Fewer than limit means
	// that there are no more. The prefix is empty, a key, or a key and a
	// slash; it need not end where a segment does. What is put or deleted while a listing is paged may or may not be
	// in it; everything else is in it exactly once.
	List(ctx context.Context, prefix, after string, limit int) ([]Object, error)
}

// Object describes what is stored under a key.
type Object struct {
	Key      string
	Size     int64
	ETag     string    // opaque; differs whenever other content was put
	Modified time.Time // when it was put; zero in what [MinIO.Put] returns
}

// Condition is what must hold for a [Bucket.Put] to write. The zero value
// always holds.
type Condition struct {
	ifAbsent bool
	ifMatch  string
}

// IfAbsent holds if there is no object under the key: of several racing
// writers exactly one succeeds.
func IfAbsent() Condition { return Condition{ifAbsent: true} }

// IfMatch holds if the object under the key has this ETag. An absent object
// does not match.
func IfMatch(etag string) Condition { return Condition{ifMatch: etag} }

// checkKey holds the rules of [Bucket] for keys. 1024 bytes are the limit of S3
// (Amazon S3 User Guide, "Naming Amazon S3 objects"), 255 those of a name in a
// Linux file system and of a segment in MinIO, which also refuses the empty and
// dotted segments.
func checkKey(key string) error {
	if len(key) > 1024 {
		return fmt.Errorf("malformed key %.40q…: longer than 1024 bytes", key)
	}
	if !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
		return fmt.Errorf("malformed key %q: not UTF-8, or a control character", key)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
			return fmt.Errorf("malformed key %q: segment %.40q", key, segment)
		}
	}
	return nil
}

// checkPrefix holds the rules of [Bucket.List] for prefixes.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return checkKey(strings.TrimSuffix(prefix, "/"))
}

// checkPut holds the rules for what a [Bucket.Put] is given.
func checkPut(key string, size int64) error {
	if size < 0 {
		return fmt.Errorf("negative size %d", size)
	}
	return checkKey(key)
}

// exactly reads the size bytes that a [Bucket.Put] was promised. It holds the
// last bytes back until the source has ended, so that no store ever gets a
// whole object from a source that is too long.
type exactly struct {
	ctx  context.Context // of the Put; ends the reading between two reads
	r    io.Reader
	left int64

	mu  sync.Mutex // held while r is read
	err error      // the first one, kept because HTTP clients replace it
}

func (e *exactly) Read(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.read(p)
	e.err = err
	return n, err
}

// stop ends the reading, waits for a read under way, and returns the error that
// ended it before, if any. An HTTP client goes on reading a body for a while
// after an early answer; the source is the caller's again when Put returns.
func (e *exactly) stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.err
	e.err = io.ErrClosedPipe
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (e *exactly) read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	var n int
	if e.left > 0 {
		var err error
		n, err = e.r.Read(p[:min(int64(len(p)), e.left)])
		e.left -= int64(n)
		switch {
		case errors.Is(err, io.EOF) && e.left > 0:
			return 0, fmt.Errorf("body ends %d bytes early: %w", e.left, io.ErrUnexpectedEOF)
		case err != nil && !errors.Is(err, io.EOF):
			return 0, err
		case e.left > 0:
			return n, nil
		}
	}
	var extra [1]byte
	_, err := io.ReadFull(e.r, extra[:])
	switch {
	case errors.Is(err, io.EOF):
		return n, io.EOF
	case err == nil:
		return 0, errors.New("body is longer than its size")
	default:
		return 0, err
	}
}
