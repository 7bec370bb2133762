package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/settings"
	"mmspipe/ingest/operate"
	"mmspipe/store"

	"github.com/dustin/go-humanize/english"
	"github.com/schollz/progressbar/v3"
)

// errNothing says that there was nothing to show or to do: exit status 3.
var errNothing = errors.New("nothing found")

// reachFlags say how a command reaches a service whose data directory is elsewhere.
type reachFlags struct {
	Admin   string `placeholder:"HOST:PORT" help:"Admin listener of the service. Read from the data directory unless set."`
	Key     string `variable:"MMSPIPE_OPERATOR_KEY" placeholder:"SK…:SECRET" help:"An operator's API key. Read from the data directory unless set."`
	KeyFile string `variable:"MMSPIPE_OPERATOR_KEY_FILE" type:"path" placeholder:"FILE" help:"The same from a file."`
}

// client returns a client of the service that the flags name, or else of the one that
// uses a data directory.
func (f reachFlags) client(data string) (*operator.Client, error) {
	c := &operator.Client{Address: f.Admin, SID: operator.KeySID}
	if c.Address == "" {
		text, err := os.ReadFile(filepath.Join(data, operator.AddressFile))
		if err != nil {
			return nil, fmt.Errorf("no service uses %s (--data): start it with mmspipe serve, or name its admin listener with --admin", data)
		}
		c.Address = strings.TrimSpace(string(text))
	}
	key, name := f.Key, "--key"
	if f.KeyFile != "" {
		if key != "" {
			return nil, fmt.Errorf("%w: --key and --key-file are both set: leave one out", errUsage)
		}
		var err error
		if key, err = settings.ReadSecret(f.KeyFile); err != nil {
			return nil, fmt.Errorf("%w: --key-file: %w", errUsage, err)
		}
		name = "--key-file"
	}
	if key != "" {
		var ok bool
		if c.SID, c.Secret, ok = strings.Cut(key, ":"); !ok {
			return nil, fmt.Errorf("%w: %s is not SK…:SECRET", errUsage, name)
		}
		return c, nil
	}
	text, err := os.ReadFile(filepath.Join(data, operator.KeyFile))
	if err != nil {
		return nil, fmt.Errorf("no operator's key in %s: give one with --key or MMSPIPE_OPERATOR_KEY", data)
	}
	c.Secret = strings.TrimSpace(string(text))
	return c, nil
}

// operatorFlags are those of the commands for people on call.
type operatorFlags struct {
	Data       string `setting:"" default:"./mmspipe-data" placeholder:"DIR" help:"Data directory of the service. Its address and its key are read there."`
	reachFlags `embed:""`
	JSON       bool `help:"Print JSON."`
}

func (f operatorFlags) client() (*operator.Client, error) { return f.reachFlags.client(f.Data) }

// advise adds to an error of a client which flag helps.
func advise(err error) error {
	switch {
	case errors.Is(err, operator.ErrUnreachable):
		return fmt.Errorf("%w (--admin); start it with mmspipe serve", err)
	case errors.Is(err, operator.ErrKey):
		return fmt.Errorf("%w; give an operator's with --key or MMSPIPE_OPERATOR_KEY, one that may write for changes", err)
	case errors.Is(err, operator.ErrNotFound):
		return fmt.Errorf("%w: %w", errNothing, err)
	}
	return err
}

// work has the service do what takes its time, and shows meanwhile how many messages
// it has handled.
func work[R any](f operatorFlags, std stdio, messages func(R) int, do func(c *operator.Client, seen func(R)) (R, error)) (result R, err error) {
	c, err := f.client()
	if err != nil {
		return result, err
	}
	seen := func(R) {}
	if isTerminal(std.err) {
		bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(std.err), progressbar.OptionSetDescription("messages"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish())
		defer bar.Finish()                            //nolint:errcheck // nobody can be told of a terminal that is gone
		seen = func(r R) { _ = bar.Set(messages(r)) } // the same
	}
	result, err = do(c, seen)
	return result, advise(err)
}

// rangeFlags say which messages are meant.
type rangeFlags struct {
	Account string `placeholder:"AC…" help:"Only messages of this account."`
	Since   string `placeholder:"TIME" help:"Only messages that came at this time or later: 2026-11-23, 2026-11-23T15:04:05Z, or a time ago such as 36h or 90d."`
	Until   string `placeholder:"TIME" help:"Only messages that came before this time."`
}

// query returns what the flags mean.
func (f rangeFlags) query() (q operate.Query, err error) {
	var mistakes [3]error
	q.Account, mistakes[0] = flagValue("account", f.Account, store.ParseAccountSID)
	q.Since, mistakes[1] = flagValue("since", f.Since, parseTime)
	q.Until, mistakes[2] = flagValue("until", f.Until, parseTime)
	return q, errors.Join(mistakes[:]...)
}

// flagValue parses the value of a flag. It is zero if that is not given.
func flagValue[T any](name, value string, parse func(string) (T, error)) (v T, err error) {
	if value == "" {
		return v, nil
	}
	if v, err = parse(value); err != nil {
		return v, fmt.Errorf("%w: --%s: %w", errUsage, name, err)
	}
	return v, nil
}

// parseTime reads a moment, a day in UTC, or a time ago.
func parseTime(text string) (time.Time, error) {
	if ago, err := settings.ParseDuration(text); err == nil {
		return time.Now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-11-23, 2026-11-23T15:04:05Z or 36h", text)
}

// count is a number with its noun, which agrees with it. Irregular plurals are given.
func count(n int, singular string, plural ...string) string {
	return english.Plural(n, singular, strings.Join(plural, ""))
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
