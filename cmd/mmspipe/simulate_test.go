package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestSimulateAPI: without messages to send, the API is played until the end.
func TestSimulateAPI(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said, stderr := io.Pipe()
	var printed strings.Builder
	exited := make(chan int, 1)
	go func() {
		args := []string{"simulate", "--webhook=http://127.0.0.1:1/", "--count=0", "--listen=127.0.0.1:0", "--listen-cdn=127.0.0.1:0"}
		exited <- run(ctx, args, nil, stdio{strings.NewReader(""), &printed, stderr})
		stderr.Close()
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	origin := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(line)
	if err != nil || origin == "" {
		t.Fatalf("said %q, %v", line, err)
	}
	form := url.Values{"To": {"+15550001234"}, "From": {"+15550005678"}, "Body": {"hi"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+"/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("AC00000000000000000000000000000001", "simulated")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(r)
	if err != nil || response.StatusCode != http.StatusCreated {
		t.Errorf("%v, %v", response, err)
	}
	cancel()
	if status := <-exited; status != 0 || printed.String() != "" {
		t.Errorf("exit status %d, printed %q", status, &printed)
	}
}

// TestSimulateWaits: a handler that is not there yet is waited for, and that is said
// once.
func TestSimulateWaits(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	said, stderr := io.Pipe()
	var printed strings.Builder
	exited := make(chan int, 1)
	go func() {
		args := []string{"simulate", "--webhook=http://" + address + "/sms", "--count=1", "--listen=127.0.0.1:0", "--listen-cdn=127.0.0.1:0"}
		exited <- run(t.Context(), args, nil, stdio{strings.NewReader(""), &printed, stderr})
		stderr.Close()
	}()
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "nothing listens at "+address+" yet") {
		t.Fatalf("said %q", lines.Text())
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	for lines.Scan() {
		t.Errorf("said %q too", lines.Text())
	}
	if status := <-exited; status != 0 || !strings.Contains(printed.String(), "1 of 1 webhook answered in") || !strings.Contains(printed.String(), "200 OK: 1 webhook\n") {
		t.Errorf("exit status %d, printed %q", status, &printed)
	}
}
