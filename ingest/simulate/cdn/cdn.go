// Package cdn stands in for the host that Twilio's API redirects to for the content of
// media: signed links that expire, and bodies that arrive well or badly.
//
// Like S3 it refuses a request that has an Authorization header beside the signature of
// its link. Everything is kept in memory.
package cdn

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// linkLife is how long a link is good unless [New] is told otherwise (Twilio Help,
// article 223183748).
const linkLife = 4 * time.Hour

// Object is what links lead to.
type Object struct {
	Path        string // below the origin, without a slash before it
	Data        []byte
	ContentType string
	Modified    time.Time

	deleted   bool
	downloads int
}

// link is a signed URL.
type link struct {
	object  *Object
	fault   Fault
	expires time.Time
}

// CDN serves objects to those who have a link. Its methods may be called from many
// goroutines.
type CDN struct {
	origin string
	life   time.Duration

	mu       sync.Mutex
	links    map[string]link // by signature
	expiring []string        // the signatures, in the order in which they expire
}

// New returns a CDN under an origin, such as http://127.0.0.1:8091. Its links are good
// for life; if that is 0, for Twilio's four hours.
func New(origin string, life time.Duration) *CDN {
	return &CDN{origin: origin, life: cmp.Or(life, linkLife), links: map[string]link{}}
}

// Link makes a signed URL of an object. The fault happens to every request for it.
func (c *CDN) Link(o *Object, fault Fault) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for len(c.expiring) > 0 && now.After(c.links[c.expiring[0]].expires) {
		delete(c.links, c.expiring[0])
		c.expiring = c.expiring[1:]
	}
	expires := now.Add(c.life)
	signature := rand.Text()
	c.links[signature] = link{o, fault, expires}
	c.expiring = append(c.expiring, signature)
	return fmt.Sprintf("%s/%s?Expires=%d&Signature=%s&Key-Pair-Id=SIMULATED", c.origin, o.Path, expires.Unix(), signature)
}

// Delete deletes an object. Its links are answered 404 from then on.
func (c *CDN) Delete(o *Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.deleted = true
}

// Downloads returns how often an object was asked for with a good link.
func (c *CDN) Downloads(o *Object) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return o.downloads
}

// Signatures returns those of all links that were made and have not expired, in no
// order. A handler must let nobody see them.
func (c *CDN) Signatures() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.links))
}

// ServeHTTP answers as the host that the API redirects to.
func (c *CDN) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>", http.StatusBadRequest)
		return
	}
	l, known, deleted := c.follow(r.URL.Query().Get("Signature"))
	if deleted {
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
		return
	}
	if !known || time.Now().After(l.expires) || l.fault == Forbidden {
		http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
		return
	}
	if l.fault == RedirectLoop {
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		return
	}
	ServeObject(w, r, l.object, l.fault)
}

// follow finds a link by its signature, and counts a download unless its object was
// deleted.
func (c *CDN) follow(signature string) (l link, known, deleted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, known = c.links[signature]
	deleted = known && l.object.deleted
	if known && !deleted {
		l.object.downloads++
	}
	return l, known, deleted
}
