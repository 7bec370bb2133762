package faults_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service/servicetest"
)

// process is a program in a process of its own, which a test may stop in any way
// and start again. Its output is kept in a file.
type process struct {
	t      testing.TB
	args   []string
	env    []string
	log    string
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// newProcess returns a program that is not started yet. When the test ends it is
// killed, and the end of its output shown if the test failed.
func newProcess(t testing.TB, name string, env map[string]string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, log: filepath.Join(t.TempDir(), name+".log")}
	for _, inherited := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(inherited); ok {
			p.env = append(p.env, inherited+"="+value)
		}
	}
	for variable, value := range env {
		p.env = append(p.env, variable+"="+value)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("the end of what %s wrote:\n%s", name, p.tail(100))
		}
	})
	return p
}

// start starts the program.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close() // the process has its own
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	p.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // the state tells how it ended
		close(exited)
	}(p.cmd)
}

// signal sends the program a signal.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v: %v", s, err)
	}
}

// kill is kill -9. It returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has exited
	<-p.exited
}

// running tells whether the program has not ended.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop asks the program to stop, as an orchestrator does, and returns its exit
// status.
func (p *process) stop() int {
	p.t.Helper()
	if !p.running() {
		p.t.Fatalf("it has ended by itself: %v", p.cmd.ProcessState)
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(servicetest.Patience):
		p.t.Fatalf("still running %v after SIGTERM", servicetest.Patience)
		return -1
	}
}

// tail returns the last lines of the program's output.
func (p *process) tail(n int) string {
	output, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.SplitAfter(output, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-1-n):], nil))
}

// ports are those that were given to processes. They are below the ephemeral
// ports, so that no connection takes one while the process that has it is away.
var ports atomic.Uint32

// freePort returns a port of loopback that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	const first, count = 20000, 10000
	for range count {
		port := fmt.Sprint(first + (uint32(os.Getpid())*101+ports.Add(1))%count)
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// buildProgram builds mmspipe as it is shipped, once, and returns its path.
func buildProgram(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mmspipe-built-")
	if err != nil {
		return "", err
	}
	servicetest.AtEnd(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "mmspipe")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "mmspipe/cmd/mmspipe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
})

// command runs a program to its end and returns what it wrote with the error.
func command(args ...string) error {
	if output, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return nil
}
