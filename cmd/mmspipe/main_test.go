package main

import (
	"strings"
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
)

func TestMain(m *testing.M) { servicetest.Main(m) }

// program is a service, beside which commands are run.
type program struct{ *servicetest.Program }

func start(t *testing.T, b servicetest.Backend, flags ...string) program {
	t.Helper()
	return program{servicetest.Start(t, b, flags...)}
}

// command runs a subcommand beside the service, as a person would, and returns its
// exit status and what it wrote.
func (p program) command(args ...string) (status int, out, said string) {
	p.T.Helper()
	return command(p.T, map[string]string{"MMSPIPE_DATA": p.Config.Data}, args...)
}

// want runs a subcommand and compares its exit status and a part of what it wrote.
func (p program) want(status int, part string, args ...string) string {
	p.T.Helper()
	got, out, said := p.command(args...)
	if got != status || !strings.Contains(out+said, part) {
		p.T.Errorf("mmspipe %s: exit status %d, want %d with %q:\n%s%s", strings.Join(args, " "), got, status, part, out, said)
	}
	return out
}

// command runs the program with an environment, and returns its exit status and what
// it wrote.
func command(t testing.TB, env map[string]string, args ...string) (status int, out, said string) {
	t.Helper()
	var stdout, stderr strings.Builder
	status = run(t.Context(), args, env, stdio{strings.NewReader(""), &stdout, &stderr})
	return status, stdout.String(), stderr.String()
}
