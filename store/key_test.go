package store_test

import (
	"net/url"
	"strings"
	"testing"

	"mmspipe/store"
)

const twilio = "https://api.twilio.com"

func mediaPath(a, m, me string) string {
	return "/2010-04-01/Accounts/" + a + "/Messages/" + m + "/Media/" + me
}

func TestIdentify(t *testing.T) {
	s := store.New(nil, []byte("secret"))
	a, m, me := account.String(), message.String(), media.String()
	own := mediaPath(a, m, me)
	other := strings.Repeat("f", 32)
	for _, c := range []struct {
		name, upstream, url string
		want                bool
	}{
		{"the provider's", twilio, twilio + own, true},
		{"default port", twilio, twilio + ":443" + own, true},
		{"default port upstream", twilio + ":443", twilio + own, true},
		{"upper-case host", twilio, "https://API.Twilio.com" + own, true},
		{"upper-case digits", twilio, twilio + mediaPath(a, m, "ME"+strings.ToUpper(hex32)), true},
		{"another origin, and so set", "http://127.0.0.1:8090", "http://127.0.0.1:8090" + own, true},
		{"another host", twilio, "https://media.example.com" + own, false},
		{"host below", twilio, "https://x.api.twilio.com" + own, false},
		{"host with a dot", twilio, "https://api.twilio.com." + own, false},
		{"host as user", twilio, "https://api.twilio.com@evil.example" + own, false},
		{"user", twilio, "https://user:pass@api.twilio.com" + own, false},
		{"another port", twilio, twilio + ":444" + own, false},
		{"plain http", twilio, "http://api.twilio.com" + own, false},
		{"no scheme", twilio, "//api.twilio.com" + own, false},
		{"another account", twilio, twilio + mediaPath("AC"+other, m, me), false},
		{"another message", twilio, twilio + mediaPath(a, "MM"+other, me), false},
		{"singular", twilio, twilio + strings.Replace(own, "Messages", "Message", 1), false},
		{"no media", twilio, twilio + mediaPath(a, m, ""), false},
		{"not a medium", twilio, twilio + mediaPath(a, m, "XX"+hex32), false},
		{"representation", twilio, twilio + own + ".json", false},
		{"trailing slash", twilio, twilio + own + "/", false},
		{"further path", twilio, twilio + own + "/../../../Recordings", false},
		{"dots", twilio, twilio + "/x/.." + own, false},
		{"escape", twilio, twilio + strings.Replace(own, "Media", "M%65dia", 1), false},
		{"escaped slash", twilio, twilio + strings.Replace(own, "/Media", "%2fMedia", 1), false},
		{"query", twilio, twilio + own + "?x=1", false},
		{"empty query", twilio, twilio + own + "?", false},
		{"fragment", twilio, twilio + own + "#x", false},
		{"empty fragment", twilio, twilio + own + "#", false},
		{"nothing", twilio, "", false},
		{"no URL", twilio, "https://api.twilio.com:x" + own, false},
	} {
		upstream, err := url.Parse(c.upstream)
		if err != nil {
			t.Fatal(err)
		}
		s.Upstream = upstream
		got, ok := s.Identify(account, message, 0, c.url)
		if ok != c.want {
			t.Errorf("%s: %s is the provider's: %v, want %v", c.name, c.url, ok, c.want)
		}
		if ok && !strings.HasSuffix(c.url, got.String()) {
			t.Errorf("%s: %s is named %s", c.name, c.url, got)
		}
	}
}

// TestCredentials: a client's MediaUrl gets the account's credentials for any of its
// messages, and for nothing that is not a medium of it.
func TestCredentials(t *testing.T) {
	a, m, me := account.String(), message.String(), media.String()
	own, other := mediaPath(a, m, me), strings.Repeat("f", 32)
	upstream, err := url.Parse(twilio)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		want      bool
	}{
		{"one message", twilio + own, true},
		{"another message", twilio + mediaPath(a, "SM"+other, "ME"+other), true},
		{"another account", twilio + mediaPath("AC"+other, m, me), false},
		{"another host", "https://media.example.com" + own, false},
		{"another port", twilio + ":444" + own, false},
		{"plain http", "http://api.twilio.com" + own, false},
		{"user", "https://user:pass@api.twilio.com" + own, false},
		{"no message", twilio + mediaPath(a, "", me), false},
		{"more in the message", twilio + mediaPath(a, m+"/Media/"+me, me), false},
		{"dots in the message", twilio + mediaPath(a, "../"+m, me), false},
		{"escape", twilio + strings.Replace(own, "Media", "M%65dia", 1), false},
		{"query", twilio + own + "?x=1", false},
		{"fragment", twilio + own + "#x", false},
		{"representation", twilio + own + ".json", false},
		{"another resource", twilio + "/2010-04-01/Accounts/" + a + "/Recordings/RE" + other, false},
		{"nothing", "", false},
	} {
		s := store.New(nil, nil)
		s.Upstream = upstream
		m := store.Message{Account: account, SID: message, Outgoing: &store.Outgoing{}, Form: url.Values{"MediaUrl": {c.url}}}
		if got := s.MediaOf(m)[0].Credentials; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	m1 := store.Message{Account: account, SID: message, Outgoing: &store.Outgoing{}, Form: url.Values{"MediaUrl": {twilio + own}}}
	if store.New(nil, nil).MediaOf(m1)[0].Credentials {
		t.Error("credentials without an upstream")
	}
}

func TestIdentifyDerives(t *testing.T) {
	upstream, err := url.Parse(twilio)
	if err != nil {
		t.Fatal(err)
	}
	identify := func(secret, a string, index int, mediaURL string) string {
		s := store.New(nil, []byte(secret))
		s.Upstream = upstream
		sid, ok := s.Identify(sid(store.ParseAccountSID(a)), message, index, mediaURL)
		if _, err := store.ParseMediaSID(sid.String()); err != nil || ok {
			t.Errorf("derived %v: %v, %v", sid, err, ok)
		}
		return sid.String()
	}
	first := identify("secret", account.String(), 0, "https://a.example/1")
	// What was stored once must be found again by every later version.
	if want := "ME3547cfc0bec439ad9302a10ab2612f0e"; first != want {
		t.Errorf("derived %s, want %s", first, want)
	}
	if again := identify("secret", account.String(), 0, "https://b.example/2"); again != first {
		t.Errorf("the URL changes the SID: %s, %s", first, again)
	}
	seen := map[string]bool{first: true}
	for _, sid := range []string{
		identify("other secret", account.String(), 0, ""), identify("secret", account.String(), 1, ""),
		identify("secret", account.String(), 10, ""), identify("secret", "AC"+strings.Repeat("f", 32), 0, ""),
	} {
		if seen[sid] {
			t.Errorf("%s was derived twice", sid)
		}
		seen[sid] = true
	}
}

func TestHashNumber(t *testing.T) {
	s := store.New(nil, []byte("secret"))
	hash := s.HashNumber("+14017122661")
	if hash != s.HashNumber("+14017122661") || strings.Contains(hash, "4017122661") {
		t.Errorf("the hash of a number is %s, and then another", hash)
	}
	if hash == s.HashNumber("+14017122662") || hash == store.New(nil, []byte("other")).HashNumber("+14017122661") {
		t.Errorf("another number, or another secret, has the hash %s too", hash)
	}
}

func TestParseMediaKey(t *testing.T) {
	s := store.New(nil, nil)
	key := s.BlobKey(store.MediaKey{Account: account, Message: message, Media: media}, "us-short")
	want := store.MediaKey{Account: account, Message: message, Media: media}
	if got, name, ok := store.ParseMediaKey(key); !ok || got != want || name != "us-short" {
		t.Errorf("%s: %+v %q, %v, want %+v", key, got, name, ok, want)
	}
	record := strings.TrimSuffix(key, "/us-short") + ".json"
	if got, name, ok := store.ParseMediaKey(record); !ok || got != want || name != "" {
		t.Errorf("%s: %+v %q, %v, want %+v", record, got, name, ok, want)
	}
	for _, other := range []string{
		"", "media", "media/", "/" + key, "x" + key, key + "/x", key + ".json", strings.TrimSuffix(key, "us-short"),
		strings.TrimSuffix(record, ".json"), strings.Replace(record, "AC", "MM", 1), strings.Replace(record, "media", "message", 1),
	} {
		if got, _, ok := store.ParseMediaKey(other); ok {
			t.Errorf("%q: %+v, want none", other, got)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	own := twilio + mediaPath(account.String(), message.String(), media.String())
	for _, seed := range []string{own, own + "?x", "https://api.twilio.com@x/", "http://[::1]:80/", "https://api.twilio.com:443/", "\x00", "%"} {
		f.Add(seed)
	}
	s := store.New(nil, []byte("secret"))
	var err error
	if s.Upstream, err = url.Parse(twilio); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, mediaURL string) {
		sid, ok := s.Identify(account, message, 0, mediaURL)
		if _, err := store.ParseMediaSID(sid.String()); err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		u, err := url.Parse(mediaURL)
		if err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "api.twilio.com") || u.User != nil ||
			u.RequestURI() != mediaPath(account.String(), message.String(), sid.String()) {
			t.Errorf("credentials would go to %q", mediaURL)
		}
	})
}

func FuzzParseSID(f *testing.F) {
	for _, seed := range []string{account.String(), message.String(), media.String(), "SM" + hex32, "AC", "", "AC" + strings.ToUpper(hex32), "AC../../../../../../../../../../../x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, errA := store.ParseAccountSID(s)
		m, errM := store.ParseMessageSID(s)
		me, errME := store.ParseMediaSID(s)
		parsed := 0
		for _, p := range []struct {
			text string
			err  error
		}{{a.String(), errA}, {m.String(), errM}, {me.String(), errME}} {
			switch {
			case p.err == nil && p.text == s:
				parsed++
			case p.err == nil || p.text != "":
				t.Errorf("%q became %q, %v", s, p.text, p.err)
			}
		}
		hex := strings.Trim(strings.ToLower(s[min(2, len(s)):]), "0123456789abcdef") == ""
		if well := len(s) == 34 && hex && strings.Contains("AC SM MM ME", s[:2]) && !strings.Contains(s[:2], " "); well != (parsed == 1) {
			t.Errorf("%q parsed as %d kinds", s, parsed)
		}
	})
}

func TestParseMessageKey(t *testing.T) {
	key := "message/" + account.String() + "/" + message.String() + ".json"
	if a, m, ok := store.ParseMessageKey(key); !ok || a != account || m != message {
		t.Errorf("%s: %s, %s, %v", key, a, m, ok)
	}
	for _, other := range []string{
		"", "/" + key, key + "/x", key + ".json", strings.TrimSuffix(key, ".json"), strings.Replace(key, "AC", "MM", 1),
		strings.Replace(key, "message", "media", 1), strings.Replace(key, "/MM", "/x/MM", 1),
	} {
		if a, m, ok := store.ParseMessageKey(other); ok || !a.IsZero() || !m.IsZero() {
			t.Errorf("%q: %s, %s, %v, want none", other, a, m, ok)
		}
	}
}
