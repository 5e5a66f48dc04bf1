//go:build linux || darwin || freebsd

package publish

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// onOtherDevice reports whether two paths are on different devices.
func onOtherDevice(a, b string) (bool, error) {
	var x, y unix.Stat_t
	if err := retry(func() error { return unix.Stat(a, &x) }); err != nil {
		return false, &os.PathError{Op: "stat", Path: a, Err: err}
	}
	if err := retry(func() error { return unix.Stat(b, &y) }); err != nil {
		return false, &os.PathError{Op: "stat", Path: b, Err: err}
	}
	return x.Dev != y.Dev, nil
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
