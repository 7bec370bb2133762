package settings

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"mmspipe/cmd/mmspipe/service"

	"github.com/agnivade/levenshtein"
	"github.com/alecthomas/kong"
)

// Environment holds environment variables by name.
type Environment map[string]string

// NewEnvironment reads what [os.Environ] returns.
func NewEnvironment(environ []string) Environment {
	env := Environment{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// variable returns the environment variable of a flag; empty if it has none.
func variable(tag *kong.Tag, flag string) string {
	if tag.Has("setting") {
		return Variable(flag)
	}
	return tag.Get("variable")
}

// Resolver gives flags the values of their variables.
func (env Environment) Resolver() kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		// An empty variable counts as not set: a compose file writes one if it has no value.
		if value := env[variable(flag.Tag, flag.Name)]; value != "" {
			return value, nil
		}
		return nil, nil
	})
}

// Help returns the help of a flag with its default and its variable.
func Help(value *kong.Value) string {
	help := value.Help
	if value.HasDefault {
		help += " Default: " + value.Default + "."
	}
	if name := variable(value.Tag, value.Name); name != "" {
		help += " ($" + name + ")"
	}
	return help
}

// notOurs matches variables that begin like settings and are none: those of the project's
// own tests, and those that Kubernetes sets for a Service whose name begins with mmspipe
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var notOurs = regexp.MustCompile(`^MMSPIPE_(TEST|CI|SOAK|BENCH)(_|$)|^MMSPIPE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)$`)

// Check returns an error if a variable looks like a setting and is none. It checks only for
// a command that has settings. The error lists the mistakes in the settings too, so that
// all are reported at once.
func (env Environment) Check(parser *kong.Kong, command *kong.Context) error {
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
		Parse() (service.Config, Log, error)
	}](selected.Target); ok {
		_, _, err := s.Parse()
		mistakes = append(mistakes, err)
	}
	return errors.Join(mistakes...)
}

// knownVariables returns the variables of a command and of all commands below it.
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
