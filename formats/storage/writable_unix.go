//go:build linux || darwin || freebsd

package storage

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// checkWritable returns an error if this process may not create files in a directory.
func checkWritable(dir string) error {
	if err := retry(func() error { return unix.Access(dir, unix.W_OK|unix.X_OK) }); err != nil {
		return &fs.PathError{Op: "create in", Path: dir, Err: err}
	}
	return nil
}
