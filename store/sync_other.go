//go:build !linux

package store

import (
	"errors"
	"path/filepath"
)

// syncFileSystem makes durable the entries of dir and dir's own. Systems that
// have no syncfs(2) may need the kernel's next write-back for the rest of what
// a killed process left.
func syncFileSystem(dir string) error {
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}
