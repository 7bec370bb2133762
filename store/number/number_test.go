package number_test

import (
	"strings"
	"testing"

	"mmspipe/store/number"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		region  number.Region
		s, want string // "" is refused
	}{
		{"US", "+15558675310", "+15558675310"},
		{"US", "+1 555 867 5310", "+15558675310"},
		{"US", "+1 (555) 867-5310", "+15558675310"},
		{"US", "+1.555.867.5310", "+15558675310"},
		{"US", "555-867-5310", "+15558675310"},
		{"US", "(555) 867 5310", "+15558675310"},
		{"US", " 15558675310", "+15558675310"},
		{"US", "15558675310", "+15558675310"},
		{"US", "0015558675310", ""}, // as one dials elsewhere
		{"US", "011 44 20 7946 0958", "+442079460958"},
		{"US", "tel:+1-555-867-5310", "+15558675310"},
		{"US", "1-800-FLOWERS", "+18003569377"},
		{"US", "+44 (0)20 7946 0958", "+442079460958"},
		{"GB", "020 7946 0958", "+442079460958"},
		{"GB", "00 1 555 867 5310", "+15558675310"},
		{"DE", "0171/1234567", "+491711234567"},
		{"", "+1 555 867 5310", "+15558675310"},
		{"", "555 867 5310", ""},
		{"US", "whatsapp:+15558675310", "whatsapp:+15558675310"},
		{"US", "whatsapp:+1 555 867 5310", "whatsapp:+15558675310"},
		{"US", "WhatsApp:(555) 867-5310", "whatsapp:+15558675310"},
		{"US", "whatsapp:ann", ""},
		{"US", "whatsapp:", ""},
		{"US", "messenger:1234567890", "messenger:1234567890"},
		{"US", "12345", "12345"},
		{"US", "123456", "123456"},
		{"GB", "60123", "60123"},
		{"US", "ACME", "ACME"},
		{"US", "ACME & Co", "ACME & Co"},
		// The provider writes what networks give it, such as the numbers of callers
		// that hide theirs.
		{"US", "+266696687", "+266696687"},
		{"US", "+15005550006", "+15005550006"},
		{"US", "", ""},
		{"US", "+", ""},
		{"US", "12", ""},
		{"US", "+1 555 867 53100000", ""},
		{"US", "555 867", ""},
		{"US", "867-5310", ""}, // in which area?
		{"US", "not a number at all", ""},
	} {
		got, err := c.region.Parse(c.s)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q in %s: %q, %v; want %q", c.s, c.region, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), "+15558675310") {
			t.Errorf("%q: the error does not say what is wanted: %v", c.s, err)
		}
		if again := c.region.Normal(got); again != got {
			t.Errorf("%q becomes %q, and that %q", c.s, got, again)
		}
		if c.want == "" && c.region.Normal(c.s) != c.s {
			t.Errorf("%q is no number and becomes %q", c.s, c.region.Normal(c.s))
		}
	}
}

func TestParseRegion(t *testing.T) {
	for s, want := range map[string]number.Region{"US": "US", "gb": "GB", "De": "DE", "": "", "USA": "", "XX": "", "1": "", "++": ""} {
		if got, err := number.ParseRegion(s); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

// FuzzParse: what is read is read again as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"+1 555 867 5310", "whatsapp:+1 555 867 5310", "12345", "ACME", "tel:+15558675310;ext=3", "+๑๒๓", "1-800-FLOWERS"} {
		f.Add("US", s)
	}
	f.Fuzz(func(t *testing.T, region, s string) {
		r, err := number.ParseRegion(region)
		if err != nil {
			return
		}
		once, err := r.Parse(s)
		if err != nil {
			return
		}
		if twice, err := r.Parse(once); err != nil || twice != once {
			t.Errorf("%q is %q, and that %q, %v", s, once, twice, err)
		}
	})
}
