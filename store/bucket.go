package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound is wrapped by the error of every read of a key, record or blob
// that does not exist.
var ErrNotFound = errors.New("not found")

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
type Bucket interface {
	// Put stores size bytes from r under key if cond holds, and returns what
	// was stored. It is all or nothing: after an error, whether of r, of the
	// context or of the store, readers see what they saw before, or (when only
	// the answer was lost) the whole new object, never a part. An r that ends
	// early or holds more than size bytes is an error. When Put returns nil,
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
	// that there are no more. The prefix is any string; it need not end at a
	// slash. What is put or deleted while a listing is paged may or may not be
	// in it; everything else is in it exactly once.
	List(ctx context.Context, prefix, after string, limit int) ([]Object, error)
}

// Object describes what is stored under a key.
type Object struct {
	Key      string
	Size     int64
	ETag     string // opaque; differs whenever the content was put again
	Modified time.Time
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
