package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mmspipe/store/rest"
)

// openKeys makes the keys that requests are authenticated with. Without API keys
// of its own the service has one for the operator, in the data directory.
func (s *service) openKeys() error {
	keys := s.apiKeys
	if len(keys) == 0 {
		secret, err := secretFile(filepath.Join(s.data, "operator-key"))
		if err != nil {
			return err
		}
		keys = []rest.APIKey{{SID: operatorSID, Secret: string(secret), Account: rest.Operator, Write: true}}
	}
	accounts := map[string][]string{}
	for sid, tokens := range s.accounts {
		accounts[sid.String()] = tokens
	}
	s.keys = rest.NewKeys(accounts, keys)
	return nil
}

// operatorSID is the user name of the operator's generated key.
const operatorSID = "SK00000000000000000000000000000000"

// secretFile reads the secret in path, or makes one there: 256 random bits that
// only this user can read.
func secretFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		secret := strings.TrimSpace(string(text))
		if secret == "" {
			return nil, fmt.Errorf("%s is empty: put the secret back; without it SIDs change and links break", path)
		}
		return []byte(secret), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	secret := rand.Text() + rand.Text()
	return []byte(secret), writeDurably(path, secret)
}

// writeDurably writes a line into a file that has it whole, or is as it was, after a
// crash: everything that was derived from a lost secret would be lost with it.
func writeDurably(path, line string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(line + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
