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

// version is what the build noted of this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describeBuild(info)
}

// describeBuild tells the version of the module, and the commit that it was built from
// with its date. Builds outside of a repository do not know these.
func describeBuild(info *debug.BuildInfo) string {
	number, commit, date, changed := "devel", "unknown", "unknown", ""
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
			changed = " with changes"
		}
	}
	return fmt.Sprintf("mmspipe %s, commit %s%s, date %s, %s %s/%s", number, commit, changed, date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
