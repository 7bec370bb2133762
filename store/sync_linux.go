package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem makes durable whatever was written to the file system of dir,
// which a process that was killed may have left unsynced.
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd()))), f.Close())
}
