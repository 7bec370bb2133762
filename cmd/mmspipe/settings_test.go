package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/cmd/mmspipe/settings"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write golden files and the table of settings in deployments/README.md anew")

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
	if status := run(t.Context(), []string{"serve"}, env, stdio{nil, &bytes.Buffer{}, &stderr}); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	for name := range env {
		if n := strings.Count(stderr.String(), "("+name+")"); n != 1 {
			t.Errorf("%s is reported %d times", name, n)
		}
	}
	// The endpoint lacks its two keys; the last line says where help is.
	if n := strings.Count(stderr.String(), "\n"); n != len(env)+2+1 {
		t.Errorf("%d lines for %d mistakes", n, len(env)+2)
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
	if status := run(t.Context(), []string{"serve", "--data=" + t.TempDir()}, nil, stdio{nil, &bytes.Buffer{}, &stderr}); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	if !strings.Contains(stderr.String(), "MMSPIPE_ACCOUNTS") {
		t.Errorf("the error does not say what to set: %s", &stderr)
	}
}

// account is a setting that is right, for what is tested beside it.
var account = map[string]string{"MMSPIPE_ACCOUNTS": servicetest.Account + ":" + servicetest.Token}

// with is the environment with one account and these.
func with(variables ...string) map[string]string {
	env := maps.Clone(account)
	for i := 0; i < len(variables); i += 2 {
		env[variables[i]] = variables[i+1]
	}
	return env
}

// TestOneMistake: each mistake is one error, which says what to do, and the service
// does not start.
func TestOneMistake(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env  map[string]string
		says string
	}{
		{with("MMSPIPE_PUBLC_URL", "https://mms.example.com"), "MMSPIPE_PUBLC_URL is not a setting; the nearest is MMSPIPE_PUBLIC_URL"},
		{with("MMSPIPE_ACCOUNT_FILE", empty), "the nearest is MMSPIPE_ACCOUNTS_FILE"},
		{with("MMSPIPE_PORT", "8080", "MMSPIPE_WORKER", "2"), "MMSPIPE_WORKER is not a setting; the nearest is MMSPIPE_WORKERS"},
		{with("MMSPIPE_S3_BUCKET", "media"), "(MMSPIPE_S3_BUCKET): it does nothing, because --s3-endpoint is not set"},
		{with("MMSPIPE_S3_TLS", "off"), "(MMSPIPE_S3_TLS): it does nothing"},
		{with("MMSPIPE_S3_SECRET_KEY", "s"), "(MMSPIPE_S3_SECRET_KEY): it does nothing"},
		{with("MMSPIPE_NATS_MONITOR", "http://nats:8222"), "because --nats-url is not set"},
		{with("MMSPIPE_NATS_CREDS", os.DevNull), "because --nats-url is not set"},
		{with("MMSPIPE_NATS_CREDS", "/nowhere/creds", "MMSPIPE_NATS_URL", "nats-1"), "/nowhere/creds"},
		{with("MMSPIPE_FORWARD_MODE", "reply"), "--forward is not set"},
		{with("MMSPIPE_PROFILE_RULES", "/nowhere/rules"), "/nowhere/rules"},
		{with("MMSPIPE_PROFILE", "mars"), "mars"},
		{with("MMSPIPE_REGION", "XX"), "XX"},
		{with("MMSPIPE_ROLES", "cook"), "none of receiver, worker, api"},
		{map[string]string{"MMSPIPE_ACCOUNTS": "AC1:x", "MMSPIPE_FORWARD": servicetest.Account + "=https://app.example.com"}, "not an account SID"},
		{with("MMSPIPE_FIT_MEMORY", "1MiB"), "(MMSPIPE_FIT_MEMORY): 1MiB is too little to be of use; want 64 MiB at least"},
		{with("MMSPIPE_MAX_MEDIA", "32"), "want 64 KiB at least"},
		{with("MMSPIPE_FETCH_CACHE", "1"), "want 1.0 MiB at least"},
		{with("MMSPIPE_FEED_AGE", "1s"), "want 1h0m0s at least"},
		{with("MMSPIPE_RETENTION", "1d"), "want 48h0m0s at least"},
		{with("MMSPIPE_MAX_PIXELS", "12"), "want 10000 at least"},
		{with("MMSPIPE_WORKERS", "100000"), "not a number from 1 to 1000"},
		{with("MMSPIPE_GIVE_UP", "-1d"), "such as 90m, 24h or 90d"},
		{with("MMSPIPE_GIVE_UP", "99999d"), "such as 90m, 24h or 90d"},
		{with("MMSPIPE_RELAY", "maybe"), "neither yes nor no"},
		{with("MMSPIPE_ADMIN_HOSTS", "http://ops"), "list of host names"},
		{with("MMSPIPE_SECRET_FILE", empty), "(MMSPIPE_SECRET_FILE): " + empty + " is empty"},
		{with("MMSPIPE_ACCOUNTS_FILE", empty), "--accounts is set too"},
		{with("MMSPIPE_NATS_URL", "nats://user:SECRET@[nowhere"), "entry 1 is not a URL such as nats://"},
		{with("MMSPIPE_NATS_URL", "nats://user:SECRET@127.0.0.1:1"), "connect to NATS at nats://127.0.0.1:1 "},
		{with("MMSPIPE_NATS_URL", "nats://SECRET@127.0.0.1:1, 127.0.0.1:2"), "connect to NATS at nats://127.0.0.1:1,nats://127.0.0.1:2 "},
	} {
		c.env["MMSPIPE_DATA"] = t.TempDir()
		status, _, said := command(t, c.env, "serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
		said = strings.TrimSuffix(said, "mmspipe: see mmspipe --help\n")
		if status == 0 || !strings.Contains(said, c.says) || strings.Count(said, "\n") != 1 || strings.Contains(said, "SECRET@") || strings.Contains(said, ":SECRET") {
			t.Errorf("%v: exit status %d, want one line with %q:\n%s", c.env, status, c.says, said)
		}
	}
}

// TestVariables: what only looks like a setting is refused together with the mistakes
// in settings, by commands that have settings; what tests and Kubernetes set is not
// ours to judge.
func TestVariables(t *testing.T) {
	status, _, said := command(t, map[string]string{"MMSPIPE_LISTN": "x", "MMSPIPE_WORKERS": "x"}, "serve")
	for _, part := range []string{"MMSPIPE_LISTN", "(MMSPIPE_WORKERS)", "(MMSPIPE_ACCOUNTS)"} {
		if status != 2 || !strings.Contains(said, part) {
			t.Errorf("exit status %d, want %s in\n%s", status, part, said)
		}
	}
	env := map[string]string{"MMSPIPE_DTA": "x"}
	if status, _, said := command(t, env, "status"); status != 2 || !strings.Contains(said, "the nearest is MMSPIPE_DATA") {
		t.Errorf("status: exit status %d, %s", status, said)
	}
	if status, _, said := command(t, env, "profiles"); status != 0 {
		t.Errorf("profiles, which has no settings: exit status %d, %s", status, said)
	}
	env = map[string]string{"MMSPIPE_DATA": t.TempDir(), "MMSPIPE_OPERATOR_KEY_FILE": ""}
	for _, name := range []string{
		"TEST_MINIO", "TEST_NO_SKIP", "CI_NO_LOOP", "SOAK", "BENCH_JPEG", // of the project's own tests
		"SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_ADMIN", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR", // of a Kubernetes Service
		"ADMIN_SERVICE_HOST", "ADMIN_PORT_8081_TCP_PROTO",
	} {
		env["MMSPIPE_"+name] = "x"
	}
	if status, _, said := command(t, env, "status"); status != 1 || !strings.Contains(said, "no service uses") {
		t.Errorf("exit status %d, %s", status, said)
	}
}

// TestSpellings: settings are read as people write them.
func TestSpellings(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  func(service.Config) bool
	}{
		{[]string{"--relay=yes", "--delete-upstream=ON", "--require-durable=1"}, func(c service.Config) bool { return c.Relay && c.DeleteUpstream && c.NATS.RequireDurable }},
		{[]string{"--relay=no", "--delete-upstream=Off", "--require-durable=0"}, func(c service.Config) bool { return !c.Relay && !c.DeleteUpstream && !c.NATS.RequireDurable }},
		{[]string{"--retention=90d", "--give-up=1d12h"}, func(c service.Config) bool { return c.Retention == 90*24*time.Hour && c.GiveUp == 36*time.Hour }},
		{[]string{"--max-media=600KB", "--fit-memory=65536 KiB"}, func(c service.Config) bool { return c.MaxMedia == 600_000 && c.FitMemory == 64<<20 }},
		{[]string{"--max-media=1MiB", "--fetch-cache=0"}, func(c service.Config) bool { return c.MaxMedia == 1<<20 && c.FetchCache == 0 }},
		{nil, func(c service.Config) bool { return c.FeedAge == 720*time.Hour }},
	} {
		s, err := settings.From(append(c.flags, "--accounts="+account["MMSPIPE_ACCOUNTS"])...)
		if err != nil {
			t.Fatal(err)
		}
		if parsed, _, err := s.Parse(); err != nil || !c.want(parsed) {
			t.Errorf("%v: %v, %+v", c.flags, err, parsed)
		}
	}
}

// secretSettings are those with a secret in them, with a value each.
var secretSettings = map[string]string{
	"accounts": servicetest.Account + ":" + servicetest.Token, "api-keys": "SK1:s:*:read", "secret": servicetest.Secret,
	"nats-url": "nats://u:p@nats:4222", "s3-access-key": "a", "s3-secret-key": "k", "forward": "https://u:p@app.example.com",
}

// TestSecretFiles: what is read from a file is what the setting itself would say.
func TestSecretFiles(t *testing.T) {
	parse := func(direct bool) service.Config {
		flags := []string{"--s3-endpoint=minio:9000"}
		for name, value := range secretSettings {
			if !direct {
				file := filepath.Join(t.TempDir(), name)
				if err := os.WriteFile(file, []byte("\n"+value+"\r\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				name, value = name+"-file", file
			}
			flags = append(flags, "--"+name+"="+value)
		}
		s, err := settings.From(flags...)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := s.Parse()
		if err != nil {
			t.Fatal(err)
		}
		c.Route = nil // a function
		return c
	}
	if direct, files := parse(true), parse(false); !reflect.DeepEqual(direct, files) {
		t.Errorf("by files %+v, want %+v", files, direct)
	}
	// A setting whose placeholder is a secret is among them.
	for _, f := range settingFlags(t) {
		if secret := regexp.MustCompile("SECRET|TOKEN|KEY").MatchString(f.PlaceHolder); secret && secretSettings[f.Name] == "" {
			t.Errorf("--%s has no file", f.Name)
		}
	}
}

// TestReadmeSettings: the table of settings in deployments/README.md is what the flags say.
func TestReadmeSettings(t *testing.T) {
	const begin, end = "<!-- settings: go test ./cmd/mmspipe -run Readme -update -->\n", "<!-- end -->"
	text, err := os.ReadFile("../../deployments/README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("deployments/README.md lacks %q or %q behind it", begin, end)
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
		t.Fatal("the settings in deployments/README.md are not those of the program: run go test ./cmd/mmspipe -run Readme -update")
	}
	if err := os.WriteFile("../../deployments/README.md", []byte(before+begin+want.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
