package fetch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/ingest/fetch"
	"mmspipe/ingest/guard"
)

// counted listens and counts the connections that nobody should make.
func counted(t *testing.T, address string) (origin string, connections *atomic.Int32) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			c.Close()
		}
	}()
	return "http://" + listener.Addr().String(), connections
}

// TestUpstreamAlone: that the upstream origin may be dialled says nothing of its
// neighbours: another port of the host, by URL or by redirect.
func TestUpstreamAlone(t *testing.T) {
	inside, connections := counted(t, "127.0.0.1:0")
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside, http.StatusFound) })
	f := fetch.New(fetch.Options{Upstream: parse(t, upstream)})
	cred := &fetch.Credentials{Username: "AC", Password: "token"}
	for _, u := range []string{
		inside, upstream, strings.Replace(upstream, "http:", "https:", 1), strings.Replace(upstream, "127.0.0.1", "127.0.0.2", 1),
		strings.Replace(inside, "//", "//"+parse(t, upstream).Host+"@", 1),
	} {
		_, err := f.Fetch(t.Context(), u, cred, io.Discard)
		trouble, ok := errors.AsType[*fetch.Error](err)
		if !ok || trouble.Reason != fetch.ForbiddenAddress || trouble.Authenticated {
			t.Errorf("%s: %v", u, err)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestForbidden: no address inside is connected to, by URL or by redirect, even
// while another port of the same address is allowed.
func TestForbidden(t *testing.T) {
	inside, connections := counted(t, "127.0.0.1:0")
	port := parse(t, inside).Port()
	outside := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	})
	f := fetch.New(fetch.Options{Allow: allow(t, outside), ConnectTimeout: time.Second})
	hosts := []string{
		"127.0.0.1", "127.1.2.3", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]",
		"[fe80::1]", "[fc00::1]", "224.0.0.1", "[ff02::1]", "255.255.255.255", "240.0.0.1", "192.0.0.192", "192.0.2.1",
		"198.18.0.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]",
		"[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::]", "[2606:4700::5efe:7f00:1]", "[2606:4700::200:5efe:a00:1]", "[::7f00:1]",
	}
	for _, host := range hosts {
		for _, p := range []string{port, "80", "443"} {
			target := "http://" + host + ":" + p + "/"
			want(t, f, target, fetch.ForbiddenAddress)
			if trouble := want(t, f, outside+"/?to="+url.QueryEscape(target), fetch.ForbiddenAddress); !trouble.Redirected {
				t.Errorf("redirect to %s: %+v", target, trouble)
			}
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	// A public address is no exception to the ports.
	want(t, f, "http://1.1.1.1:22/", fetch.ForbiddenAddress)
	for _, u := range []string{"ftp://example.com/", "file:///etc/passwd", "//example.com/", "http://", "", ":", "http://%zz/", "gopher://x"} {
		want(t, f, u, fetch.UnsupportedScheme)
	}
	want(t, f, outside+"/?to=file:///etc/passwd", fetch.UnsupportedScheme)
}

// TestMain puts a proxy into the environment that answers nobody. net/http reads
// it once, and would use it for the name of [TestRebinding].
func TestMain(m *testing.M) {
	if err := os.Setenv("HTTP_PROXY", "http://127.0.0.1:1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestRebinding: a name is judged by what it resolves to at each connection, and
// no proxy of the environment is asked instead.
func TestRebinding(t *testing.T) {
	fine := raw(t, "HTTP/1.0 200 OK\r\n\r\nok") // closes: each fetch connects
	port := parse(t, fine).Port()
	_, connections := counted(t, "127.0.0.2:"+port)
	var answers [][]byte
	resolve(t, func() []byte { answer := answers[0]; answers = answers[1:]; return answer })

	allows, err := guard.Parse("127.0.0.1/32:" + port)
	if err != nil {
		t.Fatal(err)
	}
	f := fetch.New(fetch.Options{Allow: allows})
	address := "http://rebind.example:" + port + "/"
	answers = [][]byte{{127, 0, 0, 1}, {127, 0, 0, 2}}
	if _, err := f.Fetch(t.Context(), address, nil, io.Discard); err != nil {
		t.Errorf("while the name is allowed: %v", err)
	}
	want(t, f, address, fetch.ForbiddenAddress)
	// A name with an address of each kind leads to the one that is allowed.
	answers = [][]byte{{127, 0, 0, 2, 127, 0, 0, 1}}
	if _, err := f.Fetch(t.Context(), address, nil, io.Discard); err != nil {
		t.Errorf("with one address that is allowed: %v", err)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestUnreachable: a name is not forbidden, which would be for good, while one of
// its addresses is allowed and merely away.
func TestUnreachable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := "http://" + closed.Addr().String()
	closed.Close()
	resolve(t, func() []byte { return []byte{127, 0, 0, 2, 127, 0, 0, 1} })
	allows, err := guard.Parse("127.0.0.1/32:" + parse(t, origin).Port())
	if err != nil {
		t.Fatal(err)
	}
	f := fetch.New(fetch.Options{Allow: allows})
	want(t, f, strings.Replace(origin, "127.0.0.1", "away.example", 1), fetch.Network)
}

// resolve makes the program ask a resolver of its own, which gives the next of
// these IPv4 addresses for whatever name, and knows no IPv6.
func resolve(t *testing.T, next func() []byte) {
	system := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = system })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			// A stream has the length of each message before it (RFC 1035
			// section 4.2.2); the header is 12 bytes, then comes the question.
			var length [2]byte
			if _, err := io.ReadFull(server, length[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(server, query); err != nil {
				return
			}
			question := query[12 : 12+bytes.IndexByte(query[12:], 0)+5]
			answer := slices.Concat(query[:2], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question)
			if question[len(question)-3] == 1 { // type A
				for address := range slices.Chunk(next(), 4) {
					answer[7]++
					answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
					answer = append(answer, address...)
				}
			}
			_, _ = server.Write(binary.BigEndian.AppendUint16(nil, uint16(len(answer))))
			_, _ = server.Write(answer)
		}()
		return client, nil
	}}
}
