package settings

import "fmt"

// mistakes collects errors about settings.
type mistakes struct {
	errs  []error
	wrong map[string]bool   // flags that are named in errs
	from  map[string]string // flags whose value came from the file of another flag
}

// check adds err, if any, under the name of its setting.
func (m *mistakes) check(flag string, err error) {
	if err == nil {
		return
	}
	if m.wrong == nil {
		m.wrong = map[string]bool{}
	}
	m.wrong[flag] = true
	if file, ok := m.from[flag]; ok {
		flag = file
	}
	m.errs = append(m.errs, fmt.Errorf("--%s (%s): %w", flag, Variable(flag), err))
}

// in tells whether there is a mistake in any of these settings. What depends on them
// is no mistake of its own then.
func (m *mistakes) in(flags ...string) bool {
	for _, flag := range flags {
		if m.wrong[flag] {
			return true
		}
	}
	return false
}

// idle refuses a setting that does nothing because another one is not set. It is not
// refused at its default, or if it is wrong anyway.
func (m *mistakes) idle(flag, value, byDefault, without string) {
	if value != byDefault && !m.in(flag, without) {
		m.check(flag, fmt.Errorf("it does nothing, because --%s is not set", without))
	}
}

// parsed returns what parse makes of a setting and adds the error, if any.
func parsed[T any](m *mistakes, flag, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	m.check(flag, err)
	return v
}
