package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run prints what --version prints.
func (versionCommand) Run(std stdio) error {
	_, err := fmt.Fprintln(std.out, version())
	return err
}

// version is the version of the module, with the commit that the program was built
// from and its date, as far as the build noted them.
func version() string {
	number, commit, date, changed := "devel", "unknown", "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			number = v
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.time":
				date = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = ", with changes"
			}
		}
	}
	return fmt.Sprintf("mmspipe %s, commit %s%s, date %s, %s %s/%s", number, commit, changed, date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
