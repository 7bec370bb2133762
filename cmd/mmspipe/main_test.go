package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
)

// TestMain runs the tests and wants no goroutine left by them. Asked by a test
// for a NATS server in a process of its own, this program is that instead.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(natsStoreVariable); ok {
		if err := runNATS(dir, os.Getenv(natsPortVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(tests{m})
}

// tests closes the default client's idle connections, which the tests share,
// before anybody looks for goroutines.
type tests struct{ *testing.M }

func (m tests) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	return m.M.Run()
}

// The variables that make this program a NATS server.
const (
	natsStoreVariable = "MMSPIPE_TEST_NATS_STORE"
	natsPortVariable  = "MMSPIPE_TEST_NATS_PORT"
)

// runNATS is a nats-server that syncs always, until it is killed.
func runNATS(dir, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("%s: %w", natsPortVariable, err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, SyncAlways: true})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return nil
}
