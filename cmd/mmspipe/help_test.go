package main

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestHelp: every command and flag is explained, in sentences.
func TestHelp(t *testing.T) {
	model := kong.Must(&cli{}, kong.Vars{"version": ""}).Model
	for _, command := range model.Leaves(false) {
		status, out, said := helpOf(t, command.Name)
		if status != 0 || said != "" || !strings.Contains(out, "Usage: mmspipe "+command.Name) {
			t.Errorf("mmspipe %s --help: exit status %d, %s%s", command.Name, status, out, said)
		}
		values := []*kong.Value{}
		for _, f := range command.Flags {
			values = append(values, f.Value)
			if !f.IsBool() && f.PlaceHolder == "" {
				t.Errorf("mmspipe %s --%s does not say what it takes", command.Name, f.Name)
			}
		}
		for _, value := range append(values, command.Positional...) {
			if !strings.HasSuffix(value.Help, ".") {
				t.Errorf("mmspipe %s: %s is explained by %q", command.Name, value.Name, value.Help)
			}
		}
		if !strings.HasSuffix(command.Help, ".") {
			t.Errorf("mmspipe %s is explained by %q", command.Name, command.Help)
		}
	}
	if _, out, _ := helpOf(t, "replay"); strings.Count(strings.Join(strings.Fields(out), " "), "eeds --message or --since") != 2 {
		t.Errorf("replay does not say what --all needs:\n%s", out)
	}
}

// helpOf runs a command for its help.
func helpOf(t *testing.T, name string) (status int, out, said string) {
	t.Helper()
	return command(t, nil, name, "--help")
}

// TestVersion: the flag and the command print the same, which is what the build knows.
func TestVersion(t *testing.T) {
	status, flag, _ := command(t, nil, "--version")
	status2, subcommand, _ := command(t, nil, "version")
	if status != 0 || status2 != 0 || flag != subcommand || !strings.HasPrefix(flag, "mmspipe devel, commit ") {
		t.Errorf("%d %q, %d %q", status, flag, status2, subcommand)
	}
	text := describeBuild(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.time", Value: "2026-11-23T15:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}})
	if want := "mmspipe v1.2.3, commit 0123abc with changes, date 2026-11-23T15:04:05Z, go"; !strings.HasPrefix(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
}
