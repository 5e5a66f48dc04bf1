//go:build linux || darwin

package publish

import (
	"errors"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP)
}

// renaming makes a system call that renames, again if a signal has interrupted it.
func renaming(to string, call func() error) error {
	return system.Do(system.OpRename, to, func() error { return retry(call) })
}

func linkError(from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}
