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

// errAbandoned ends a flight for reasons of who began it: another one is to begin.
var errAbandoned = errors.New("the fetch was abandoned")

// join begins the flight of a key, or returns the one that is under way. Who
// begins it has to land it.
func (c *Cache) join(key string) (own *flight, other *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other = c.flights[key]; other != nil {
		return nil, other
	}
	own = &flight{done: make(chan struct{}), err: errAbandoned}
	c.flights[key] = own
	return own, nil
}

// land ends a flight. Only what is the host's fault is told to those who wait.
func (c *Cache) land(key string, own *flight) {
	c.mu.Lock()
	delete(c.flights, key)
	c.mu.Unlock()
	close(own.done)
}

// FetchCached is [Fetcher.Fetch] without credentials and by way of
// [Options].Cache: what that has and may use is not asked for again, what came is
// kept if it may be. Nothing that the cache fails at is an error.
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
		case other.err != nil && !errors.Is(other.err, errAbandoned):
			return Response{}, other.err
		}
	}
}

// lead fetches for all who wait.
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

// use is what the cache has to do with one URL of a fetch. A nil one is nothing.
type use struct {
	cache     *Cache
	key       string
	requested time.Time
	stored    *stored
}

// use looks a URL up. Nothing of upstream is kept: what may be read there is a
// matter of credentials.
func (f *Fetcher) use(c *Cache, u *url.URL) *use {
	if c == nil || f.isUpstream(u) {
		return nil
	}
	key := keyOf(u)
	return &use{cache: c, key: key, requested: c.now(), stored: f.open(key)}
}

func (u *use) close() {
	if u != nil {
		u.stored.close()
	}
}

func (u *use) isFresh() bool {
	return u != nil && u.stored != nil && u.stored.fresh(u.requested)
}

// roundTrip sends a request, on condition that the response has changed if there
// is one. A 304 that speaks of another one is no answer: then all is asked for.
func (u *use) roundTrip(via *http.Transport, request *http.Request) (*http.Response, error) {
	if u == nil || u.stored == nil {
		return via.RoundTrip(request)
	}
	u.stored.condition(request.Header)
	response, err := via.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusNotModified || u.stored.confirmed(response.Header) {
		return response, err
	}
	response.Body.Close()
	u.stored.close()
	u.stored = nil
	request.Header.Del("If-None-Match")
	request.Header.Del("If-Modified-Since")
	return via.RoundTrip(request)
}

// confirmed tells whether the host says that what is stored is still right.
func (u *use) confirmed(response *http.Response) bool {
	return u != nil && u.stored != nil && response.StatusCode == http.StatusNotModified
}

// renew serves what the host has confirmed.
func (u *use) renew(response *http.Response, dst io.Writer) (Response, error) {
	u.stored.Header = u.cache.renew(u.key, u.stored, u.requested, response.Header)
	return u.stored.serve(dst)
}

// draft begins to keep a response.
func (u *use) draft(response *http.Response) *draft {
	if u == nil {
		return nil
	}
	return u.cache.draft(u.key, u.requested, response)
}
