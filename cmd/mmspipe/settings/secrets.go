package settings

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// readSecrets replaces each secret that is in a file by what the file holds.
func (s *Settings) readSecrets(m *mistakes) {
	m.from = map[string]string{}
	for _, secret := range []struct {
		flag  string
		value *string
		file  string
		list  bool // with an entry on each line
	}{
		{"accounts", &s.Accounts, s.AccountsFile, true},
		{"api-keys", &s.APIKeys, s.APIKeysFile, true},
		{"secret", &s.Secret, s.SecretFile, false},
		{"nats-url", &s.NatsURL, s.NatsURLFile, true},
		{"s3-access-key", &s.S3AccessKey, s.S3AccessKeyFile, false},
		{"s3-secret-key", &s.S3SecretKey, s.S3SecretKeyFile, false},
		{"forward", &s.Forward, s.ForwardFile, true},
	} {
		if secret.file == "" {
			continue
		}
		m.from[secret.flag] = secret.flag + "-file"
		if *secret.value != "" {
			m.check(secret.flag, fmt.Errorf("--%s is set too: leave one out", secret.flag))
			continue
		}
		lines, err := readLines(secret.file)
		if len(lines) > 1 && !secret.list {
			err = fmt.Errorf("%s has more than one line", secret.file)
		}
		m.check(secret.flag, err)
		*secret.value = strings.Join(lines, ",")
	}
}

// ReadSecret reads a secret that is alone in a file.
func ReadSecret(path string) (string, error) {
	lines, err := readLines(path)
	if len(lines) > 1 {
		err = fmt.Errorf("%s has more than one line", path)
	}
	return strings.Join(lines, ""), err
}

// readLines reads the lines of a file that are not empty. There must be one.
func readLines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return lines, nil
}
