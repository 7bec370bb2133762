package main

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/settings"

	"github.com/agnivade/levenshtein"
	"github.com/alecthomas/kong"
)

// variables is an environment by name.
func variables(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// variable is the environment variable of a flag; empty if it has none.
func variable(tag *kong.Tag, flag string) string {
	if tag.Has("setting") {
		return settings.Variable(flag)
	}
	return tag.Get("variable")
}

// environment resolves flags from their variables.
func environment(env map[string]string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		// An empty one is not set: files of compose write those that are not given so.
		if value := env[variable(flag.Tag, flag.Name)]; value != "" {
			return value, nil
		}
		return nil, nil
	})
}

// helpWithVariable adds its default to the help of a flag, and its variable.
func helpWithVariable(value *kong.Value) string {
	help := value.Help
	if value.HasDefault {
		help += " Default: " + value.Default + "."
	}
	if name := variable(value.Tag, value.Name); name != "" {
		help += " ($" + name + ")"
	}
	return help
}

// notOurs are variables that begin like ours and are none: those of the project's own
// tests, and those that Kubernetes sets for a Service whose name begins with mmspipe
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var notOurs = regexp.MustCompile(`^MMSPIPE_(TEST|CI|SOAK|BENCH)(_|$)|^MMSPIPE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)$`)

// checkVariables refuses variables that look like settings and are none, for a command
// that has any. So that all mistakes are reported at once, it adds those in the
// settings.
func checkVariables(parser *kong.Kong, command *kong.Context, env map[string]string) error {
	selected := command.Selected()
	if selected == nil || !slices.ContainsFunc(selected.Flags, func(f *kong.Flag) bool { return variable(f.Tag, f.Name) != "" }) {
		return nil
	}
	known := knownVariables(parser.Model.Node)
	var mistakes []error
	for name := range env {
		if strings.HasPrefix(name, "MMSPIPE_") && !slices.Contains(known, name) && !notOurs.MatchString(name) {
			nearest := slices.MinFunc(known, func(a, b string) int {
				return cmp.Or(levenshtein.ComputeDistance(name, a)-levenshtein.ComputeDistance(name, b), strings.Compare(a, b))
			})
			mistakes = append(mistakes, fmt.Errorf("%s is not a setting; the nearest is %s", name, nearest))
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	slices.SortFunc(mistakes, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if s, ok := reflect.TypeAssert[interface {
		Parse() (service.Config, settings.Log, error)
	}](selected.Target); ok {
		_, _, err := s.Parse()
		mistakes = append(mistakes, err)
	}
	return errors.Join(mistakes...)
}

// knownVariables are those of a command and all below it.
func knownVariables(node *kong.Node) (names []string) {
	for _, f := range node.Flags {
		if name := variable(f.Tag, f.Name); name != "" {
			names = append(names, name)
		}
	}
	for _, child := range node.Children {
		names = append(names, knownVariables(child)...)
	}
	return names
}
