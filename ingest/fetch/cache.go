package fetch

import (
	"cmp"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mmspipe/ingest/fetch/freshness"
)

// draftPrefix begins the names of files that are being written.
const draftPrefix = "draft-"

// Cache keeps bodies in a directory, for [Fetcher.FetchCached]. It may be used
// from many goroutines, but a directory by one Cache only. Fetchers that share one
// should have the same Allow: it guards what is dialled, and what is fresh is not.
type Cache struct {
	dir      string
	maxBytes int64
	now      func() time.Time

	mu      sync.Mutex
	entries map[string]*list.Element // by key, of *entry
	recent  *list.List               // the last used first
	bytes   int64                    // of all entries' files
	flights map[string]*flight
}

// entry is what is held in memory of a file of the directory.
type entry struct {
	key string // and the file's name
	record
}

// bytes is the size of the file.
func (e *entry) bytes() int64 { return blockSize + e.Size }

// OpenCache opens the cache in dir, which it makes if need be. Its files take up
// maxBytes at most, besides those that are being downloaded: then the least
// recently used ones go, in this order also after a restart. What a crash left
// half written is removed. A file that is not the cache's is left alone.
func OpenCache(dir string, maxBytes int64) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	c := &Cache{
		dir: dir, maxBytes: maxBytes, now: time.Now,
		entries: map[string]*list.Element{}, recent: list.New(), flights: map[string]*flight{},
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return c, nil
}

// load finds the entries in the directory.
func (c *Cache) load() error {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	used := map[*entry]time.Time{}
	for _, file := range files {
		name := file.Name()
		if strings.HasPrefix(name, draftPrefix) {
			os.Remove(c.path(name))
		}
		if key, err := hex.DecodeString(name); err != nil || len(key) != sha256.Size {
			continue
		}
		record, at, err := readRecord(c.path(name))
		if err != nil {
			os.Remove(c.path(name))
			continue
		}
		used[&entry{name, record}] = at
	}
	oldest := slices.SortedFunc(maps.Keys(used), func(a, b *entry) int { return cmp.Or(used[a].Compare(used[b]), cmp.Compare(a.key, b.key)) })
	for _, e := range oldest {
		c.add(e)
	}
	return nil
}

// readRecord reads the record of a file, and when the entry was last used.
func readRecord(path string) (record, time.Time, error) {
	file, err := os.Open(path)
	if err != nil {
		return record{}, time.Time{}, err
	}
	defer file.Close()
	block := make([]byte, blockSize)
	if _, err := io.ReadFull(file, block); err != nil {
		return record{}, time.Time{}, err
	}
	r, err := parseRecord(block)
	if err != nil {
		return record{}, time.Time{}, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != blockSize+r.Size {
		err = errDamaged
	}
	if err != nil {
		return record{}, time.Time{}, err
	}
	return r, info.ModTime(), nil
}

func (c *Cache) path(name string) string { return filepath.Join(c.dir, name) }

// keyOf is what a response is kept under: a hash, as a URL may hold secrets.
func keyOf(u *url.URL) string {
	sum := sha256.Sum256([]byte(bare(u)))
	return hex.EncodeToString(sum[:])
}

// open returns the entry of a key, nil if there is none that is whole and could
// be used again.
func (c *Cache) open(key string) *stored {
	e, file := c.find(key)
	if e == nil {
		return nil
	}
	s := &stored{record: e.record, file: file}
	if err := s.check(); err != nil {
		s.close()
		c.drop(e)
		return nil
	}
	return s
}

// find opens the file of an entry and makes it the last used.
func (c *Cache) find(key string) (*entry, *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.entries[key]
	if element == nil {
		return nil, nil
	}
	e := element.Value.(*entry)
	file, err := os.Open(c.path(key))
	if err != nil || !e.fresh(c.now()) && !freshness.HasValidator(e.Header) {
		c.remove(element)
		return nil, nil
	}
	c.recent.MoveToFront(element)
	now := time.Now()
	_ = os.Chtimes(c.path(key), now, now) // only for the order after a restart
	return e, file
}

// isFresh tells whether a key's entry may be used without asking its host.
func (c *Cache) isFresh(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.entries[key]
	return element != nil && element.Value.(*entry).fresh(c.now())
}

// draft begins an entry for a response to a request of that time. It is nil if
// the response is not to be kept, and then a 200 ends what was kept before.
func (c *Cache) draft(key string, requested time.Time, response *http.Response) *draft {
	if response.StatusCode != http.StatusOK {
		return nil
	}
	if !freshness.Storable(response.Header, requested) || !delimited(response) {
		c.forget(key)
		return nil
	}
	return c.create(key, record{Header: freshness.Fields(response.Header), Requested: requested})
}

// create begins an entry. It is nil where that fails.
func (c *Cache) create(key string, r record) *draft {
	file, err := os.CreateTemp(c.dir, draftPrefix+"*")
	if err != nil {
		return nil
	}
	d := &draft{record: r, cache: c, key: key, file: file, hash: sha256.New()}
	if _, err := file.Seek(blockSize, io.SeekStart); err != nil {
		d.discard()
	}
	return d
}

// delimited tells whether the end of the body can be told from a connection that
// broke (RFC 9112 section 8).
func delimited(response *http.Response) bool {
	return response.ContentLength >= 0 || slices.Contains(response.TransferEncoding, "chunked") || response.ProtoMajor > 1
}

// put makes a complete file the entry of a key, and makes room for it.
func (c *Cache) put(key string, r record, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[key]; old != nil {
		c.remove(old)
	}
	if err := os.Rename(name, c.path(key)); err != nil {
		return false
	}
	c.add(&entry{key, r})
	return true
}

// renew gives an entry the fields of a 304, and removes it if it may be kept no
// longer. It returns what they are now. This is in memory alone: after a restart
// the entry is stale once more, as it was before its host was asked.
func (c *Cache) renew(key string, s *stored, requested time.Time, notModified http.Header) http.Header {
	header := freshness.Update(s.Header, notModified)
	if !freshness.Storable(header, requested) {
		c.forget(key)
		return header
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.entries[key]
	if element == nil || !slices.Equal(element.Value.(*entry).SHA256, s.SHA256) {
		return header
	}
	r := s.record
	r.Header, r.Requested = header, requested
	element.Value = &entry{key, r}
	return header
}

// add takes an entry in as the last used and removes others while there are too
// many.
func (c *Cache) add(e *entry) {
	c.entries[e.key] = c.recent.PushFront(e)
	c.bytes += e.bytes()
	for c.bytes > c.maxBytes && c.recent.Len() > 0 {
		c.remove(c.recent.Back())
	}
}

// remove ends an entry. Who has it open keeps it.
func (c *Cache) remove(element *list.Element) {
	e := c.recent.Remove(element).(*entry)
	delete(c.entries, e.key)
	c.bytes -= e.bytes()
	os.Remove(c.path(e.key))
}

// drop removes an entry unless it has been replaced.
func (c *Cache) drop(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.entries[e.key]; element != nil && element.Value == any(e) {
		c.remove(element)
	}
}

// forget removes the entry of a key.
func (c *Cache) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.entries[key]; element != nil {
		c.remove(element)
	}
}
