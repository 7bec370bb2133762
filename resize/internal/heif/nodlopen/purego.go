// Package purego stands in for the module of that name, which opens shared
// libraries of the system without cgo. The codecs that are imported for their
// WebAssembly would take such a library where there is one, outside of the
// sandbox, and the binary would no longer be static. Here none is ever found.
package purego

import "errors"

// The modes of Dlopen.
const (
	RTLD_NOW    = 2
	RTLD_GLOBAL = 8
)

// Dlopen opens nothing. The error says so.
func Dlopen(string, int) (uintptr, error) {
	return 0, errors.New("shared libraries are not opened")
}

// RegisterLibFunc does nothing: there is no library to take a function from.
func RegisterLibFunc(any, uintptr, string) {}
