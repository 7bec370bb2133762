package servicetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"sync"
)

// Logs is what a program writes to its log. Lines can be waited for.
type Logs struct {
	mu      sync.Mutex
	text    bytes.Buffer
	waiting map[string][]chan map[string]any
}

// Write implements io.Writer for a zerolog.Logger, which writes a line at a time.
func (l *Logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	scanner := bufio.NewScanner(bytes.NewReader(b))
	for scanner.Scan() {
		line := map[string]any{}
		if json.Unmarshal(scanner.Bytes(), &line) != nil {
			continue
		}
		message, _ := line["message"].(string)
		for _, c := range l.waiting[message] {
			c <- line
		}
		delete(l.waiting, message)
	}
	return len(b), nil
}

// Find returns a channel that gets the next line with this message.
func (l *Logs) Find(message string) <-chan map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan map[string]any, 1)
	if l.waiting == nil {
		l.waiting = map[string][]chan map[string]any{}
	}
	l.waiting[message] = append(l.waiting[message], c)
	return c
}

// String is all that was written.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
