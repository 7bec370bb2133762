package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// settingNames are the flags of all settings.
func settingNames(t *testing.T) []string {
	t.Helper()
	parser, err := kong.New(&settings{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, flag := range parser.Model.Flags {
		if flag.Tag.Has("setting") {
			names = append(names, flag.Name)
		}
	}
	return names
}

// TestMistakes: every mistake is reported at once, under the name of its setting,
// with exit status 2, and no secret is repeated.
func TestMistakes(t *testing.T) {
	env := map[string]string{
		"MMSPIPE_LISTEN": "nowhere", "MMSPIPE_PUBLIC_URL": "https://example.com/path", "MMSPIPE_ROLES": "worker,cook",
		"MMSPIPE_ACCOUNTS": "AC12:SECRETTOKEN", "MMSPIPE_API_KEYS": "SK1:SECRETKEY", "MMSPIPE_SECRET": "SECRETSHORT",
		"MMSPIPE_MEDIA_AUTH": "perhaps", "MMSPIPE_UPSTREAM": "api.twilio.com", "MMSPIPE_FETCH_ALLOW": "10.0.0.0",
		"MMSPIPE_MAX_MEDIA": "much", "MMSPIPE_PROFILE": "mars", "MMSPIPE_FIT_MEMORY": "-1", "MMSPIPE_WORKERS": "0",
		"MMSPIPE_GIVE_UP": "tomorrow", "MMSPIPE_FEED_AGE": "0", "MMSPIPE_LOG_LEVEL": "loud", "MMSPIPE_LOG_FORMAT": "xml",
		"MMSPIPE_NATS_LISTEN": "0.0.0.0:4222", "MMSPIPE_S3_ENDPOINT": "http://s3", "MMSPIPE_S3_TLS": "maybe", "MMSPIPE_MAX_PIXELS": "x",
	}
	var stderr bytes.Buffer
	getenv := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	if status := run(t.Context(), []string{"serve"}, getenv, stdio{nil, &bytes.Buffer{}, &stderr}); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	for name := range env {
		if !strings.Contains(stderr.String(), "("+name+")") {
			t.Errorf("%s is not reported", name)
		}
	}
	if strings.Contains(stderr.String(), "SECRET") && regexp.MustCompile(`SECRET(TOKEN|KEY|SHORT)`).MatchString(stderr.String()) {
		t.Error("a secret is repeated")
	}
	if t.Failed() {
		t.Log(stderr.String())
	}
}

func TestNoAccount(t *testing.T) {
	var stderr bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	if status := run(t.Context(), []string{"serve", "--data=" + t.TempDir()}, none, stdio{nil, &bytes.Buffer{}, &stderr}); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	if !strings.Contains(stderr.String(), "MMSPIPE_ACCOUNTS") {
		t.Errorf("the error does not say what to set: %s", &stderr)
	}
}

func TestAccounts(t *testing.T) {
	const a, b = "AC00000000000000000000000000000001", "AC00000000000000000000000000000002"
	accounts, err := parseAccounts(a + ":one:two, " + b + ":three")
	if err != nil || len(accounts) != 2 {
		t.Fatalf("%v, %v", accounts, err)
	}
	file := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(file, []byte(a+":one\r\n\n"+b+":two:three\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if accounts, err = readAccounts(file); err != nil || len(accounts) != 2 {
		t.Errorf("%v, %v", accounts, err)
	}
	for _, bad := range []string{a, a + ":", a + ":1:2:3", "AC1:token", ":"} {
		if accounts, err := parseAccounts(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, accounts)
		}
	}
}

// TestReadmeSettings: the README's table has every setting with its default.
func TestReadmeSettings(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range settingNames(t) {
		if !bytes.Contains(text, []byte("`"+variable(name)+"`")) {
			t.Errorf("README.md does not name %s", variable(name))
		}
	}
	for _, name := range regexp.MustCompile("`MMSPIPE_[A-Z0-9_]+`").FindAllString(string(text), -1) {
		found := false
		for _, setting := range settingNames(t) {
			found = found || "`"+variable(setting)+"`" == name
		}
		if !found {
			t.Errorf("README.md names %s, which is no setting", name)
		}
	}
}
