package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/cmd/mmspipe/settings"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats-server/v2/server"
)

// TestDeployments runs the service with a nats-server and a MinIO that are
// configured by the files of deployments, and with the environment that
// compose.yaml gives it.
func TestDeployments(t *testing.T) {
	const natsPassword, minioPassword = "natspassword123", "miniopassword123"
	t.Setenv("NATS_STORE_DIR", t.TempDir())
	t.Setenv("NATS_PASSWORD", natsPassword)
	options, err := server.ProcessConfigFile("../../deployments/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !options.SyncAlways {
		t.Error("nats.conf does not sync always")
	}
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	options.HTTPHost, options.HTTPPort = "127.0.0.1", server.RANDOM_PORT
	nats := servicetest.NewNATS(t)
	nats.Options = *options
	nats.Start()
	minio := storetest.StartMinIO(t, append(environmentFile(t, "minio.env"), "MINIO_ROOT_PASSWORD="+minioPassword)...)

	p := servicetest.Start(t, servicetest.Backend{Name: "compose", Prepare: func(t testing.TB) ([]string, func() store.Bucket) {
		env := map[string]string{"MMSPIPE_DATA": t.TempDir()}
		for _, line := range environmentFile(t, "mmspipe.env") {
			name, value, _ := strings.Cut(line, "=")
			env[name] = value
		}
		maps.Copy(env, map[string]string{
			"MMSPIPE_SECRET":        servicetest.Secret,
			"MMSPIPE_NATS_URL":      "nats://mmspipe:" + natsPassword + "@" + nats.Server.Addr().String(),
			"MMSPIPE_NATS_MONITOR":  "http://" + nats.Server.MonitorAddr().String(),
			"MMSPIPE_DATA":          t.TempDir(),
			"MMSPIPE_S3_ENDPOINT":   minio.Endpoint,
			"MMSPIPE_S3_SECRET_KEY": minioPassword,
		})
		minio.Bucket = env["MMSPIPE_S3_BUCKET"]
		var flags []string
		for _, f := range settingFlags(t) {
			if value, ok := env[settings.Variable(f.Name)]; ok {
				flags = append(flags, "--"+f.Name+"="+value)
			}
		}
		return flags, func() store.Bucket { return servicetest.OpenMinIO(t, minio) }
	}})
	if _, r := p.Readyz(); r.Durability.Class != stream.Fsync {
		t.Errorf("durability %+v", r.Durability)
	}
	picture := servicetest.Image(t, "small.jpg")
	sent := p.Send(simulate.Message{Media: []simulate.Media{{Data: picture, ContentType: "image/jpeg"}}})
	if _, body := p.AwaitMedium(sent, 0); !bytes.Equal(body, picture) {
		t.Errorf("%d bytes, want %d", len(body), len(picture))
	}
	for _, secret := range []string{natsPassword, minioPassword, servicetest.Token, servicetest.Secret} {
		if strings.Contains(p.Logs.String(), secret) {
			t.Errorf("a secret is in the log")
		}
	}
}

// TestComposeNames: every variable that compose.yaml and its files set for the
// service is a setting, so that a typing error there does not pass for one.
func TestComposeNames(t *testing.T) {
	known := map[string]bool{}
	for _, f := range settingFlags(t) {
		known[settings.Variable(f.Name)] = true
	}
	for _, file := range []string{"compose.yaml", "mmspipe.env", "example.env", "Dockerfile"} {
		text, err := os.ReadFile(filepath.Join("../../deployments", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
			if strings.HasPrefix(word, "MMSPIPE_") && !known[word] {
				t.Errorf("%s: %s is no setting", file, word)
			}
		}
	}
}

// environmentFile reads the NAME=value lines of a file of deployments.
func environmentFile(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deployments", name))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}
