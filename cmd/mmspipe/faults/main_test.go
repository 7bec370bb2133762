// Package faults_test runs the built program in processes of its own, with what it
// depends on in others, and breaks them: kills, full disks, power cuts, hostile media.
package faults_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"github.com/nats-io/nats-server/v2/server"
)

// TestMain runs the tests. Asked by a test for a NATS server in a process of its own,
// this program is that instead.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(natsStoreVariable); ok {
		if err := runNATS(dir, os.Getenv(natsPortVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	servicetest.Main(m)
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
