package settings

import (
	"fmt"
	"strings"
	"testing"
)

func TestAccounts(t *testing.T) {
	const a, b = "AC00000000000000000000000000000001", "AC00000000000000000000000000000002"
	accounts, err := parseAccounts(a + ":one:two, " + b + ":three")
	if err != nil || len(accounts) != 2 {
		t.Fatalf("%v, %v", accounts, err)
	}
	for _, bad := range []string{a, a + ":", a + ":1:2:3", "AC1:token", ":"} {
		if accounts, err := parseAccounts(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, accounts)
		}
	}
}

// TestForwardSetting: one URL for all accounts or one for each; all that is wrong is
// reported at once, without passwords.
func TestForwardSetting(t *testing.T) {
	const a, b, stranger = "AC00000000000000000000000000000001", "AC00000000000000000000000000000002", "AC00000000000000000000000000000003"
	for _, c := range []struct {
		forward  string
		accounts int      // that have one
		mistakes []string // parts of the error
	}{
		{"https://app.example.com", 2, nil},
		{"http://user:SECRET@app.example.com/sms?a=1,2=3", 2, nil},
		{a + "=https://app.example.com/sms?a=b", 1, nil},
		{a + "=https://one.example.com, " + b + "=https://two.example.com", 2, nil},
		{"http://127.0.0.1:3000/sms", 2, nil},
		{"https://user:SECRET@MMS.example.com.:443/webhooks/twilio", 0, []string{"leads to mmspipe itself"}},
		{a + "=http://localhost:8080/webhooks/twilio", 0, []string{"entry 1", "leads to mmspipe itself"}},
		{"app.example.com/SECRET", 0, []string{"not a URL"}},
		{a + "=nowhere/SECRET," + stranger + "=https://app.example.com,AC1=SECRET," + a, 0, []string{"entry 1", "entry 2", "entry 3", "entry 4"}},
	} {
		s, err := From("--accounts="+a+":one,"+b+":two", "--forward="+c.forward, "--public-url=https://mms.example.com")
		if err != nil {
			t.Fatal(err)
		}
		parsed, _, err := s.Parse()
		if (err == nil) != (c.mistakes == nil) || err == nil && len(parsed.Forward) != c.accounts {
			t.Errorf("%s: %v, %v", c.forward, parsed.Forward, err)
		}
		for _, part := range c.mistakes {
			if !strings.Contains(fmt.Sprint(err), part) || strings.Contains(fmt.Sprint(err), "SECRET") {
				t.Errorf("%s: %v, want %q and no secret", c.forward, err, part)
			}
		}
	}
}
