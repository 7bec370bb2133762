package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/settings"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write golden files and the README's table anew")

// settingFlags are the flags of all settings.
func settingFlags(t testing.TB) []*kong.Flag {
	t.Helper()
	parser, err := kong.New(&settings.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(slices.Clone(parser.Model.Flags), func(f *kong.Flag) bool { return !f.Tag.Has("setting") })
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
		"MMSPIPE_DELETE_UPSTREAM": "perhaps", "MMSPIPE_PROFILE_RULES": "/nowhere/rules", "MMSPIPE_FETCH_CACHE": "none",
		"MMSPIPE_RELAY": "perhaps", "MMSPIPE_FORWARD": "ftp://SECRETUSER:SECRETTOKEN@host/?SECRETKEY", "MMSPIPE_FORWARD_MODE": "both",
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

// TestReadmeSettings: the README's table is what the flags say.
func TestReadmeSettings(t *testing.T) {
	const begin, end = "<!-- settings: go test ./cmd/mmspipe -run Readme -update -->\n", "<!-- end -->"
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md lacks %q or %q behind it", begin, end)
	}
	var want strings.Builder
	want.WriteString("| variable | meaning | default |\n|---|---|---|\n")
	for _, f := range settingFlags(t) {
		value := "none"
		if f.Default != "" {
			value = "`" + f.Default + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", settings.Variable(f.Name), strings.ReplaceAll(f.Help, "|", "\\|"), value)
	}
	if table == want.String() {
		return
	}
	if !*update {
		t.Fatal("the settings in README.md are not those of the program: run go test ./cmd/mmspipe -run Readme -update")
	}
	if err := os.WriteFile("../../README.md", []byte(before+begin+want.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
