//go:build linux || darwin || freebsd

package publish

import (
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

// checkWritable returns an error if this process may not create files in a directory.
func checkWritable(dir string) error {
	if err := system.Do(system.OpStat, dir, func() error {
		return retry(func() error { return unix.Access(dir, unix.W_OK|unix.X_OK) })
	}); err != nil {
		return &fs.PathError{Op: "create in", Path: dir, Err: err}
	}
	return nil
}
