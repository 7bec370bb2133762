// Package admission bounds what strangers may hold of a server before it is known who
// they are: connections, and bodies of requests that have not come whole.
//
// # Who gives way
//
// At its limits a server refuses nobody who is new. One of those who keep it waiting is
// cut off instead: of the connections the one that has been without a whole request for
// longest, of the bodies the one of which nothing has come for longest. Small bodies, as
// almost all webhooks are, have a second before that while there are large ones. So
// thousands of connections that send half a request and stop keep out no whole webhook; a
// large one may have to be sent again. Nothing depends on addresses: behind a proxy all
// have the same.
package admission

import (
	"cmp"
	"container/list"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// maxConnections is for a server that has no other limit. Each takes some 30 KiB, and
	// up to 64 KiB more while its header comes.
	maxConnections = 2048

	// maxUnfinished is how many bytes the bodies under way may have together, and piece
	// what one is charged with at a time: so there are 1,024 at once, half as many as
	// connections. A webhook with ten media has some 5 kB.
	maxUnfinished = 16 << 20
	piece         = 16 << 10

	// A body has come by patience, by a second more for each piece that did come, and
	// by the end of all patience: 15 s, Twilio's own time for a webhook
	// (https://www.twilio.com/docs/api/errors/11205).
	patience    = 3 * time.Second
	allPatience = 15 * time.Second

	// stall is how long nothing may come of a small body before it gives way although
	// there are large ones: longer than a busy machine takes to read what is there.
	stall = time.Second

	// drain is how long the rest of a body is read that nobody wants.
	drain = time.Second
)

// Options are the limits of a [Gate]. Those that are 0 are the usual ones: 2,048
// connections, and 16 MiB of bodies.
type Options struct {
	Connections int
	Unfinished  int64 // bytes, counted in pieces of 16 KiB
}

// Gate is what the requests of one server come through.
type Gate struct {
	connections int
	unfinished  int64

	mu      sync.Mutex
	open    map[net.Conn]*list.Element // where it waits; nil while it has a request
	waiting *list.List                 // of connections, the one that has waited longest first
	small   *list.List                 // of bodies under way of one piece, the one first of which nothing has come for longest
	large   *list.List                 // of all others, in the same order
	held    int64                      // bytes of bodies under way
}

// New returns a Gate.
func New(o Options) *Gate {
	return &Gate{
		connections: cmp.Or(o.Connections, maxConnections), unfinished: cmp.Or(o.Unfinished, maxUnfinished),
		open: map[net.Conn]*list.Element{}, waiting: list.New(), small: list.New(), large: list.New(),
	}
}

// ConnState is the server's [http.Server.ConnState]. Where there are too many
// connections it closes the one that has been without a whole request for longest,
// which is the new one if all others have a request.
func (g *Gate) ConnState(c net.Conn, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if waits := g.open[c]; waits != nil {
		g.waiting.Remove(waits)
	}
	switch state {
	case http.StateActive:
		if _, known := g.open[c]; known {
			g.open[c] = nil
		}
	case http.StateClosed, http.StateHijacked:
		delete(g.open, c)
	case http.StateNew, http.StateIdle:
		g.open[c] = g.waiting.PushBack(c)
	}
	if len(g.open) > g.connections && g.waiting.Len() > 0 {
		oldest := g.waiting.Remove(g.waiting.Front()).(net.Conn)
		delete(g.open, oldest)
		_ = oldest.Close()
	}
}

// Handler passes requests on to next, with bodies that are bounded. A read of a body that
// was cut off is [os.ErrDeadlineExceeded].
func (g *Gate) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		b := &body{ReadCloser: r.Body, gate: g, control: http.NewResponseController(w)}
		defer b.end()
		through := *r
		through.Body = b
		next.ServeHTTP(w, &through)
	})
}

// body is a body that counts while it is read, until it has come whole. All but what is
// embedded is the Gate's, under its lock.
type body struct {
	io.ReadCloser
	gate    *Gate
	control *http.ResponseController

	among *list.List    // where it is, of the bodies under way; nil before and after
	place *list.Element // in it
	start time.Time     // of the first read
	last  time.Time     // when something came
	read  int64
	held  int64 // bytes that it is charged with
	cut   bool
	whole bool
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if err := b.expect(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	return n, b.took(n, err)
}

// expect makes sure of room for what comes next, and says by when it has to come.
func (b *body) expect() error {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if b.whole {
		return nil
	}
	if b.start.IsZero() {
		b.start = time.Now()
		b.join(b.gate.small)
	}
	b.charge(b.read + 1)
	if b.cut {
		return os.ErrDeadlineExceeded
	}
	allowed := patience + time.Duration(b.read/piece)*time.Second
	_ = b.control.SetReadDeadline(b.start.Add(min(allowed, allPatience))) // the writer of a test has none
	return nil
}

// took counts what has come. A body that has come whole, or will not, is under way no
// more.
func (b *body) took(n int, err error) error {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	switch {
	case b.whole:
		return err
	case err == nil:
		b.read += int64(n)
		if b.among != nil {
			b.join(b.among)
		}
		b.charge(b.read)
	}
	switch {
	case b.cut:
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		b.whole = true
		_ = b.control.SetReadDeadline(time.Time{})
	}
	if err != nil {
		b.leave()
		b.cut = !b.whole
	}
	return err
}

// charge makes room for n bytes of the body in all. Where there is none it cuts off others,
// or this one. The caller holds the lock.
func (b *body) charge(n int64) {
	g := b.gate
	for b.held < n && !b.cut {
		if b.held == piece && b.among == g.small {
			b.join(g.large)
		}
		if g.held+piece > g.unfinished {
			g.inTheWay().cutOff()
			continue
		}
		b.held += piece
		g.held += piece
	}
}

// inTheWay is the body under way that gives way now. The caller holds the lock.
func (g *Gate) inTheWay() *body {
	large, small := front(g.large), front(g.small)
	if large == nil || small != nil && small.last.Before(large.last) && time.Since(small.last) > stall {
		return small
	}
	return large
}

func front(bodies *list.List) *body {
	if bodies.Len() == 0 {
		return nil
	}
	return bodies.Front().Value.(*body)
}

// join puts a body of which something has come behind others. The caller holds the lock.
func (b *body) join(others *list.List) {
	if b.among != nil {
		b.among.Remove(b.place)
	}
	b.among, b.place, b.last = others, others.PushBack(b), time.Now()
}

// cutOff ends a body: the read that is under way, and all later ones. The caller holds the
// lock.
func (b *body) cutOff() {
	b.cut = true
	b.leave()
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// leave gives back the room of a body. The caller holds the lock.
func (b *body) leave() {
	if b.among != nil {
		b.among.Remove(b.place)
		b.among = nil
	}
	b.gate.held -= b.held
	b.held = 0
}

// end is called when the request is answered. The server reads a little more of a body
// that did not come whole, to keep the connection.
func (b *body) end() {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	b.leave()
	if !b.whole && !b.cut {
		_ = b.control.SetReadDeadline(time.Now().Add(drain))
	}
}
