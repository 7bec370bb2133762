package fetch

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"mmspipe/ingest/fetch/freshness"
)

// blockSize is what the record of an entry takes at the beginning of its file. The
// body follows. A response whose fields need more is not kept.
const blockSize = 4 << 10

// record is what is known of a stored response. The URL is not in it: its query
// may be a secret.
type record struct {
	Header    http.Header // see freshness.Fields
	Requested time.Time
	Size      int64
	SHA256    []byte // of the body
}

var errDamaged = errors.New("the entry is damaged")

// block is a record with its checksum.
func (r record) block() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	sum := sha256.Sum256(text)
	block := append(sum[:], text...)
	if len(block) > blockSize {
		return nil, errors.New("the record is too large")
	}
	return append(block, make([]byte, blockSize-len(block))...), nil
}

// parseRecord reads a block.
func parseRecord(block []byte) (record, error) {
	if len(block) != blockSize {
		return record{}, errDamaged
	}
	text := bytes.TrimRight(block[sha256.Size:], "\x00")
	if sum := sha256.Sum256(text); !bytes.Equal(sum[:], block[:sha256.Size]) {
		return record{}, errDamaged
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, errDamaged
	}
	return r, nil
}

// fresh tells whether the response may be used without asking its host. One from
// the future, because the clock was set back, may not.
func (r record) fresh(now time.Time) bool {
	return !now.Before(r.Requested) && now.Before(freshness.Until(r.Header, r.Requested))
}

// stored is an entry that is open and has been checked. It stays whole when its
// file is replaced or removed. A nil one is none.
type stored struct {
	record
	file *os.File // at the body
}

// check reads the body through and tells whether it is the one that was stored.
func (s *stored) check() error {
	if _, err := s.file.Seek(blockSize, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, s.file)
	if err != nil {
		return err
	}
	if n != s.Size || !bytes.Equal(sum.Sum(nil), s.SHA256) {
		return errDamaged
	}
	_, err = s.file.Seek(blockSize, io.SeekStart)
	return err
}

// serve writes the body to dst.
func (s *stored) serve(dst io.Writer) (Response, error) {
	n, err := io.Copy(dst, s.file)
	if err != nil {
		return Response{}, fmt.Errorf("copy stored body: %w", err)
	}
	return Response{ContentType: s.Header.Get("Content-Type"), Size: n, Cached: true}, nil
}

// condition makes a request conditional (RFC 9111 section 4.3.1).
func (s *stored) condition(h http.Header) {
	if tag := s.Header.Get("Etag"); tag != "" {
		h.Set("If-None-Match", tag)
	}
	if modified := s.Header.Get("Last-Modified"); modified != "" {
		h.Set("If-Modified-Since", modified)
	}
}

// confirmed tells whether a 304 speaks of this response, not of another one (RFC
// 9111 section 4.3.4).
func (s *stored) confirmed(notModified http.Header) bool {
	mine, named := s.Header.Get("Etag"), notModified.Get("Etag")
	return mine == "" || named == "" || strings.TrimPrefix(mine, "W/") == strings.TrimPrefix(named, "W/")
}

func (s *stored) close() {
	if s != nil {
		s.file.Close()
	}
}

// draft is an entry that is being written beside what a caller gets. Its errors
// end it, and nothing else. A nil one is none.
type draft struct {
	record
	cache *Cache
	key   string
	file  *os.File // nil when it has ended
	hash  hash.Hash
}

// Write implements [io.Writer]. It never fails.
func (d *draft) Write(p []byte) (int, error) {
	if d.file == nil {
		return len(p), nil
	}
	d.Size += int64(len(p))
	if blockSize+d.Size > d.cache.maxBytes {
		d.discard()
		return len(p), nil
	}
	d.hash.Write(p)
	if _, err := d.file.Write(p); err != nil {
		d.discard()
	}
	return len(p), nil
}

// tee returns a writer to dst and to the draft.
func (d *draft) tee(dst io.Writer) io.Writer {
	if d == nil {
		return dst
	}
	return io.MultiWriter(dst, d)
}

// keep makes the draft an entry. The body is whole.
func (d *draft) keep() {
	if d == nil || d.file == nil {
		return
	}
	d.SHA256 = d.hash.Sum(nil)
	block, err := d.block()
	if err == nil {
		_, err = d.file.WriteAt(block, 0)
	}
	if err != nil {
		d.discard()
		return
	}
	if err := d.file.Close(); err != nil || !d.cache.put(d.key, d.record, d.file.Name()) {
		os.Remove(d.file.Name())
	}
	d.file = nil
}

// discard ends the draft, if keep did not.
func (d *draft) discard() {
	if d == nil || d.file == nil {
		return
	}
	d.file.Close()
	os.Remove(d.file.Name())
	d.file = nil
}
