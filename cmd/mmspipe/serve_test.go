package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
)

// serveUntil runs mmspipe serve until it has written a line with this text, stops it
// as Ctrl-C does, and returns its exit status and all lines up to that one.
func serveUntil(t *testing.T, text string, args ...string) (status int, lines []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said, stderr := io.Pipe()
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, append([]string{"serve"}, args...), nil, stdio{strings.NewReader(""), io.Discard, stderr})
		stderr.Close()
	}()
	for scanner := bufio.NewScanner(said); scanner.Scan(); {
		if lines = append(lines, scanner.Text()); strings.Contains(scanner.Text(), text) {
			cancel()
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	return <-exited, lines
}

// TestServeCommand: serve says what it listens on, to people and to machines, and
// stops cleanly.
func TestServeCommand(t *testing.T) {
	t.Parallel()
	flags := func() []string {
		return []string{"--accounts=" + servicetest.Account + ":" + servicetest.Token, "--data=" + t.TempDir(), "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}
	}
	status, lines := serveUntil(t, "Set a fallback URL too.", append(flags(), "--log-format=console")...)
	if text := strings.Join(lines, "\n"); status != 0 || !strings.Contains(text, "/webhooks/twilio#rc=5&rp=all") || !strings.Contains(text, "embedded NATS in ") {
		t.Errorf("exit status %d, said\n%s", status, text)
	}
	status, lines = serveUntil(t, `"message":"serving"`, append(flags(), "--log-format=json")...)
	var line map[string]any
	if len(lines) == 0 || json.Unmarshal([]byte(lines[len(lines)-1]), &line) != nil || status != 0 ||
		line["public"] == nil || line["admin"] == nil || line["media_auth"] != "public" || line["relay"] != false {
		t.Errorf("exit status %d, said\n%s", status, strings.Join(lines, "\n"))
	}
}
