//go:build linux || darwin || freebsd

package publish

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

// checkWritable returns an error if this process may not create files in a directory.
func checkWritable(dir string) error { return checkAccess("create in", dir, unix.W_OK|unix.X_OK) }

// checkOpens returns an error if this process may not open an existing file to write to it.
func checkOpens(path string) error { return checkAccess("write", path, unix.W_OK) }

func checkAccess(op, path string, mode uint32) error {
	if err := system.Do(system.OpAccess, path, func() error {
		return retry(func() error { return unix.Access(path, mode) })
	}); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: causeOf(err)}
	}
	return nil
}

// ownsIn reports whether this process may rename to a file in a directory, or only its owner and the directory's may, as in /tmp.
func ownsIn(dir, file fs.FileInfo) bool {
	owner := func(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }
	user := uint32(os.Geteuid())
	return dir.Mode()&fs.ModeSticky == 0 || user == 0 || user == owner(file) || user == owner(dir)
}
