package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmspipe/store"

	"github.com/gofrs/flock"
)

// minioVersion is the last commit of github.com/minio/minio that its module
// proxy has; releases are no longer tagged as modules.
const minioVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"

// StartMinIO is [RunMinIO] for tests that only use the server.
func StartMinIO(t testing.TB, env ...string) store.MinIOOptions {
	t.Helper()
	return RunMinIO(t, env...).Options
}

// MinIO is a MinIO server in a process of its own.
type MinIO struct {
	Options store.MinIOOptions // how to reach it; another Bucket may be chosen

	t       testing.TB
	program string
	dir     string
	env     []string
	cmd     *exec.Cmd
	exited  chan struct{}
}

// RunMinIO starts a MinIO server on a free port of the loopback interface, of
// which t.Cleanup disposes, and returns when it can be used. Each call of
// [store.OpenMinIO] may choose another Bucket.
//
// The program is MMSPIPE_TEST_MINIO, or minio on the PATH, or is built once into
// the user's cache directory. With -short the test is skipped, and fails if
// MMSPIPE_TEST_NO_SKIP is 1.
//
// env is added to the server's environment, as NAME=value; a MINIO_ROOT_USER and
// MINIO_ROOT_PASSWORD in it take the place of random ones.
func RunMinIO(t testing.TB, env ...string) *MinIO {
	t.Helper()
	if testing.Short() {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatal("-short would leave out MinIO, and MMSPIPE_TEST_NO_SKIP=1 forbids it")
		}
		t.Skip("NOT TESTED against a real MinIO: -short leaves it out")
	}
	m := &MinIO{t: t, program: minioProgram(t), dir: t.TempDir(), env: env}
	m.Options = store.MinIOOptions{Bucket: "mmspipe", AccessKey: rand.Text(), SecretKey: rand.Text()}
	for _, variable := range env {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case "MINIO_ROOT_USER":
			m.Options.AccessKey = value
		case "MINIO_ROOT_PASSWORD":
			m.Options.SecretKey = value
		}
	}
	t.Cleanup(m.Kill)
	const attempts = 3 // somebody may take the free port before minio does
	for attempt := 1; ; attempt++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m.Options.Endpoint = listener.Addr().String()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if err = m.start(); err == nil {
			return m
		}
		if attempt == attempts {
			t.Fatal(err)
		}
	}
}

// Kill ends the server as SIGKILL does. It returns when the server is gone.
func (m *MinIO) Kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // fails only if it has exited
	<-m.exited
}

// Start starts a server that was killed, at the same address and on the same
// directory. It returns when the server can be used.
func (m *MinIO) Start() {
	m.t.Helper()
	if err := m.start(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *MinIO) start() error {
	var output bytes.Buffer
	cmd := exec.Command(m.program, "server", m.dir, "--address", m.Options.Endpoint, "--quiet")
	cmd.Env = append(os.Environ(), "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	cmd.Env = append(cmd.Env, m.env...)
	cmd.Env = append(cmd.Env, "MINIO_ROOT_USER="+m.Options.AccessKey, "MINIO_ROOT_PASSWORD="+m.Options.SecretKey)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start minio: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the error of a killed process says nothing
		close(exited)
	}()
	m.cmd, m.exited = cmd, exited
	if err := awaitReady(m.t.Context(), m.Options, exited); err != nil {
		m.Kill()
		return fmt.Errorf("start minio: %w\n%s", err, &output)
	}
	return nil
}

// awaitReady returns when the server can be used. Its own health check says yes
// some time before that.
func awaitReady(ctx context.Context, o store.MinIOOptions, exited <-chan struct{}) error {
	const patience = 30 * time.Second
	deadline := time.After(patience)
	for {
		_, err := store.OpenMinIO(ctx, o)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it exited")
		case <-deadline:
			return fmt.Errorf("not ready after %v: %w", patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// minioProgram returns the path of a minio binary.
func minioProgram(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("MMSPIPE_TEST_MINIO"); path != "" {
		return path
	}
	if path, err := exec.LookPath("minio"); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("find minio: %v", err)
	}
	dir := filepath.Join(cache, "mmspipe", "bin")
	path := filepath.Join(dir, "minio-"+minioVersion)
	if err := buildMinIO(t, dir, path); err != nil {
		t.Fatalf("build minio: %v", err)
	}
	return path
}

// buildMinIO makes path, once, however many test binaries ask for it.
func buildMinIO(t testing.TB, dir, path string) error {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	module := "github.com/minio/minio@" + minioVersion
	fmt.Fprintf(os.Stderr, "storetest: building %s into %s, once; this takes minutes\n", module, path)
	fresh, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	cmd := exec.Command("go", "install", module)
	cmd.Dir = fresh
	cmd.Env = append(os.Environ(), "GOBIN="+fresh, "GOFLAGS=", "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", module, err, strings.TrimSpace(string(output)))
	}
	return os.Rename(filepath.Join(fresh, "minio"), path)
}
