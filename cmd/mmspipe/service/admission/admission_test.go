package admission_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service/admission"
)

// counting is a handler that reads whole bodies, and counts what it has of those that it
// reads.
type counting struct {
	reading, bytes, cut atomic.Int64
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.reading.Add(1)
	had := int64(0)
	defer func() { c.reading.Add(-1); c.bytes.Add(-had) }()
	buffer := make([]byte, 1000)
	for {
		n, err := r.Body.Read(buffer)
		had += int64(n)
		c.bytes.Add(int64(n))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.cut.Add(1)
			w.WriteHeader(http.StatusRequestTimeout)
			return
		case err != nil:
			_, _ = fmt.Fprint(w, had)
			return
		}
	}
}

// serve serves a handler behind a Gate.
func serve(t *testing.T, o admission.Options, handler http.Handler) string {
	t.Helper()
	gate := admission.New(o)
	server := httptest.NewUnstartedServer(gate.Handler(handler))
	server.Config.ConnState = gate.ConnState
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// dial opens a connection and sends something.
func dial(t *testing.T, address, sent string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	return conn
}

// status is that of the answer that comes on a connection, 0 if it is closed without one.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("no answer in a minute")
	}
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func head(length int) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length)
}

func until(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.After(time.Minute); !check(); {
		select {
		case <-deadline:
			t.Fatalf("not in a minute: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestBodies: bodies that stop half-way have no more bytes together than the limit, however
// many there are and whatever they declare. They give way to whole ones: at
// once to small, and to large ones when they have stopped for a while.
func TestBodies(t *testing.T) {
	const limit, senders = 512 << 10, 200
	handler := &counting{}
	address := serve(t, admission.Options{Unfinished: limit}, handler)
	for _, sent := range []int{1, 100, 16 << 10, 40_000} {
		cut, most := handler.cut.Load(), int64(0)
		var first net.Conn
		for i := range senders {
			conn := dial(t, address, head(200_000)+strings.Repeat("x", sent))
			if i == 0 {
				first = conn
			}
			most = max(most, handler.bytes.Load())
		}
		if most > 2*limit { // with those that are just being cut off
			t.Errorf("%d bytes each: %d bytes of bodies under way, %d at most", sent, most, limit)
		}
		if got := status(t, first); got != http.StatusRequestTimeout {
			t.Errorf("%d bytes each: the oldest is answered %d", sent, got)
		}
		until(t, "most bodies are cut off", func() bool { return handler.cut.Load()-cut >= senders-limit/(16<<10) })
		if got := status(t, dial(t, address, head(10)+strings.Repeat("x", 10))); got != http.StatusOK {
			t.Errorf("%d bytes each: a whole body is answered %d", sent, got)
		}
		until(t, "a large whole body is taken", func() bool {
			return status(t, dial(t, address, head(100_000)+strings.Repeat("x", 100_000))) == http.StatusOK
		})
	}
	until(t, "slow bodies are cut off by themselves", func() bool { return handler.reading.Load() == 0 && handler.bytes.Load() == 0 })
}

// TestSlowBody: a body that comes byte by byte is cut off although it never stops, and one
// that nobody reads does not keep its connection.
func TestSlowBody(t *testing.T) {
	address := serve(t, admission.Options{}, &counting{})
	conn := dial(t, address, head(1000))
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	}()
	if got := status(t, conn); got != http.StatusRequestTimeout {
		t.Errorf("answered %d", got)
	}
	unread := dial(t, serve(t, admission.Options{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), head(1000)+"x")
	reader := bufio.NewReader(unread)
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("answered %v, %v", response, err)
	}
	if err := unread.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("the connection stays: %v", err)
	}
}

// TestConnections: connections without a whole request give way to new ones, and those
// with one do not.
func TestConnections(t *testing.T) {
	const limit = 20
	release := make(chan struct{})
	var working atomic.Int64
	address := serve(t, admission.Options{Connections: limit}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			working.Add(1)
			<-release
		}
	}))
	t.Cleanup(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	})
	long := dial(t, address, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
	until(t, "a request is under way", func() bool { return working.Load() == 1 })
	var idle []net.Conn
	for range 5 * limit {
		idle = append(idle, dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\nHalf: "))
		whole := dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := status(t, whole); got != http.StatusOK {
			t.Fatalf("a whole request is answered %d after %d half ones", got, len(idle))
		}
	}
	if got := status(t, idle[0]); got != 0 {
		t.Errorf("the oldest is answered %d", got)
	}
	for n := int64(2); n <= limit; n++ {
		dial(t, address, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
		until(t, "its request is under way", func() bool { return working.Load() == n })
	}
	if got := status(t, dial(t, address, "")); got != 0 {
		t.Errorf("one too many is answered %d", got)
	}
	close(release)
	if got := status(t, long); got != http.StatusOK {
		t.Errorf("the long request is answered %d", got)
	}
	until(t, "there is room again", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return false
		}
		return status(t, conn) == http.StatusOK
	})
}
