package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// flight is a fetch that others wait for, as it may fill the cache.
type flight struct {
	done chan struct{}
	err  error // when it is done
}

// errUnanswered ends a flight that its own caller ended before the host did. Another one
// has to begin.
var errUnanswered = errors.New("the fetch was ended before the host answered")

// join begins the flight of a key, or returns the one that is under way. Whoever
// begins it must land it.
func (c *Cache) join(key string) (own *flight, other *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other = c.flights[key]; other != nil {
		return nil, other
	}
	own = &flight{done: make(chan struct{}), err: errUnanswered}
	c.flights[key] = own
	return own, nil
}

// land ends a flight, whose error is set by now.
func (c *Cache) land(key string, own *flight) {
	c.mu.Lock()
	delete(c.flights, key)
	c.mu.Unlock()
	close(own.done)
}

// FetchCached is [Fetcher.Fetch] without credentials and through [Options].Cache. It asks
// no host for a body that the cache has and may use, and keeps a body that may be kept. A
// cache that fails is no error.
//
// Callers that ask for the same URL at the same time share one request, and its
// [*Error], while each has its own dst and may leave by its own ctx. What may not
// be used without asking again, such as no-cache and no-store, is asked for by
// each (RFC 9111 section 4).
func (f *Fetcher) FetchCached(ctx context.Context, rawURL string, dst io.Writer) (Response, error) {
	c := f.o.Cache
	u, err := parse(rawURL)
	if err != nil {
		return Response{}, err
	}
	if c == nil || f.isUpstream(u) {
		return f.slotted(ctx, u, nil, nil, dst)
	}
	for key := keyOf(u); ; {
		if err := ctx.Err(); err != nil {
			return Response{}, err
		}
		if s := f.fresh(key); s != nil {
			defer s.close()
			return s.serve(dst)
		}
		own, other := c.join(key)
		if own != nil {
			return f.lead(ctx, u, key, own, dst)
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return Response{}, ctx.Err()
		}
		switch {
		case other.err == nil && !c.isFresh(key):
			return f.slotted(ctx, u, nil, c, dst)
		case other.err != nil && !errors.Is(other.err, errUnanswered):
			return Response{}, other.err
		}
	}
}

// lead fetches for all who wait. They get the errors that the host is to blame for.
func (f *Fetcher) lead(ctx context.Context, u *url.URL, key string, own *flight, dst io.Writer) (Response, error) {
	defer f.o.Cache.land(key, own)
	response, err := f.slotted(ctx, u, nil, f.o.Cache, dst)
	if _, ofHost := errors.AsType[*Error](err); err == nil || ofHost {
		own.err = err
	}
	return response, err
}

// fresh returns the entry of a key that may be used without asking its host.
func (f *Fetcher) fresh(key string) *stored {
	if !f.o.Cache.isFresh(key) {
		return nil
	}
	return f.open(key)
}

// open returns the entry of a key unless it is larger than what is fetched.
func (f *Fetcher) open(key string) *stored {
	s := f.o.Cache.open(key)
	if s != nil && s.Size > f.o.MaxBytes {
		s.close()
		return nil
	}
	return s
}

// resource is what the cache has to do with one URL of a fetch. A nil one is
// nothing.
type resource struct {
	cache     *Cache
	key       string
	requested time.Time
	stored    *stored
}

// resource looks a URL up. Nothing of upstream is kept: what may be read there is a
// matter of credentials.
func (f *Fetcher) resource(c *Cache, u *url.URL) *resource {
	if c == nil || f.isUpstream(u) {
		return nil
	}
	key := keyOf(u)
	return &resource{cache: c, key: key, requested: c.now(), stored: f.open(key)}
}

func (r *resource) close() {
	if r != nil {
		r.stored.close()
	}
}

func (r *resource) isFresh() bool {
	return r != nil && r.stored != nil && r.stored.fresh(r.requested)
}

// roundTrip sends a request, on condition that the response has changed if there
// is one. A 304 that speaks of another one is no answer: then all is asked for.
func (r *resource) roundTrip(via *http.Transport, request *http.Request) (*http.Response, error) {
	if r == nil || r.stored == nil {
		return via.RoundTrip(request)
	}
	r.stored.condition(request.Header)
	response, err := via.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusNotModified || r.stored.confirmed(response.Header) {
		return response, err
	}
	response.Body.Close()
	r.stored.close()
	r.stored = nil
	request.Header.Del("If-None-Match")
	request.Header.Del("If-Modified-Since")
	return via.RoundTrip(request)
}

// confirmed tells whether the host says that what is stored is still right.
func (r *resource) confirmed(response *http.Response) bool {
	return r != nil && r.stored != nil && response.StatusCode == http.StatusNotModified
}

// renew serves what the host has confirmed.
func (r *resource) renew(response *http.Response, dst io.Writer) (Response, error) {
	r.stored.Header = r.cache.renew(r.key, r.stored, r.requested, response.Header)
	return r.stored.serve(dst)
}

// draft begins to keep a response.
func (r *resource) draft(response *http.Response) *draft {
	if r == nil {
		return nil
	}
	return r.cache.draft(r.key, r.requested, response)
}
