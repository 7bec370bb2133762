package route_test

import (
	"strings"
	"testing"

	"mmspipe/ingest/outbound/route"
	"mmspipe/resize"
)

func TestRoute(t *testing.T) {
	rules, err := route.ParseRules(strings.NewReader(`
# the office's own numbers
+1415   +1415555   us-longcode
+1      long-code  us   # all others of ours
+44     *          world
*       70000      twilio
whatsapp: whatsapp:+1 twilio
`))
	if err != nil {
		t.Fatal(err)
	}
	fallback, err := resize.ProfileNamed("ca")
	if err != nil {
		t.Fatal(err)
	}
	ruled, err := route.New(rules, fallback, "US")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := route.New(nil, fallback, "US")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, from, ruled, plain string }{
		{"+14155550100", "+14155550101", "us-longcode", "ca"},
		{"+14155550100", "+14165550101", "us", "ca"},
		{"+14155550100", "+18005550101", "us-tollfree", "us-tollfree"},
		{"+14155550100", "+18775550101", "us-tollfree", "us-tollfree"},
		{"+14155550100", "+18225550101", "us", "ca"}, // set aside, not in use
		{"+14155550100", "+1800555", "us", "ca"},
		{"+14155550100", "12345", "us-shortcode", "us-shortcode"},
		{"+14155550100", "123456", "us-shortcode", "us-shortcode"},
		{"+14155550100", "1234", "us", "ca"},
		{"+14155550100", "700001", "twilio", "us-shortcode"},
		{"+442071838750", "+18005550101", "world", "ca"},
		{"+4915155550100", "12345", "ca", "ca"},
		{"+14155550100", "", "ca", "ca"}, // a messaging service's
		{"(415) 555-0100", "415-555-0101", "us-longcode", "ca"},
		{"+1 415 555 0100", "+1 800 555 0101", "us-tollfree", "us-tollfree"},
		{"+44 (0)20 7183 8750", "+14155550101", "world", "ca"},
		{"whatsapp:+1 415 555 0100", "whatsapp:+14155550101", "twilio", "ca"},
	} {
		if got := ruled(c.to, c.from).Name; got != c.ruled {
			t.Errorf("to %s from %q by the rules: %s, want %s", c.to, c.from, got, c.ruled)
		}
		if got := plain(c.to, c.from).Name; got != c.plain {
			t.Errorf("to %s from %q: %s, want %s", c.to, c.from, got, c.plain)
		}
	}
}

func TestRulesMistakes(t *testing.T) {
	_, err := route.ParseRules(strings.NewReader("+1 * us\n+1 us\n# nothing\nabc toll free us\nx y mars\n+ * us\n"))
	if err == nil {
		t.Fatal("no mistakes are found")
	}
	for _, want := range []string{"line 2: 2 fields", "line 4: 4 fields", `line 5: "x"`, `"y"`, `"mars"`, `line 6: "+"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

// FuzzParseRules: whatever the file, there is an error or a Route that has a profile
// for every message, and what is read is what the file says once more.
func FuzzParseRules(f *testing.F) {
	f.Add("+1 toll-free us-tollfree\n* * us # all\n", "+15005550100", "12345")
	f.Add("\x00 * us", "", "")
	f.Fuzz(func(t *testing.T, text, to, from string) {
		rules, err := route.ParseRules(strings.NewReader(text))
		if err != nil {
			if rules != nil {
				t.Error("rules beside an error")
			}
			return
		}
		choose, err := route.New(rules, resize.Profiles()[0], "US")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := resize.ProfileNamed(choose(to, from).Name); err != nil {
			t.Error(err)
		}
		var again strings.Builder
		for _, r := range rules {
			for _, field := range []string{r.To, r.From, r.Profile.Name} {
				if field == "" {
					field = "*"
				}
				again.WriteString(field + " ")
			}
			again.WriteByte('\n')
		}
		if reread, err := route.ParseRules(strings.NewReader(again.String())); err != nil || len(reread) != len(rules) {
			t.Errorf("%q is read as %d rules, %v; want %d", again.String(), len(reread), err, len(rules))
		}
	})
}
