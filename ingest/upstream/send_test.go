package upstream_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"mmspipe/ingest/simulate"
	"mmspipe/ingest/upstream"
)

func posted() url.Values {
	return url.Values{"To": {"+15005550200"}, "From": {"+15005550300"}, "Body": {"text"}}
}

// TestCreate: each outcome is told apart, and nothing is posted twice.
func TestCreate(t *testing.T) {
	for _, c := range []struct {
		name             string
		script           simulate.Outcome
		want             upstream.Outcome
		status, code     int
		accepted, posted int
	}{
		{name: "429", script: simulate.Outcome{Refuse: 429}, want: upstream.Unsent, status: 429, code: 20429, posted: 1},
		{name: "400", script: simulate.Outcome{Refuse: 400, Code: 21610}, want: upstream.Refused, status: 400, code: 21610, posted: 1},
		{name: "500", script: simulate.Outcome{Refuse: 500}, want: upstream.Unknown, status: 500, code: 20500, posted: 1},
		{name: "500 after accepting", script: simulate.Outcome{Answer: simulate.ServerError}, want: upstream.Unknown, status: 500, code: 20500, accepted: 1, posted: 1},
		{name: "no answer after accepting", script: simulate.Outcome{Answer: simulate.Silent}, want: upstream.Unknown, accepted: 1, posted: 1},
		{name: "reset after accepting", script: simulate.Outcome{Answer: simulate.Reset}, want: upstream.Unknown, accepted: 1, posted: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // one waits for an answer as long as the client does
			s := start(t)
			s.Script(c.script)
			_, err := client(t, s.Origin(), token).Create(t.Context(), account, posted())
			trouble, ok := errors.AsType[*upstream.Error](err)
			if !ok || trouble.Outcome() != c.want || trouble.Status != c.status || trouble.Code != c.code || !trouble.Written {
				t.Errorf("%+v (%v)", trouble, err)
			}
			if len(s.Accepted()) != c.accepted || s.Calls(simulate.CreateMessage) != c.posted {
				t.Errorf("%d accepted of %d posted", len(s.Accepted()), s.Calls(simulate.CreateMessage))
			}
		})
	}
}

// TestCreateTokens: a 401 takes nothing, so that the second token is tried.
func TestCreateTokens(t *testing.T) {
	s := start(t)
	m, err := client(t, s.Origin(), strings.Repeat("0", 32), token).Create(t.Context(), account, posted())
	if err != nil || len(s.Accepted()) != 1 || m.SID.String() != s.Accepted()[0].MessageSID || m.Status != "queued" {
		t.Errorf("%+v, %v; %d accepted", m, err, len(s.Accepted()))
	}
	_, err = client(t, s.Origin(), strings.Repeat("0", 32)).Create(t.Context(), account, posted())
	if trouble, ok := errors.AsType[*upstream.Error](err); !ok || trouble.Outcome() != upstream.Unsent {
		t.Errorf("with a wrong token: %v", err)
	}
}

// TestCreateNotWritten: without a connection nothing can have arrived.
func TestCreateNotWritten(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := "http://" + listener.Addr().String()
	listener.Close()
	stranger := httptest.NewTLSServer(http.NotFoundHandler()) // of no known authority
	defer stranger.Close()
	for _, origin := range []string{refuses, stranger.URL, "http://nowhere.invalid"} {
		_, err := client(t, origin, token).Create(t.Context(), account, posted())
		if trouble, ok := errors.AsType[*upstream.Error](err); !ok || trouble.Written || trouble.Outcome() != upstream.Unsent {
			t.Errorf("%s: %+v", origin, err)
		}
	}
}

// TestCreateAnswers: what cannot be understood may have been taken, and an error says
// nothing of an answer's text.
func TestCreateAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   upstream.Outcome
	}{
		{201, `{"sid":`, upstream.Unknown},
		{201, `{}`, upstream.Unknown},
		{200, `{}`, upstream.Unknown},
		{307, ``, upstream.Unknown},
		{404, `<html>`, upstream.Unknown},
		{503, `{"code":20503}`, upstream.Unknown},
		{403, `{"code":21610,"message":"+15005550200 has opted out"}`, upstream.Refused},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		_, err := client(t, s.URL, token).Create(t.Context(), account, posted())
		trouble, ok := errors.AsType[*upstream.Error](err)
		if !ok || trouble.Outcome() != c.want {
			t.Errorf("%d %s: %v", c.status, c.body, err)
		} else if strings.Contains(err.Error(), "opted") || c.want == upstream.Refused && !strings.Contains(trouble.Text, "opted") {
			t.Errorf("%d: error %q, text %q", c.status, err, trouble.Text)
		}
		s.Close()
	}
}
