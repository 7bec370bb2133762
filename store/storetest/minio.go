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

// StartMinIO starts a MinIO server on a free port of the loopback interface, of
// which t.Cleanup disposes, and returns how to reach it. Each call of
// [store.OpenMinIO] may choose another Bucket.
//
// The program is MMSPIPE_TEST_MINIO, or minio on the PATH, or is built once into
// the user's cache directory. With -short the test is skipped, and fails if
// MMSPIPE_TEST_NO_SKIP is 1.
//
// env is added to the server's environment, as NAME=value; a MINIO_ROOT_USER and
// MINIO_ROOT_PASSWORD in it take the place of random ones.
func StartMinIO(t testing.TB, env ...string) store.MinIOOptions {
	t.Helper()
	if testing.Short() {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatal("-short would leave out MinIO, and MMSPIPE_TEST_NO_SKIP=1 forbids it")
		}
		t.Skip("NOT TESTED against a real MinIO: -short leaves it out")
	}
	program := minioProgram(t)
	const attempts = 3 // somebody may take the free port before minio does
	for range attempts - 1 {
		if o, err := startMinIO(t, program, env); err == nil {
			return o
		}
	}
	o, err := startMinIO(t, program, env)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// startMinIO returns when the server is ready.
func startMinIO(t testing.TB, program string, env []string) (store.MinIOOptions, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return store.MinIOOptions{}, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return store.MinIOOptions{}, err
	}
	o := store.MinIOOptions{Endpoint: address, Bucket: "mmspipe", AccessKey: rand.Text(), SecretKey: rand.Text()}
	for _, variable := range env {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case "MINIO_ROOT_USER":
			o.AccessKey = value
		case "MINIO_ROOT_PASSWORD":
			o.SecretKey = value
		}
	}

	var output bytes.Buffer
	cmd := exec.Command(program, "server", t.TempDir(), "--address", address, "--quiet")
	cmd.Env = append(os.Environ(), "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	cmd.Env = append(cmd.Env, env...)
	cmd.Env = append(cmd.Env, "MINIO_ROOT_USER="+o.AccessKey, "MINIO_ROOT_PASSWORD="+o.SecretKey)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return store.MinIOOptions{}, fmt.Errorf("start minio: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the error of a killed process says nothing
		close(exited)
	}()
	stop := func() {
		_ = cmd.Process.Kill() // fails only if it has exited
		<-exited
	}
	t.Cleanup(stop)
	if err := awaitReady(t.Context(), o, exited); err != nil {
		stop()
		return store.MinIOOptions{}, fmt.Errorf("start minio: %w\n%s", err, &output)
	}
	return o, nil
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
