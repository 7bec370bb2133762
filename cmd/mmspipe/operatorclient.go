package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// errNothing says that there was nothing to show or to do: exit status 3.
var errNothing = errors.New("nothing found")

// operatorFlags say how a command reaches the running service.
type operatorFlags struct {
	Data  string `setting:"" default:"./mmspipe-data" placeholder:"DIR" help:"Data directory of the service: its address and key are read there."`
	Admin string `placeholder:"HOST:PORT" help:"Admin listener of the service, where the data directory is elsewhere."`
	Key   string `env:"MMSPIPE_OPERATOR_KEY" placeholder:"SK…:SECRET" help:"An operator's API key, where the data directory is elsewhere."`
	JSON  bool   `help:"Print JSON."`
}

// call makes a request of the operator API and returns the answer's body. Values
// go into the query of a GET and the form of a POST.
func (f operatorFlags) call(ctx context.Context, method, path string, values url.Values) (io.ReadCloser, error) {
	admin, err := f.address()
	if err != nil {
		return nil, err
	}
	user, secret, err := f.credentials()
	if err != nil {
		return nil, err
	}
	address := "http://" + admin + "/operator/" + path
	var body io.Reader
	if method == http.MethodGet {
		address += "?" + values.Encode()
	} else {
		body = strings.NewReader(values.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(user, secret)
	if body != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the service does not answer at %s (--admin); start it with mmspipe serve: %w", admin, errors.Unwrap(err))
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, refused(response)
	}
	return response.Body, nil
}

// refused is the error of an answer other than 200.
func refused(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusUnauthorized:
		return errors.New("the service refuses the key; give an operator's with --key or MMSPIPE_OPERATOR_KEY, one that may write for changes")
	case response.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: the service does not know it", errNothing)
	}
	return fmt.Errorf("the service answers %d: %s", response.StatusCode, strings.TrimSpace(string(text)))
}

func (f operatorFlags) address() (string, error) {
	if f.Admin != "" {
		return f.Admin, nil
	}
	text, err := os.ReadFile(filepath.Join(f.Data, addressFile))
	if err != nil {
		return "", fmt.Errorf("no service uses %s (--data): start it with mmspipe serve, or name its admin listener with --admin", f.Data)
	}
	return strings.TrimSpace(string(text)), nil
}

func (f operatorFlags) credentials() (user, secret string, err error) {
	if f.Key != "" {
		user, secret, ok := strings.Cut(f.Key, ":")
		if !ok {
			return "", "", fmt.Errorf("%w: --key is not SK…:SECRET", errUsage)
		}
		return user, secret, nil
	}
	text, err := os.ReadFile(filepath.Join(f.Data, "operator-key"))
	if err != nil {
		return "", "", fmt.Errorf("no operator's key in %s: give one with --key or MMSPIPE_OPERATOR_KEY", f.Data)
	}
	return operatorSID, strings.TrimSpace(string(text)), nil
}

// get reads an answer that is one JSON value.
func get[T any](ctx context.Context, f operatorFlags, path string, values url.Values) (answer T, err error) {
	body, err := f.call(ctx, http.MethodGet, path, values)
	if err != nil {
		return answer, err
	}
	defer body.Close()
	return answer, json.NewDecoder(body).Decode(&answer)
}

// read calls each for every line of an answer. An answer that breaks off before
// its last line, if it is to have one, is an error.
func read[R any](body io.ReadCloser, wantResult bool, each func(line[R]) error) error {
	defer body.Close()
	decoder := json.NewDecoder(body)
	for ended := !wantResult; ; {
		var l line[R]
		err := decoder.Decode(&l)
		switch {
		case errors.Is(err, io.EOF) && ended:
			return nil
		case err != nil:
			return fmt.Errorf("the service broke off; the same command goes on: %w", err)
		case l.Error != "":
			return errors.New(l.Error)
		}
		ended = ended || l.Result != nil
		if err := each(l); err != nil {
			return err
		}
	}
}

// post has work done that takes its time, shows how many there were of what by
// then, and returns the result.
func post[R any](ctx context.Context, f operatorFlags, std stdio, path string, values url.Values, what string, count func(R) int) (result R, err error) {
	body, err := f.call(ctx, http.MethodPost, path, values)
	if err != nil {
		return result, err
	}
	bar := newProgress(std.err, what)
	defer bar.finish()
	err = read(body, true, func(l line[R]) error {
		if l.Progress != nil {
			bar.set(count(*l.Progress))
			return nil
		}
		result = *l.Result
		return nil
	})
	return result, err
}
