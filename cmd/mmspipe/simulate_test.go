package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
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
	exited := make(chan int, 1)
	go func() {
		args := []string{"simulate", "--webhook=http://127.0.0.1:1/", "--count=0", "--listen=127.0.0.1:0", "--listen-cdn=127.0.0.1:0"}
		exited <- run(ctx, args, nil, stdio{strings.NewReader(""), io.Discard, stderr})
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
	if status := <-exited; status != 0 {
		t.Errorf("exit status %d", status)
	}
}
